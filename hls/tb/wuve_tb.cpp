// wuve_tb GOLDEN: updates the parameters of a golden file. A case: count, flags; decay, momentum, step, unscale FP32;
// weight, velocity FP32 and gradient FP16 before; weight, velocity FP32 and the copy of the weight, FP16, after.
#include "wuve.hpp"

#include "golden.hpp"

using namespace sat;

static float weight[WUVE_LANES], velocity[WUVE_LANES], gradient[WUVE_LANES];
static half copy[WUVE_LANES];

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  golden::Reader file(argv[1]);
  size_t cases = 0;
  for (; file.more(); cases++) {
    const auto head = file.array<uint32_t>(2);
    const auto constants = file.array<float>(4);
    const UpdateRule rule = {constants[0], constants[1], constants[2], constants[3], head[1]};
    const uint32_t count = head[0];
    const auto w = file.array<float>(count), v = file.array<float>(count);
    const auto g = file.array<half>(count);
    const auto w_after = file.array<float>(count), v_after = file.array<float>(count);
    const auto narrowed = file.array<half>(count);
    const std::string name = golden::at("case", cases);
    for (uint32_t first = 0; first < count; first += WUVE_LANES) {
      const uint32_t lanes = min(count - first, WUVE_LANES);
      for (uint32_t lane = 0; lane < lanes; lane++) {
        weight[lane] = w[first + lane];
        velocity[lane] = v[first + lane];
        gradient[lane] = widen(g[first + lane]);
      }
      wuve_lanes(weight, velocity, gradient, rule, copy);
      for (uint32_t lane = 0; lane < lanes; lane++) {
        const uint32_t p = first + lane;
        golden::expect(weight[lane], w_after[p], golden::at(name + " weight", p));
        golden::expect(velocity[lane], v_after[p], golden::at(name + " velocity", p));
        golden::expect(copy[lane], narrowed[p], golden::at(name + " copy", p));
      }
    }
  }
  printf("%zu cases\n", cases);
}
