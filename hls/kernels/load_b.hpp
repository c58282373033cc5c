// LOAD_B: pieces of up to a word of B are fetched by one process, their indices, if it is compact, by another, and placed
// in the banks that `stce.hpp` reads. Where k lies side by side in memory, a piece is fetched for each bank before they
// are placed in parallel; where the columns do (dense only), a piece spreads over the banks.
#pragma once
#include "memory.hpp"

namespace sat {

inline uint32_t index_bits(uint32_t m) {
#pragma HLS INLINE
  uint32_t bits = 0;
  for (uint32_t b = 0; b < 8; b++) {
#pragma HLS UNROLL
    if ((1u << b) < m) bits = b + 1;
  }
  return bits;
}

struct BLayout {
  bool dense, by_columns;
  uint32_t unit;                      // values of a unit
  uint32_t piece;                     // neighbouring values that are moved together: a power of two, within a word
  uint32_t pieces;                    // of a run
  uint32_t runs;                      // of a block of columns
  uint32_t k_length, k_padded;        // values of a column
  uint32_t lanes, blocks;             // columns that are placed at the same time, and how often
  uint32_t bits;                      // of an index

  explicit BLayout(const LoadBInstruction& load) {
    dense = load.n == load.m;
    by_columns = load.stride0 != 1;
    unit = dense ? 1 : load.n;
    const uint32_t length = by_columns ? load.columns : load.count0;
    const uint32_t across = by_columns ? load.stride0 : load.column_stride;
    piece = lowest_bit((length | across | load.stride1 | load.stride2 | load.offset) * unit | WORD_BITS / 16);
    pieces = length * unit / piece;
    runs = load.count2 * load.count1 * (by_columns ? load.count0 : 1);
    const uint32_t units = load.count2 * load.count1 * load.count0;
    k_length = units * unit;
    k_padded = ceil_div(k_length, load.n) * load.n;
    lanes = by_columns ? 1 : COLS;
    blocks = by_columns ? 1 : ceil_div(load.columns, COLS);
    bits = index_bits(load.m);
  }
};

// Visits the pieces of a tile: blocks of columns, runs, pieces, lanes.
struct PieceWalk {
  uint32_t block, k2, k1, k0, piece, lane;

  PieceWalk() : block(0), k2(0), k1(0), k0(0), piece(0), lane(0) {}

