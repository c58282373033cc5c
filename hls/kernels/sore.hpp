// SORE, the sparsifier: each lane is a top-N sorter that takes one value of a group a cycle. codesign.nm.format states
// which values are kept and in which order they are emitted.
#pragma once
#include "types.hpp"

namespace sat {

// The N largest so far, largest first. An empty entry has rank 0.
struct Sorter {
  uint16_t rank[MAX_N];
  uint8_t place[MAX_N];
  half value[MAX_N];
};

// Magnitude key plus one: orders as magnitudes do, all NaNs alike above infinity.
inline uint16_t rank_of(half value) {
#pragma HLS INLINE
  return uint16_t(min(bits_of(value) & 0x7FFFu, 0x7C01u) + 1);
}

// Only a strictly larger value displaces an entry, which moves down with all below: ties keep the lowest place.
inline void insert(Sorter& sorter, half value, uint8_t place) {
#pragma HLS INLINE
  const uint16_t rank = rank_of(value);
  for (uint32_t e = MAX_N; e-- > 0;) {
#pragma HLS UNROLL
    if (e > 0 && rank > sorter.rank[e - 1]) {
      sorter.rank[e] = sorter.rank[e - 1];
      sorter.place[e] = sorter.place[e - 1];
      sorter.value[e] = sorter.value[e - 1];
    } else if (rank > sorter.rank[e]) {
      sorter.rank[e] = rank;
      sorter.place[e] = place;
      sorter.value[e] = value;
    }
  }
}

// The n first entries by ascending place: each goes behind those with a smaller one.
inline void emit(const Sorter& sorter, uint32_t n, half kept[MAX_N], uint8_t index[MAX_N]) {
#pragma HLS INLINE
  for (uint32_t e = 0; e < MAX_N; e++) {
#pragma HLS UNROLL
    uint32_t smaller = 0;
    for (uint32_t other = 0; other < MAX_N; other++) {
#pragma HLS UNROLL
      smaller += other < n && sorter.place[other] < sorter.place[e];
    }
    if (e < n) {
      kept[smaller] = sorter.value[e];
      index[smaller] = sorter.place[e];
    }
  }
}

// Keeps n of a group of m: kept[0..n-1] and index[0..n-1], the rest stays as it is.
inline void sore_lane(const half group[MAX_M], uint32_t n, uint32_t m, half kept[MAX_N], uint8_t index[MAX_N]) {
#pragma HLS INLINE off
#pragma HLS ARRAY_PARTITION variable=kept complete
#pragma HLS ARRAY_PARTITION variable=index complete
  Sorter sorter = {};
  for (uint32_t t = 0; t < m; t++) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_TRIPCOUNT min=2 max=MAX_M
    insert(sorter, group[t], uint8_t(t));
  }
  emit(sorter, n, kept, index);
}

// A group in each lane, side by side.
inline void sore_lanes(const half group[SORE_LANES][MAX_M], uint32_t n, uint32_t m, half kept[SORE_LANES][MAX_N],
                       uint8_t index[SORE_LANES][MAX_N]) {
#pragma HLS INLINE off
#pragma HLS ARRAY_PARTITION variable=group complete dim=1
#pragma HLS ARRAY_PARTITION variable=kept complete dim=0
#pragma HLS ARRAY_PARTITION variable=index complete dim=0
  for (uint32_t lane = 0; lane < SORE_LANES; lane++) {
#pragma HLS UNROLL
    sore_lane(group[lane], n, m, kept[lane], index[lane]);
  }
}

}  // namespace sat
