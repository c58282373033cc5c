// Golden files and comparison, for testbenches. A file is a sequence of cases; each array starts at a multiple of four
// bytes, numbers are little-endian.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "types.hpp"

namespace golden {

class Reader {
 public:
  explicit Reader(const char* path) : file_(fopen(path, "rb")) {
    if (file_ == nullptr) stop(std::string("cannot open ") + path);
  }
  ~Reader() { fclose(file_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  template <typename T>
  std::vector<T> array(size_t count) {
    std::vector<T> values(count);
    char padding[4];
    const size_t tail = (4 - count * sizeof(T) % 4) % 4;
    if (fread(values.data(), sizeof(T), count, file_) != count || fread(padding, 1, tail, file_) != tail) {
      stop("the golden file ends too early");
    }
    return values;
  }

  // Whether another case follows.
  bool more() {
    const int next = fgetc(file_);
    if (next != EOF) ungetc(next, file_);
    return next != EOF;
  }

 private:
  [[noreturn]] static void stop(const std::string& what) {
    fprintf(stderr, "%s\n", what.c_str());
    exit(1);
  }

  FILE* const file_;
};

inline double number(float value) { return value; }
inline double number(half value) { return sat::widen(value); }
inline double number(uint8_t value) { return value; }
inline uint32_t bits(float value) { return sat::bits_of(value); }
inline uint32_t bits(half value) { return sat::bits_of(value); }
inline uint32_t bits(uint8_t value) { return value; }

// Ends the testbench with status 1 unless two numbers have the same bits; an FP32 NaN has no particular ones.
template <typename T>
void expect(T got, T expected, const std::string& where) {
  const bool same = bits(got) == bits(expected);
  const bool both_nan = sizeof(T) == 4 && number(got) != number(got) && number(expected) != number(expected);
  if (same || both_nan) return;
  printf("%s: got 0x%x (%g), expected 0x%x (%g)\n", where.c_str(), unsigned(bits(got)), number(got),
         unsigned(bits(expected)), number(expected));
  exit(1);
}

// "name[1, 2]"
template <typename... Coordinates>
std::string at(const std::string& name, Coordinates... coordinates) {
  std::string text;
  for (const size_t coordinate : {size_t(coordinates)...}) {
    text += (text.empty() ? "" : ", ") + std::to_string(coordinate);
  }
  return name + "[" + text + "]";
}

}  // namespace golden