  uint32_t column() const { return block * COLS + lane; }
  uint32_t first(const LoadBInstruction& load, const BLayout& layout) const {  // value in memory
    const uint32_t run = load.offset + column() * load.column_stride + k2 * load.stride2 + k1 * load.stride1 +
                         k0 * load.stride0;
    return run * layout.unit + piece * layout.piece;
  }
  void step(const LoadBInstruction& load, const BLayout& layout) {
    const bool k0_wraps = wraps(lane, layout.lanes) && wraps(piece, layout.pieces) &&
                          (!layout.by_columns || wraps(k0, load.count0));
    if (k0_wraps && wraps(k1, load.count1) && wraps(k2, load.count2)) block++;
  }
};

inline uint32_t pieces_of(const BLayout& layout) { return layout.blocks * layout.runs * layout.pieces * layout.lanes; }

inline void fetch_b(const LoadBInstruction& load, const Word* memory, hls::stream<Piece>& values) {
#pragma HLS INLINE off
  const BLayout layout(load);
  PieceWalk walk;
  for (uint32_t at = 0; at < pieces_of(layout); at++) {
#pragma HLS PIPELINE II=1
    const uint32_t first = walk.first(load, layout);
    Piece piece = {};
    if (walk.column() < load.columns) piece.word = memory[load.values + first / (WORD_BITS / 16)];
    piece.offset = first % (WORD_BITS / 16);
    values.write(piece);
    walk.step(load, layout);
  }
}

struct IndexPiece {
  Word low, high;   // the word that the first index begins in, and the one after it if the piece goes on there
  uint32_t offset;  // of the first index, in bits
};

inline void fetch_indices(const LoadBInstruction& load, const Word* memory, hls::stream<IndexPiece>& indices) {
#pragma HLS INLINE off
  const BLayout layout(load);
  PieceWalk walk;
  for (uint32_t at = 0; !layout.dense && at < pieces_of(layout); at++) {
#pragma HLS PIPELINE II=2
    const uint64_t first = uint64_t(walk.first(load, layout)) * layout.bits;
    const uint32_t place = uint32_t(first / WORD_BITS), offset = uint32_t(first % WORD_BITS);
    IndexPiece piece = {};
    if (walk.column() < load.columns) {
      piece.low = memory[load.indices + place];
      if (offset + layout.piece * layout.bits > WORD_BITS) piece.high = memory[load.indices + place + 1];
    }
    piece.offset = offset;
    indices.write(piece);
    walk.step(load, layout);
  }
}

inline uint8_t index_of(const IndexPiece& piece, uint32_t e, uint32_t bits) {
#pragma HLS INLINE
  const uint32_t first = piece.offset + e * bits, lane = first / 32, lanes = WORD_BITS / 32;
  const uint32_t here = lane < lanes ? piece.low.lane[lane] : piece.high.lane[lane - lanes];
  const uint32_t next = lane + 1 < lanes ? piece.low.lane[lane + 1] : piece.high.lane[(lane + 1) % lanes];
  return uint8_t((here | uint64_t(next) << 32) >> first % 32 & ((1u << bits) - 1));
}

// A piece of k for each column of a block.
inline void place_columns(const BLayout& layout, uint32_t n, uint32_t block, uint32_t k, const Piece values[COLS],
                          const IndexPiece indices[COLS], half weight[COLS][WEIGHT_DEPTH],
                          uint8_t index[COLS][WEIGHT_DEPTH]) {
#pragma HLS INLINE
  for (uint32_t e = 0; e < layout.piece; e++) {
#pragma HLS PIPELINE II=1
    for (uint32_t c = 0; c < COLS; c++) {
#pragma HLS UNROLL
      const uint32_t place = block * layout.k_padded + k + e;
      weight[c][place] = half_of(element_of(values[c].word, values[c].offset + e));
      index[c][place] = layout.dense ? uint8_t((k + e) & (n - 1)) : index_of(indices[c], e, layout.bits);
    }
  }
}

// A piece of the columns from `first` on, of one k.
inline void spread_columns(const BLayout& layout, uint32_t n, uint32_t first, uint32_t k, const Piece& values,
                           half weight[COLS][WEIGHT_DEPTH], uint8_t index[COLS][WEIGHT_DEPTH]) {
#pragma HLS INLINE
  for (uint32_t round = 0; round < layout.piece; round += COLS) {
#pragma HLS PIPELINE II=1
    for (uint32_t c = 0; c < COLS; c++) {
#pragma HLS UNROLL
      const uint32_t e = round + (c + COLS - (first + round) % COLS) % COLS;
      const uint32_t place = (first + e) / COLS * layout.k_padded + k;
      if (e < layout.piece) {
        weight[c][place] = half_of(element_of(values.word, values.offset + e));
        index[c][place] = uint8_t(k & (n - 1));
      }
    }
  }
}

// Zeros behind k, which is padded only if it is dense.
inline void pad_columns(const BLayout& layout, uint32_t n, uint32_t columns, half weight[COLS][WEIGHT_DEPTH],
                        uint8_t index[COLS][WEIGHT_DEPTH]) {
#pragma HLS INLINE off
  for (uint32_t block = 0; block < ceil_div(columns, COLS); block++) {
    for (uint32_t k = layout.k_length; k < layout.k_padded; k++) {
#pragma HLS PIPELINE II=1
      for (uint32_t c = 0; c < COLS; c++) {
#pragma HLS UNROLL
        weight[c][block * layout.k_padded + k] = half_of(uint16_t(0));
        index[c][block * layout.k_padded + k] = uint8_t(k & (n - 1));
      }
    }
  }
}

inline void place_b(const LoadBInstruction& load, hls::stream<Piece>& values, hls::stream<IndexPiece>& indices,
                    half weight[COLS][WEIGHT_DEPTH], uint8_t index[COLS][WEIGHT_DEPTH]) {
#pragma HLS INLINE off
  const BLayout layout(load);
  Piece value_pieces[COLS] = {};
  IndexPiece index_pieces[COLS] = {};
#pragma HLS ARRAY_PARTITION variable=value_pieces complete
#pragma HLS ARRAY_PARTITION variable=index_pieces complete
  for (uint32_t block = 0; block < layout.blocks; block++) {
    for (uint32_t at = 0; at < layout.runs * layout.pieces; at++) {
      for (uint32_t lane = 0; lane < layout.lanes; lane++) {
#pragma HLS PIPELINE II=1
        value_pieces[lane] = values.read();
        if (!layout.dense) index_pieces[lane] = indices.read();
      }
      if (layout.by_columns) {
        const uint32_t k = at / layout.pieces, first = at % layout.pieces * layout.piece;
        spread_columns(layout, load.n, first, k, value_pieces[0], weight, index);
      } else {
        place_columns(layout, load.n, block, at * layout.piece, value_pieces, index_pieces, weight, index);
      }
    }
  }
  pad_columns(layout, load.n, load.columns, weight, index);
}

inline void load_b(const LoadBInstruction& load, const Word* memory, const Word* index_memory,
                   half weight[COLS][WEIGHT_DEPTH], uint8_t index[COLS][WEIGHT_DEPTH]) {
#pragma HLS INLINE off
#pragma HLS DATAFLOW
  SAT_STREAM(Piece, pieces_of_b, MEMORY_FIFO_DEPTH);
  SAT_STREAM(IndexPiece, pieces_of_indices, MEMORY_FIFO_DEPTH);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(fetch_b, load, memory, pieces_of_b);
  SAT_PROCESS(fetch_indices, load, index_memory, pieces_of_indices);
  SAT_PROCESS(place_b, load, pieces_of_b, pieces_of_indices, weight, index);
  SAT_DATAFLOW_END();
}

}  // namespace sat
