// Numbers and records that the compute cores share. FP16 is stored as `half`; arithmetic is FP32.
#pragma once
#include <hls_half.h>

#include <cstdint>

#include "config.hpp"

namespace sat {

// -- rules of config.hpp --------------------------------------------------------------------------------------------

constexpr bool is_power_of_2(uint32_t x) { return x != 0 && (x & (x - 1)) == 0; }

constexpr bool sparsity_fits() {
  for (const Ratio& ratio : SPARSITY) {
    if (ratio.n < 1 || ratio.n > MAX_N || ratio.n > ratio.m || ratio.m > MAX_M || !is_power_of_2(ratio.m)) return false;
  }
  return true;
}

static_assert(ROWS >= 1 && COLS >= 1 && INTERLEAVE >= 1, "the array needs rows, columns and an interleave depth");
static_assert(MULTIPLIER_LATENCY >= 1 && ACCUMULATOR_LATENCY >= 2, "latencies of pipelined operators");
static_assert(sparsity_fits(), "SPARSITY: 1 <= n <= m, n <= MAX_N, m a power of two up to MAX_M");
static_assert(GROUP <= MAX_N && GROUP <= MAX_M && is_power_of_2(GROUP), "a dense group is n == m == GROUP");
static_assert(MAX_M <= 256, "an index is a byte");
static_assert(is_power_of_2(PORT), "groups and beats are powers of two, so that neither straddles the other");
static_assert(ACT_DEPTH % PORT == 0 && ACT_DEPTH >= MAX_M, "an activation bank holds whole beats");
static_assert(WEIGHT_DEPTH >= MAX_N && OUT_DEPTH >= 1, "a bank holds at least one group");

// -- bits of numbers ------------------------------------------------------------------------------------------------

union HalfBits {
  uint16_t bits;
  half value;
  explicit HalfBits(uint16_t bits) : bits(bits) {}
  explicit HalfBits(half value) : value(value) {}
};

union FloatBits {
  uint32_t bits;
  float value;
  explicit FloatBits(uint32_t bits) : bits(bits) {}
  explicit FloatBits(float value) : value(value) {}
};

inline uint16_t bits_of(half value) { return HalfBits(value).bits; }
inline half half_of(uint16_t bits) { return HalfBits(bits).value; }
inline uint32_t bits_of(float value) { return FloatBits(value).bits; }
inline float float_of(uint32_t bits) { return FloatBits(bits).value; }

// Conversions as codesign.compute.formats states them. They are written out because the converters of AMD's
// floating-point operator take subnormal numbers for zero.

// FP16 to FP32, exactly.
inline float widen(half value) {
#pragma HLS INLINE
  const uint32_t bits = bits_of(value);
  const uint32_t sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7FFFu;
  if (magnitude >= 0x7C00u) return float_of(sign | 0x7F800000u | magnitude << 13);  // infinity, NaN
  if (magnitude >= 0x0400u) return float_of(sign | ((magnitude << 13) + 0x38000000u));
  if (magnitude == 0) return float_of(sign);
  uint32_t exponent = 113, fraction = magnitude;  // subnormal: the leading one moves to bit 10
  for (int shift = 0; shift < 10; shift++) {
#pragma HLS UNROLL
    if (fraction < 0x400u) {
      fraction <<= 1;
      exponent--;
    }
  }
  return float_of(sign | exponent << 23 | (fraction & 0x3FFu) << 13);
}

// FP32 to FP16: to nearest, ties to even; every NaN becomes 0x7E00.
inline half narrow(float value) {
#pragma HLS INLINE
  const uint32_t bits = bits_of(value);
  const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return half_of(uint16_t(0x7E00));
  if (magnitude >= 0x47800000u) return half_of(uint16_t(sign | 0x7C00u));
  const uint32_t exponent = magnitude >> 23;
  if (exponent < 101) return half_of(uint16_t(sign));  // less than half of the smallest subnormal
  const bool normal = exponent >= 113;
  const uint32_t kept = normal ? magnitude - 0x38000000u : (magnitude & 0x7FFFFFu) | 0x800000u;
  const uint32_t shift = normal ? 13 : 126 - exponent;
  const uint32_t quotient = kept >> shift, rest = kept & ((1u << shift) - 1), tie = 1u << (shift - 1);
  const bool up = rest > tie || (rest == tie && (quotient & 1));
  return half_of(uint16_t(sign | (quotient + up)));
}

// The exact product of two FP16 numbers. It needs a multiplier of 11 x 11 bits and no rounding; it is normal in FP32.
inline float product(half a, half b) {
#pragma HLS INLINE
  const uint32_t x = bits_of(widen(a)), y = bits_of(widen(b));
  const uint32_t sign = (x ^ y) & 0x80000000u, p = x & 0x7FFFFFFFu, q = y & 0x7FFFFFFFu;
  if (p >= 0x7F800000u || q >= 0x7F800000u) {  // infinity, NaN
    const bool invalid = p > 0x7F800000u || q > 0x7F800000u || p == 0 || q == 0;
    return float_of(invalid ? 0x7FC00000u : sign | 0x7F800000u);
  }
  if (p == 0 || q == 0) return float_of(sign);
  const uint32_t significand = ((p >> 13 & 0x3FFu) | 0x400u) * ((q >> 13 & 0x3FFu) | 0x400u);
#pragma HLS BIND_OP variable=significand op=mul impl=dsp latency=MULTIPLIER_LATENCY
  const uint32_t carry = significand >> 21;  // it is at least 2^20
  const uint32_t exponent = (p >> 23) + (q >> 23) + carry - 127;
  return float_of(sign | exponent << 23 | ((significand << (3 - carry)) & 0x7FFFFFu));
}

// -- records --------------------------------------------------------------------------------------------------------

// One buffer tile: out (I, J) of A (I, Q groups of m) and B (J, Q groups of n). All sizes are at least 1.
struct Gemm {
  uint32_t dataflow;  // 0 WS, 1 OS
  uint32_t n, m;      // n of m are kept; dense: n == m == GROUP
  uint32_t rows_i;    // I
  uint32_t groups;    // Q; the last one padded with zeros
  uint32_t cols_j;    // J
  uint32_t clear;     // 1: out starts at +0; 0: sums are added to what out holds
};

struct Group {  // activations of a group of one row of A
  half value[MAX_M];
};

struct Weights {  // one kept weight of each column, and its place in the group
  half value[COLS];
  uint8_t index[COLS];
};

struct Sums {  // one sum of each column
  float value[COLS];
};

// -- loops ----------------------------------------------------------------------------------------------------------

// A digit of a counter: steps it, and tells whether it starts again. A nest of loops written as one loop over such
// digits is one pipeline, which does not run dry where an inner loop ends.
inline bool wraps(uint32_t& digit, uint32_t end) {
#pragma HLS INLINE
  if (++digit < end) return false;
  digit = 0;
  return true;
}

constexpr uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }
constexpr uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }
constexpr uint32_t max(uint32_t a, uint32_t b) { return a < b ? b : a; }

}  // namespace sat
