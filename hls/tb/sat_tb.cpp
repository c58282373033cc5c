// sat_tb [FOLDER]: runs FOLDER/program.bin on FOLDER/memory.bin and compares all of memory, bit for bit,
// with FOLDER/expected.bin. Before that, each of FOLDER/batch2.bin, batch3.bin, ... that is there replaces the first
// words of memory, and the program runs again. FOLDER/tensors.txt says where which tensor lies, one a line: address
// (in words), type, number of dimensions, dimensions, name.
#include "sat.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

using sat::Word;

struct Tensor {
  std::string name, type;
  size_t address = 0, count = 1, bytes = 0;  // bytes of an element
  std::vector<size_t> shape;

  // "name[1, 2]"
  std::string at(size_t element) const {
    std::string text;
    for (size_t d = shape.size(); d-- > 0; element /= shape[d]) {
      text = std::to_string(element % shape[d]) + (text.empty() ? "" : ", ") + text;
    }
    return name + "[" + text + "]";
  }
};

[[noreturn]] static void stop(const std::string& what) {
  fflush(stdout);
  fprintf(stderr, "%s\n", what.c_str());
  exit(1);
}

static std::vector<Word> read_words(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) stop("cannot open " + path);
  std::vector<Word> words(size_t(file.tellg()) / sizeof(Word));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(words.data()), std::streamsize(words.size() * sizeof(Word)));
  return words;
}

static std::vector<Tensor> read_tensors(const std::string& path) {
  std::ifstream file(path);
  if (!file) stop("cannot open " + path);
  std::vector<Tensor> tensors;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    Tensor tensor;
    size_t rank = 0;
    words >> tensor.address >> tensor.type >> rank;
    for (size_t d = 0; d < rank; d++) {
      size_t size = 0;
      words >> size;
      tensor.shape.push_back(size);
      tensor.count *= size;
    }
    std::getline(words >> std::ws, tensor.name);
    tensor.bytes = tensor.type == "uint8" ? 1 : tensor.type == "uint16" || tensor.type == "float16" ? 2 : 4;
    if (!words) stop(path + ": cannot read the line: " + line);
    tensors.push_back(tensor);
  }
  return tensors;
}

static uint32_t element(const std::vector<Word>& memory, const Tensor& tensor, size_t e) {
  uint32_t bits = 0;
  memcpy(&bits, reinterpret_cast<const char*>(&memory[tensor.address]) + e * tensor.bytes, tensor.bytes);
  return bits;
}

static double number(const Tensor& tensor, uint32_t bits) {
  if (tensor.bytes == 1) return bits;
  return tensor.bytes == 2 ? sat::widen(sat::half_of(uint16_t(bits))) : sat::float_of(bits);
}

// The first element that differs, then any word that no tensor owns.
static void compare(const std::vector<Word>& got, const std::vector<Word>& expected, const std::vector<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) {
    for (size_t e = 0; e < tensor.count; e++) {
      const uint32_t is = element(got, tensor, e), should = element(expected, tensor, e);
      if (is == should) continue;
      char text[160];
      snprintf(text, sizeof(text), ": got 0x%x (%g), expected 0x%x (%g)", unsigned(is), number(tensor, is),
               unsigned(should), number(tensor, should));
      stop(tensor.at(e) + text);
    }
  }
  for (size_t w = 0; w < expected.size(); w++) {
    if (memcmp(&got[w], &expected[w], sizeof(Word)) != 0) stop("word " + std::to_string(w) + " was changed");
  }
}

static const char* meaning(uint32_t outcome) {
  switch (outcome) {
    case sat::NO_PROGRAM: return "this is no program";
    case sat::WRONG_VERSION: return "the program has another version";
    default: return "the program was made for another configuration";
  }
}

static void execute(const std::vector<Word>& program, std::vector<Word>& memory) {
  Word* const words = memory.data();
  Word report = {};
  sat_kernel(program.data(), words, words, words, words, &report);
  if (report.lane[0] != sat::ACCEPTED) stop(meaning(report.lane[0]));
  if (report.lane[1] != program.size() - 1) {
    stop("ended after " + std::to_string(report.lane[1]) + " of " + std::to_string(program.size() - 1) + " instructions");
  }
}

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  const auto program = read_words(folder + "/program.bin"), expected = read_words(folder + "/expected.bin");
  auto memory = read_words(folder + "/memory.bin");
  const auto tensors = read_tensors(folder + "/tensors.txt");
  if (memory.size() != expected.size()) stop("memory.bin and expected.bin differ in size");
  execute(program, memory);
  for (int run = 2;; run++) {
    const std::string path = folder + "/batch" + std::to_string(run) + ".bin";
    if (!std::ifstream(path)) break;
    const auto batch = read_words(path);
    if (batch.size() > memory.size()) stop(path + " is larger than memory");
    std::copy(batch.begin(), batch.end(), memory.begin());
    execute(program, memory);
  }
  compare(memory, expected, tensors);
  size_t elements = 0;
  for (const Tensor& tensor : tensors) elements += tensor.count;
  printf("%zu instructions, %zu tensors, %zu elements: all match\n", program.size() - 1, tensors.size(), elements);
}
