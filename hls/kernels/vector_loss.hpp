// Softmax cross-entropy and its gradient. codesign.compute.vector_loss states the arithmetic, exp and log included.
//
// One logit a cycle: there are few of them, and one exp, one log and one divider are enough.
#pragma once
#include "vector_tile.hpp"

namespace sat {

// Of numbers that are at most 0.
inline float exponential(float z) {
#pragma HLS INLINE
  constexpr float LOG2E = 1.4426950408889634, LN2_HIGH = 0.693359375, LN2_LOW = 0.6931471805599453 - 0.693359375;
  constexpr float TERMS[8] = {1,        1,         float(1.0 / 2),   float(1.0 / 6), float(1.0 / 24), float(1.0 / 120),
                              float(1.0 / 720), float(1.0 / 5040)};
  const int32_t k = int32_t((z > -87 ? z : -87.0f) * LOG2E - 0.5f);
  const float r = (z - float(k) * LN2_HIGH) - float(k) * LN2_LOW;
  float p = TERMS[7];
  for (int c = 6; c >= 0; c--) {
#pragma HLS UNROLL
    p = p * r + TERMS[c];
  }
  return z < -87 ? 0.0f : p * float_of(uint32_t(127 + k) << 23);
}

// Of numbers from 1 to 2^24.
inline float logarithm(float s) {
#pragma HLS INLINE
  constexpr float LN2 = 0.6931471805599453;
  constexpr float TERMS[5] = {1, float(1.0 / 3), float(1.0 / 5), float(1.0 / 7), float(1.0 / 9)};
  const uint32_t bits = bits_of(s);
  const bool high = (bits & 0x7FFFFF) >= 0x400000;  // 1.5 or more
  const float m = float_of((bits & 0x7FFFFF) | (high ? 126u : 127u) << 23);
  const int32_t e = int32_t(bits >> 23) - (high ? 126 : 127);
  const float t = (m - 1) / (m + 1), square = t * t;
  float q = TERMS[4];
  for (int c = 3; c >= 0; c--) {
#pragma HLS UNROLL
    q = q * square + TERMS[c];
  }
  return s != s ? s : float(e) * LN2 + (t + t) * q;
}

// The order of long sums: `way` of the term's number; the last step halves the ways.
inline void clear_ways(float ways[SUM_WAYS]) {
#pragma HLS INLINE
  for (uint32_t way = 0; way < SUM_WAYS; way++) {
#pragma HLS UNROLL
    ways[way] = 0;
  }
}

inline float joined_ways(float ways[SUM_WAYS]) {
#pragma HLS INLINE
  for (uint32_t count = SUM_WAYS / 2; count > 0; count /= 2) {
#pragma HLS UNROLL
    for (uint32_t way = 0; way < count; way++) {
#pragma HLS UNROLL
      ways[way] += ways[way + count];
    }
  }
  return ways[0];
}

inline float tile_value(const Tile tile, uint32_t element) {
#pragma HLS INLINE
  return widen(tile[element % VECTOR_LANES][element / VECTOR_LANES]);
}

struct LossRule {
  float scale, on, off, keep, inverse;
};

// Loss of one row of `classes` logits from element `first` on; their gradient replaces them.
inline float loss_row(Tile tile, uint32_t first, uint32_t classes, uint32_t label, const LossRule& rule) {
#pragma HLS INLINE off
  float largest = tile_value(tile, first);
  for (uint32_t c = 1; c < classes; c++) {
#pragma HLS PIPELINE II=1
    const float x = tile_value(tile, first + c);
    if (x > largest) largest = x;
  }
  float exps[SUM_WAYS], zs[SUM_WAYS], z_label = 0;
#pragma HLS ARRAY_PARTITION variable=exps complete
#pragma HLS ARRAY_PARTITION variable=zs complete
  clear_ways(exps);
  clear_ways(zs);
  for (uint32_t c = 0; c < classes; c++) {
#pragma HLS PIPELINE II=1
// the same way comes again after SUM_WAYS terms, when its sum is stored
#pragma HLS DEPENDENCE variable=exps type=inter dependent=false
#pragma HLS DEPENDENCE variable=zs type=inter dependent=false
    const float z = tile_value(tile, first + c) - largest;
    exps[c % SUM_WAYS] = accumulated(exps[c % SUM_WAYS], exponential(z));
    zs[c % SUM_WAYS] = accumulated(zs[c % SUM_WAYS], z);
    if (c == label) z_label = z;
  }
  const float sum = joined_ways(exps), reciprocal = 1.0f / sum;
  for (uint32_t c = 0; c < classes; c++) {
#pragma HLS PIPELINE II=1
// every element is read before it is written, and never again
#pragma HLS DEPENDENCE variable=tile type=inter dependent=false
    const uint32_t e = first + c;
    const float probability = exponential(tile_value(tile, e) - largest) * reciprocal;
    const float gradient = (probability - (c == label ? rule.on : rule.off)) * rule.scale;
    tile[e % VECTOR_LANES][e / VECTOR_LANES] = narrow(gradient);
  }
  return logarithm(sum) - (rule.keep * z_label + rule.off * joined_ways(zs));
}

inline void loss_operation(const VectorInstruction& v, const Word* left, const Word* right, Word* memory) {
#pragma HLS INLINE off
  SAT_LOCAL Tile tile;
#pragma HLS ARRAY_PARTITION variable=tile complete dim=1
  float losses[SUM_WAYS];
#pragma HLS ARRAY_PARTITION variable=losses complete
  clear_ways(losses);
  const LossRule rule = {float_of(v.p0), float_of(v.p1), float_of(v.p2), float_of(v.p3), float_of(v.p4)};
  for (uint32_t row = 0; row < v.rows; row++) {
    const Slab slab{row, 1, 0, v.channels, v.channels};
    load_slab<TILE_DEPTH>(left, v.x, slab, tile);
    const uint32_t label = right[v.y + row / WORD_FLOATS].lane[row % WORD_FLOATS];
    losses[row % SUM_WAYS] += loss_row(tile, slab.element(0, 0), v.channels, label, rule);
    store_slab<TILE_DEPTH>(memory, v.out, slab, tile);
  }
  Word word = memory[v.out2];
  word.lane[0] = bits_of(joined_ways(losses) * rule.inverse);
  memory[v.out2] = word;
}

}  // namespace sat
