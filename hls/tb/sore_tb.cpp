// sore_tb GOLDEN: prunes the groups of a golden file. A case: n, m, groups; groups (groups, m) FP16; kept values
// (groups, n) FP16 and their indices.
#include "sore.hpp"

#include "golden.hpp"

using namespace sat;

static half group[SORE_LANES][MAX_M], kept[SORE_LANES][MAX_N];
static uint8_t place[SORE_LANES][MAX_N];

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  golden::Reader file(argv[1]);
  size_t cases = 0;
  for (; file.more(); cases++) {
    const auto sizes = file.array<uint32_t>(3);
    const uint32_t n = sizes[0], m = sizes[1], count = sizes[2];
    const auto dense = file.array<half>(count * m);
    const auto values = file.array<half>(count * n);
    const auto indices = file.array<uint8_t>(count * n);
    const std::string name = golden::at("case", cases);
    for (uint32_t first = 0; first < count; first += SORE_LANES) {
      const uint32_t lanes = min(count - first, SORE_LANES);
      for (uint32_t g = 0; g < lanes * m; g++) group[g / m][g % m] = dense[first * m + g];
      sore_lanes(group, n, m, kept, place);
      for (uint32_t g = 0; g < lanes * n; g++) {
        const uint32_t lane = g / n, s = g % n;
        golden::expect(place[lane][s], indices[first * n + g], golden::at(name + " index", first + lane, s));
        golden::expect(kept[lane][s], values[first * n + g], golden::at(name + " kept", first + lane, s));
      }
    }
  }
  printf("%zu cases\n", cases);
}
