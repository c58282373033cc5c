// Everything that passes over rows: element by element, sums, and batch normalisation, a span of channels after the
// other. codesign.compute.vector_norm states the arithmetic of the last.
#pragma once
#include <hls_math.h>

#include "vector_rows.hpp"

namespace sat {

// The channel's parameters and statistics, for a scalar unit that takes a channel a cycle: there is one divider.
inline void forward_statistics(const VectorInstruction& v, uint32_t span, const LaneSums sums, ChannelTables table) {
#pragma HLS INLINE off
  const float inverse = float_of(v.p0), eps = float_of(v.p1), momentum = float_of(v.p2), unbiased = float_of(v.p3);
  for (uint32_t channel = 0; channel < span; channel++) {
#pragma HLS PIPELINE II=1
// every channel is visited once
#pragma HLS DEPENDENCE variable=table type=inter dependent=false
    const uint32_t l = channel % VECTOR_LANES, block = channel / VECTOR_LANES;
    const float c = sums[0][0][l][block] * inverse, mean = table[CENTRE][l][block] + c;
    const float difference = sums[1][0][l][block] * inverse - c * c;
    const float variance = difference < 0 ? 0.0f : difference;
    const float reciprocal = 1.0f / hls::sqrt(variance + eps);
    const float running_mean = table[RUNNING_MEAN][l][block], running_variance = table[RUNNING_VARIANCE][l][block];
    table[CENTRE][l][block] = mean;
    table[RECIPROCAL][l][block] = reciprocal;
    table[SLOPE][l][block] *= reciprocal;
    table[RUNNING_MEAN][l][block] = running_mean + momentum * (mean - running_mean);
    table[RUNNING_VARIANCE][l][block] = running_variance + momentum * (variance * unbiased - running_variance);
  }
}

inline void backward_statistics(float inverse, uint32_t span, const LaneSums sums, ChannelTables table) {
#pragma HLS INLINE off
  for (uint32_t channel = 0; channel < span; channel++) {
#pragma HLS PIPELINE II=1
// every channel is visited once
#pragma HLS DEPENDENCE variable=table type=inter dependent=false
    const uint32_t l = channel % VECTOR_LANES, block = channel / VECTOR_LANES;
    table[SLOPE][l][block] *= table[RECIPROCAL][l][block];
    table[SHIFT][l][block] = sums[0][0][l][block] * inverse;
    table[TILT][l][block] = sums[1][0][l][block] * inverse;
  }
}

inline void first_row(const Word* memory, uint32_t base, Slab slab, ChannelTable first) {
#pragma HLS INLINE off
  SAT_LOCAL RowTile tile;
#pragma HLS ARRAY_PARTITION variable=tile complete dim=1
  slab.rows = 1;
  load_slab<ROW_DEPTH>(memory, base, slab, tile);
  for (uint32_t block = 0; block < ceil_div(slab.span, VECTOR_LANES); block++) {
#pragma HLS PIPELINE II=1
    half lane[VECTOR_LANES];
    read_lanes<ROW_DEPTH>(tile, slab.element(0, block * VECTOR_LANES), lane);
    for (uint32_t l = 0; l < VECTOR_LANES; l++) {
#pragma HLS UNROLL
      first[l][block] = widen(lane[l]);
    }
  }
}

// Stores one of the two sums of each channel, narrowed, as a vector of all channels.
inline void store_sums(Word* memory, uint32_t base, const Slab& slab, uint32_t part, const LaneSums sums) {
#pragma HLS INLINE off
  SAT_LOCAL RowTile tile;
#pragma HLS ARRAY_PARTITION variable=tile complete dim=1
  for (uint32_t block = 0; block < ceil_div(slab.span, VECTOR_LANES); block++) {
#pragma HLS PIPELINE II=1
    for (uint32_t l = 0; l < VECTOR_LANES; l++) {
#pragma HLS UNROLL
      tile[l][block] = narrow(sums[part][0][l][block]);
    }
  }
  store_slab<ROW_DEPTH>(memory, base, Slab{0, 1, slab.channel, slab.span, slab.pitch}, tile);
}

inline void batch_norm(const VectorInstruction& v, const Slab& slab, const Word* left, const Word* right,
                       ChannelTables table, LaneSums sums, Word* memory) {
#pragma HLS INLINE
  const uint32_t channel = slab.channel, span = slab.span, words = ceil_div(v.channels, WORD_FLOATS);
  load_floats(left, v.y, channel, span, table[SLOPE]);
  load_floats(left, v.z, channel, span, table[SHIFT]);
  load_floats(left, v.out2 + 2 * words, channel, span, table[RUNNING_MEAN]);
  load_floats(left, v.out2 + 3 * words, channel, span, table[RUNNING_VARIANCE]);
  first_row(left, v.x, slab, table[CENTRE]);
  pass_rows(Pass::SUM_DEVIATIONS, slab, v, left, right, table, sums, memory);
  forward_statistics(v, span, sums, table);
  pass_rows(Pass::NORMALISE, slab, v, left, right, table, sums, memory);
  store_floats(memory, v.out2, channel, span, table[CENTRE]);
  store_floats(memory, v.out2 + words, channel, span, table[RECIPROCAL]);
  store_floats(memory, v.out2 + 2 * words, channel, span, table[RUNNING_MEAN]);
  store_floats(memory, v.out2 + 3 * words, channel, span, table[RUNNING_VARIANCE]);
}

inline void batch_norm_backward(const VectorInstruction& v, const Slab& slab, const Word* left, const Word* right,
                                ChannelTables table, LaneSums sums, Word* memory) {
#pragma HLS INLINE
  const uint32_t channel = slab.channel, span = slab.span, words = ceil_div(v.channels, WORD_FLOATS);
  load_floats(left, v.z, channel, span, table[SLOPE]);
  load_floats(left, v.out2, channel, span, table[CENTRE]);
  load_floats(left, v.out2 + words, channel, span, table[RECIPROCAL]);
  pass_rows(Pass::SUM_PRODUCTS, slab, v, left, right, table, sums, memory);
  backward_statistics(float_of(v.p0), span, sums, table);
  pass_rows(Pass::NORMALISE_BACKWARD, slab, v, left, right, table, sums, memory);
  store_sums(memory, v.p2, slab, 0, sums);
  store_sums(memory, v.p1, slab, 1, sums);
}

inline void row_operation(const VectorInstruction& v, const Word* left, const Word* right, Word* memory) {
#pragma HLS INLINE off
#pragma HLS ALLOCATION function instances=pass_rows limit=1
#pragma HLS ALLOCATION function instances=store_sums limit=1
  SAT_LOCAL ChannelTables table;
  SAT_LOCAL LaneSums sums;
#pragma HLS ARRAY_PARTITION variable=table complete dim=1
#pragma HLS ARRAY_PARTITION variable=table complete dim=2
#pragma HLS ARRAY_PARTITION variable=sums complete dim=1
#pragma HLS ARRAY_PARTITION variable=sums complete dim=3
  if (v.op == RELU || v.op == RELU_BACKWARD || v.op == ADD) {
    const Pass pass = v.op == RELU ? Pass::RELU : v.op == ADD ? Pass::ADD : Pass::RELU_BACKWARD;
    const uint32_t elements = v.rows * v.channels;
    pass_rows(pass, Slab{0, 1, 0, elements, elements}, v, left, right, table, sums, memory);
    return;
  }
  for (uint32_t channel = 0; channel < v.channels; channel += MAX_SPAN) {
    const Slab slab{0, v.rows, channel, min(MAX_SPAN, v.channels - channel), v.channels};
    if (v.op == COLUMN_SUM) {
      pass_rows(Pass::SUM_VALUES, slab, v, left, right, table, sums, memory);
      store_sums(memory, v.out, slab, 0, sums);
    } else if (v.op == BATCH_NORM) {
      batch_norm(v, slab, left, right, table, sums, memory);
    } else {
      batch_norm_backward(v, slab, left, right, table, sums, memory);
    }
  }
}

}  // namespace sat
