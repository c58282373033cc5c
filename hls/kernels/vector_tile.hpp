// Tiles of the vector unit: part of an FP16 tensor of rows x channels, on chip as it lies in memory, spread over the
// lanes element by element. Any VECTOR_LANES neighbours can be read or written at once, wherever they begin.
#pragma once
#include "memory.hpp"

#ifdef __SYNTHESIS__
#define SAT_LOCAL
#else
#define SAT_LOCAL static  // large arrays: C-simulation runs on small stacks
#endif

namespace sat {

enum VectorOp : uint32_t {
  RELU = 0,
  RELU_BACKWARD = 1,
  ADD = 2,
  COLUMN_SUM = 3,
  MAX_POOL = 4,
  MAX_POOL_BACKWARD = 5,
  AVG_POOL = 6,
  AVG_POOL_BACKWARD = 7,
  CROSS_ENTROPY = 8,
  BATCH_NORM = 9,
  BATCH_NORM_BACKWARD = 10,
};

constexpr uint32_t WORD_HALVES = 32, WORD_FLOATS = 16;
constexpr uint32_t WORD_CYCLES = max(1, WORD_HALVES / VECTOR_LANES);  // to spread a word over the lanes
constexpr uint32_t SUM_WAYS = 16;                                     // codesign.compute.vector_unit

// The buffer, two halves of VECTOR_DEPTH values per lane, is spent on: pooling 11/8 of a half (four tiles in two copies
// each, for DATAFLOW, and the results so far, which take three), a row of logits 1/8, tiles of rows 8/32 (three in two
// copies, and two), sums 8/32 (two FP32 in SUM_WAYS ways for each of CHANNEL_BLOCKS).
constexpr uint32_t TILE_DEPTH = VECTOR_DEPTH / 8, ROW_DEPTH = VECTOR_DEPTH / 32, CHANNEL_BLOCKS = VECTOR_DEPTH / 256;
constexpr uint32_t MAX_SPAN = VECTOR_LANES * CHANNEL_BLOCKS;  // channels whose sums are on chip

// Elements that a tile of a depth holds besides ragged ends.
constexpr uint32_t elements_of(uint32_t depth) { return VECTOR_LANES * depth - WORD_HALVES - VECTOR_LANES; }
constexpr uint32_t TILE_ELEMENTS = elements_of(TILE_DEPTH), ROW_ELEMENTS = elements_of(ROW_DEPTH);
constexpr uint32_t FLAT_SPAN = ROW_ELEMENTS / WORD_HALVES * WORD_HALVES;  // whole words of a single row

static_assert(is_power_of_2(VECTOR_LANES), "neighbouring elements lie in different lanes");
static_assert(CHANNEL_BLOCKS >= 1 && MAX_SPAN % WORD_HALVES == 0, "a span of channels is cut at whole words");
static_assert(VECTOR_LANES * ROW_DEPTH >= WORD_HALVES + VECTOR_LANES + MAX_SPAN, "a tile holds a row");
static_assert(SUM_WAYS >= ACCUMULATOR_LATENCY + 3, "a sum is read, added to and stored before its next term comes");

// A tile holds `rows` from `row` of `span` channels from `channel`. All channels of a tensor or, of a single row, any
// part is one run of memory; otherwise every row is a run of whole words.
struct Slab {
  uint32_t row, rows, channel, span, pitch;  // pitch: channels of the tensor

