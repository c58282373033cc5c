// vector_tb GOLDEN: executes the VECTOR instructions of a golden file, each on a memory of its own. A case: instruction
// (16 lanes), words; memory before and after (words, 16 lanes). All of memory is compared, bit for bit.
#include "vector_unit.hpp"

#include "golden.hpp"

using namespace sat;

static std::vector<Word> words_of(golden::Reader& file, uint32_t words) {
  const auto lanes = file.array<uint32_t>(words * 16);
  std::vector<Word> memory(words);
  for (size_t e = 0; e < lanes.size(); e++) memory[e / 16].lane[e % 16] = lanes[e];
  return memory;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  golden::Reader file(argv[1]);
  size_t cases = 0;
  for (; file.more(); cases++) {
    const VectorInstruction instruction(words_of(file, 1)[0]);
    const uint32_t words = file.array<uint32_t>(1)[0];
    std::vector<Word> memory = words_of(file, words);
    const std::vector<Word> expected = words_of(file, words);
    vector_unit(instruction, memory.data(), memory.data(), memory.data());
    for (uint32_t w = 0; w < words; w++) {
      for (uint32_t lane = 0; lane < 16; lane++) {
        const uint32_t got = memory[w].lane[lane], want = expected[w].lane[lane];
        if (got == want) continue;
        fprintf(stderr, "case %zu, operation %u: word %u, lane %u: %08x (%g), expected %08x (%g)\n", cases,
                instruction.op, w, lane, got, double(float_of(got)), want, double(float_of(want)));
        return 1;
      }
    }
  }
  printf("%zu cases\n", cases);
}
