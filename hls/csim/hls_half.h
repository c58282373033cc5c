// Stand-in for Vitis' header of the same name. The kernels only store FP16 numbers and convert their bits themselves, so
// this type need do no more: arithmetic on it does not compile, and every compiler has it.
#pragma once
#include <cstdint>

struct half {
  uint16_t bits;
};