  bool joined() const { return span == pitch || rows == 1; }
  uint32_t first() const { return row * pitch + channel; }  // element of the tensor
  uint32_t offset() const { return first() % WORD_HALVES; }  // of the first element in its word, and in the tile
  uint32_t element(uint32_t r, uint32_t c) const { return offset() + r * span + c; }  // in the tile
  uint32_t runs() const { return joined() ? 1 : rows; }
  uint32_t run_elements() const { return joined() ? rows * span : span; }
  uint32_t run_words() const { return ceil_div(offset() + run_elements(), WORD_HALVES); }
  uint32_t word(uint32_t run) const { return (first() + run * pitch) / WORD_HALVES; }  // of the tensor
};

using Tile = half[VECTOR_LANES][TILE_DEPTH];
using RowTile = half[VECTOR_LANES][ROW_DEPTH];
using ChannelTable = float[VECTOR_LANES][CHANNEL_BLOCKS];  // a value for each channel of a span
using LaneSums = float[2][SUM_WAYS][VECTOR_LANES][CHANNEL_BLOCKS];

// What batch normalisation knows of a channel. CENTRE is the first value, then the mean; SLOPE the scale, then
// scale * reciprocal; SHIFT and TILT, backward, what is subtracted from dy.
enum Channel : uint32_t { CENTRE, RECIPROCAL, SLOPE, SHIFT, TILT, RUNNING_MEAN, RUNNING_VARIANCE, CHANNEL_TABLES };
using ChannelTables = ChannelTable[CHANNEL_TABLES];

// How many tiles a slab is cut into, and the part in each: as many rows as fit or, of a single row, as many words.
inline uint32_t tiles_of(const Slab& whole) {
#pragma HLS INLINE
  return whole.rows == 1 ? ceil_div(whole.span, FLAT_SPAN) : ceil_div(whole.rows, ROW_ELEMENTS / whole.span);
}

inline Slab tile_slab(const Slab& whole, uint32_t tile) {
#pragma HLS INLINE
  Slab slab = whole;
  if (whole.rows == 1) {
    slab.channel = whole.channel + tile * FLAT_SPAN;
    slab.span = min(FLAT_SPAN, whole.span - tile * FLAT_SPAN);
  } else {
    const uint32_t rows = ROW_ELEMENTS / whole.span;
    slab.row = whole.row + tile * rows;
    slab.rows = min(rows, whole.rows - tile * rows);
  }
  return slab;
}

// A step of a sum that comes to this place again after at least SUM_WAYS cycles.
inline float accumulated(float sum, float term) {
#pragma HLS INLINE
  const float total = sum + term;
#pragma HLS BIND_OP variable=total op=fadd impl=fulldsp latency=ACCUMULATOR_LATENCY
  return total;
}

template <uint32_t DEPTH>
void load_slab(const Word* memory, uint32_t base, const Slab& slab, half tile[VECTOR_LANES][DEPTH]) {
#pragma HLS INLINE off
  for (uint32_t run = 0; run < slab.runs(); run++) {
    for (uint32_t w = 0; w < slab.run_words(); w++) {
#pragma HLS PIPELINE II=WORD_CYCLES
      const Word word = memory[base + slab.word(run) + w];
      for (uint32_t h = 0; h < WORD_HALVES; h++) {
#pragma HLS UNROLL
        const uint32_t e = (run * slab.run_words() + w) * WORD_HALVES + h;
        tile[e % VECTOR_LANES][e / VECTOR_LANES] = half_of(element_of(word, h));
      }
    }
  }
}

// What else the first and the last word of a run hold stays as it is.
template <uint32_t DEPTH>
void store_slab(Word* memory, uint32_t base, const Slab& slab, const half tile[VECTOR_LANES][DEPTH]) {
#pragma HLS INLINE off
  for (uint32_t run = 0; run < slab.runs(); run++) {
    const uint32_t begin = base + slab.word(run), count = slab.run_words();
    const Word head = memory[begin], tail = memory[begin + count - 1];
    for (uint32_t w = 0; w < count; w++) {
#pragma HLS PIPELINE II=WORD_CYCLES
      Word word = w == 0 ? head : tail;
      for (uint32_t h = 0; h < WORD_HALVES; h++) {
#pragma HLS UNROLL
        const uint32_t in_run = w * WORD_HALVES + h, e = run * count * WORD_HALVES + in_run;
        const bool ours = in_run >= slab.offset() && in_run < slab.offset() + slab.run_elements();
        if (ours) set_element(word, h, false, bits_of(tile[e % VECTOR_LANES][e / VECTOR_LANES]));
      }
      memory[begin + w] = word;
    }
  }
}

// Neighbours from element `first` on.
template <uint32_t DEPTH>
void read_lanes(const half tile[VECTOR_LANES][DEPTH], uint32_t first, half lane[VECTOR_LANES]) {
#pragma HLS INLINE
  half bank[VECTOR_LANES];
#pragma HLS ARRAY_PARTITION variable=bank complete
  for (uint32_t b = 0; b < VECTOR_LANES; b++) {
#pragma HLS UNROLL
    bank[b] = tile[b][(first + VECTOR_LANES - 1 - b) / VECTOR_LANES];
  }
  for (uint32_t l = 0; l < VECTOR_LANES; l++) {
#pragma HLS UNROLL
    lane[l] = bank[(first + l) % VECTOR_LANES];
  }
}

// Writes `count` of them; the other lanes hold nothing.
template <uint32_t DEPTH>
void write_lanes(half tile[VECTOR_LANES][DEPTH], uint32_t first, uint32_t count, const half lane[VECTOR_LANES]) {
#pragma HLS INLINE
  for (uint32_t b = 0; b < VECTOR_LANES; b++) {
#pragma HLS UNROLL
    const uint32_t l = (b - first) % VECTOR_LANES;
    if (l < count) tile[b][(first + VECTOR_LANES - 1 - b) / VECTOR_LANES] = lane[l];
  }
}

// FP32 vectors of `span` values from element `channel`, a multiple of WORD_FLOATS or the only part.
inline void load_floats(const Word* memory, uint32_t base, uint32_t channel, uint32_t span, ChannelTable table) {
#pragma HLS INLINE off
  for (uint32_t w = 0; w < ceil_div(span, WORD_FLOATS); w++) {
#pragma HLS PIPELINE II=WORD_CYCLES
    const Word word = memory[base + channel / WORD_FLOATS + w];
    for (uint32_t f = 0; f < WORD_FLOATS; f++) {
#pragma HLS UNROLL
      const uint32_t c = w * WORD_FLOATS + f;
      table[c % VECTOR_LANES][c / VECTOR_LANES] = float_of(word.lane[f]);
    }
  }
}

inline void store_floats(Word* memory, uint32_t base, uint32_t channel, uint32_t span, const ChannelTable table) {
#pragma HLS INLINE off
  const uint32_t begin = base + channel / WORD_FLOATS, count = ceil_div(span, WORD_FLOATS);
  const Word tail = memory[begin + count - 1];
  for (uint32_t w = 0; w < count; w++) {
#pragma HLS PIPELINE II=WORD_CYCLES
    Word word = tail;
    for (uint32_t f = 0; f < WORD_FLOATS; f++) {
#pragma HLS UNROLL
      const uint32_t c = w * WORD_FLOATS + f;
      if (c < span) word.lane[f] = bits_of(table[c % VECTOR_LANES][c / VECTOR_LANES]);
    }
    memory[begin + w] = word;
  }
}

}  // namespace sat
