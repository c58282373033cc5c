// numbers_tb GOLDEN: conversions and products. The file: three counts; FP16 numbers and each as FP32; FP32 numbers and
// each as FP16; FP16 factors, as many others, and their products in FP32.
#include "types.hpp"

#include "golden.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  golden::Reader file(argv[1]);
  const auto counts = file.array<uint32_t>(3);
  const auto narrow = file.array<half>(counts[0]);
  const auto widened = file.array<float>(counts[0]);
  for (size_t i = 0; i < counts[0]; i++) golden::expect(sat::widen(narrow[i]), widened[i], golden::at("widened", i));
  const auto wide = file.array<float>(counts[1]);
  const auto narrowed = file.array<half>(counts[1]);
  for (size_t i = 0; i < counts[1]; i++) golden::expect(sat::narrow(wide[i]), narrowed[i], golden::at("narrowed", i));
  const auto a = file.array<half>(counts[2]), b = file.array<half>(counts[2]);
  const auto products = file.array<float>(counts[2]);
  for (size_t i = 0; i < counts[2]; i++) golden::expect(sat::product(a[i], b[i]), products[i], golden::at("product", i));
  printf("%u numbers\n", unsigned(counts[0] + counts[1] + counts[2]));
}
