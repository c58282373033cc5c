// Vector operations on rows of channels: element by element, sums over rows, and batch normalisation, which is both.
// codesign.compute.vector_unit and vector_norm state the arithmetic.
//
// A loop over tiles is a dataflow region: while a tile is computed, the next one is loaded and the one before stored.
#pragma once
#include "vector_tile.hpp"

namespace sat {

// What is done to all rows: results element by element, or two sums for each channel.
enum class Pass : uint32_t {
  RELU,
  RELU_BACKWARD,
  ADD,
  NORMALISE,
  NORMALISE_BACKWARD,
  SUM_VALUES,      // x; the second sum has no meaning
  SUM_DEVIATIONS,  // d = x - CENTRE; d * d
  SUM_PRODUCTS,    // dy; dy * xhat
};

inline bool is_sum(Pass pass) { return pass >= Pass::SUM_VALUES; }
inline bool needs_second(Pass pass) {
  return pass != Pass::RELU && pass != Pass::NORMALISE && pass != Pass::SUM_VALUES && pass != Pass::SUM_DEVIATIONS;
}

inline float mapped(Pass pass, float x, float y, const ChannelTables table, uint32_t lane, uint32_t block) {
#pragma HLS INLINE
  const float d = x - table[CENTRE][lane][block], xhat = d * table[RECIPROCAL][lane][block];
  const float slope = table[SLOPE][lane][block], shift = table[SHIFT][lane][block];
  switch (pass) {
    case Pass::RELU: return x <= 0 ? 0.0f : x;
    case Pass::RELU_BACKWARD: return y <= 0 ? 0.0f : x;
    case Pass::ADD: return x + y;
    case Pass::NORMALISE: return d * slope + shift;
    default: return ((y - shift) - xhat * table[TILT][lane][block]) * slope;
  }
}

// Adds the terms of an element to the sums of its channel.
inline void add_terms(Pass pass, float x, float y, const ChannelTables table, uint32_t lane, uint32_t block,
                      uint32_t way, LaneSums sums) {
#pragma HLS INLINE
  const float d = x - table[CENTRE][lane][block], xhat = d * table[RECIPROCAL][lane][block];
  const float left = pass == Pass::SUM_VALUES ? x : pass == Pass::SUM_DEVIATIONS ? d : y;
  const float right = left * (pass == Pass::SUM_DEVIATIONS ? d : xhat);
  sums[0][way][lane][block] = accumulated(sums[0][way][lane][block], left);
  sums[1][way][lane][block] = accumulated(sums[1][way][lane][block], right);
}

// One tile; row r is summed in way r % SUM_WAYS.
inline void pass_tile(Pass pass, const Slab& whole, uint32_t tile, const RowTile x, const RowTile y,
                      const ChannelTables table, LaneSums sums, RowTile out) {
#pragma HLS INLINE off
  const Slab slab = tile_slab(whole, tile);
  const uint32_t blocks = ceil_div(slab.span, VECTOR_LANES);
  uint32_t r = 0, b = 0;
  for (bool last = false; !last;) {
#pragma HLS PIPELINE II=1
// a channel comes to the same way again after SUM_WAYS rows, when its sum is stored
#pragma HLS DEPENDENCE variable=sums type=inter dependent=false
    half left[VECTOR_LANES], right[VECTOR_LANES], result[VECTOR_LANES];
    const uint32_t c = b * VECTOR_LANES, first = slab.element(r, c), count = min(VECTOR_LANES, slab.span - c);
    const uint32_t block = b % CHANNEL_BLOCKS;  // element by element there are more, and no tables
    read_lanes<ROW_DEPTH>(x, first, left);
    read_lanes<ROW_DEPTH>(y, first, right);
    for (uint32_t l = 0; l < VECTOR_LANES; l++) {
#pragma HLS UNROLL
      const float wide_x = widen(left[l]), wide_y = widen(right[l]);
      if (is_sum(pass)) {
        add_terms(pass, wide_x, wide_y, table, l, block, (slab.row + r) % SUM_WAYS, sums);
      } else {
        result[l] = narrow(mapped(pass, wide_x, wide_y, table, l, block));
      }
    }
    if (!is_sum(pass)) write_lanes<ROW_DEPTH>(out, first, count, result);
    last = wraps(b, blocks) && wraps(r, slab.rows);
  }
}

inline void load_rows(const Word* memory, uint32_t base, bool used, const Slab& whole, uint32_t tile, RowTile values) {
#pragma HLS INLINE off
  if (used) load_slab<ROW_DEPTH>(memory, base, tile_slab(whole, tile), values);
}

inline void store_rows(Word* memory, uint32_t base, bool used, const Slab& whole, uint32_t tile, const RowTile values) {
#pragma HLS INLINE off
  if (used) store_slab<ROW_DEPTH>(memory, base, tile_slab(whole, tile), values);
}

inline void clear_sums(uint32_t blocks, LaneSums sums) {
#pragma HLS INLINE off
  for (uint32_t way = 0; way < SUM_WAYS; way++) {
    for (uint32_t block = 0; block < blocks; block++) {
#pragma HLS PIPELINE II=1
      for (uint32_t l = 0; l < VECTOR_LANES; l++) {
#pragma HLS UNROLL
        sums[0][way][l][block] = sums[1][way][l][block] = 0;
      }
    }
  }
}

// Halves the ways until one is left, which is way 0.
inline void join_ways(uint32_t blocks, LaneSums sums) {
#pragma HLS INLINE off
  for (uint32_t ways = SUM_WAYS / 2; ways > 0; ways /= 2) {
    for (uint32_t way = 0; way < ways; way++) {
      for (uint32_t block = 0; block < blocks; block++) {
#pragma HLS PIPELINE
// every block is visited once
#pragma HLS DEPENDENCE variable=sums type=inter dependent=false
        for (uint32_t l = 0; l < VECTOR_LANES; l++) {
#pragma HLS UNROLL
          sums[0][way][l][block] += sums[0][way + ways][l][block];
          sums[1][way][l][block] += sums[1][way + ways][l][block];
        }
      }
    }
  }
}

// out = pass(x, y) or, of a pass that sums, the two sums of each channel.
inline void pass_rows(Pass pass, const Slab& whole, const VectorInstruction& v, const Word* left, const Word* right,
                      const ChannelTables table, LaneSums sums, Word* memory) {
#pragma HLS INLINE off
  const uint32_t blocks = ceil_div(whole.span, VECTOR_LANES), tiles = tiles_of(whole);
  if (is_sum(pass)) clear_sums(blocks, sums);
  for (uint32_t tile = 0; tile < tiles; tile++) {
#pragma HLS DATAFLOW
    SAT_LOCAL RowTile x, y, out;
#pragma HLS ARRAY_PARTITION variable=x complete dim=1
#pragma HLS ARRAY_PARTITION variable=y complete dim=1
#pragma HLS ARRAY_PARTITION variable=out complete dim=1
    load_rows(left, v.x, true, whole, tile, x);
    load_rows(right, v.y, needs_second(pass), whole, tile, y);
    pass_tile(pass, whole, tile, x, y, table, sums, out);
    store_rows(memory, v.out, !is_sum(pass), whole, tile, out);
  }
  if (is_sum(pass)) join_ways(blocks, sums);
}

}  // namespace sat
