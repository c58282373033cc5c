// STORE: adds the bias to the sums of a tile, narrows them, and scatters them in pieces of up to a word along its columns
// or its rows, whichever lie side by side in memory.
#pragma once
#include "memory.hpp"

namespace sat {

struct StoreLayout {
  bool by_rows;
  uint32_t per_word, piece;  // elements; a piece is a power of two of neighbours, within a word
  uint32_t runs, pieces;     // a run is a row of the tile, cut into pieces or, by rows, one piece of a column

  explicit StoreLayout(const StoreInstruction& store) {
    by_rows = store.column_stride != 1;
    per_word = store.wide ? WORD_BITS / 32 : WORD_BITS / 16;
    const uint32_t length = by_rows ? store.count0 : store.columns;
    const uint32_t across = by_rows ? store.column_stride : store.stride0;
    piece = lowest_bit(store.offset | across | store.stride1 | store.stride2 | length | per_word);
    runs = by_rows ? store.columns * (store.rows / piece) : store.rows;
    pieces = by_rows ? 1 : length / piece;
  }
};

// Visits the runs of a tile: rows or, by rows, blocks of COLS columns, pieces of their rows, columns.
struct StoreWalk {
  uint32_t block, column, row, r0, r1, r2;

  explicit StoreWalk(const StoreInstruction& store) : block(0), column(0), row(0) { start(store); }

  uint32_t first(const StoreInstruction& store) const {
    return store.offset + column * store.column_stride + r2 * store.stride2 + r1 * store.stride1 + r0 * store.stride0;
  }
  void step(const StoreInstruction& store, const StoreLayout& layout) {
    if (layout.by_rows && ++column < min(block + COLS, store.columns)) return;
    column = block;
    const uint32_t rows = layout.by_rows ? layout.piece : 1;
    row += rows;
    r0 += rows;
    if (r0 == store.count0) {
      r0 = 0;
      if (wraps(r1, store.count1)) r2++;
    }
    if (row == store.rows) {
      row = 0;
      column = block += COLS;
      start(store);
    }
  }

 private:
  void start(const StoreInstruction& store) {
    r0 = store.row_first % store.count0;
    r1 = store.row_first / store.count0 % store.count1;
    r2 = store.row_first / store.count0 / store.count1;
  }
};

inline void load_bias(const StoreInstruction& store, const Word* memory, float bias[COLS][MAX_STRIPS]) {
#pragma HLS INLINE off
  uint32_t bank = 0, line = 0;
  for (uint32_t j = 0; j < store.columns; j++) {
#pragma HLS PIPELINE II=1
    const uint32_t e = store.bias_first + j;
    const Word word = memory[store.bias + e / (WORD_BITS / 32)];
    bias[bank][line] = float_of(word.lane[e % (WORD_BITS / 32)]);
    if (wraps(bank, COLS)) line++;
  }
}

// Where a sum lies in its bank. A store of zeros has none, and may be larger than the buffer.
inline uint32_t place_of(const StoreInstruction& store, uint32_t line, uint32_t row) {
#pragma HLS INLINE
  return store.zero ? 0 : line * store.rows + row;
}

// What is stored of a sum; `bias` is a column's, read only if there is one. Only a tile without may have more strips
// than MAX_STRIPS.
inline uint32_t result_of(const StoreInstruction& store, float sum, const float& bias) {
#pragma HLS INLINE
  const float total = store.zero ? 0.0f : sum;
  const float result = store.biased ? total + bias : total;
  return store.wide ? bits_of(result) : bits_of(narrow(result));
}

// Neighbouring columns of a row, from all banks.
inline void gather_columns(const StoreInstruction& store, const StoreLayout& layout, uint32_t row, uint32_t column,
                           const float out[COLS][OUT_DEPTH], const float bias[COLS][MAX_STRIPS], Word& word) {
#pragma HLS INLINE
  for (uint32_t round = 0; round < layout.piece; round += COLS) {
#pragma HLS PIPELINE II=1
    for (uint32_t c = 0; c < COLS; c++) {
#pragma HLS UNROLL
      const uint32_t e = round + (c + COLS - (column + round) % COLS) % COLS, line = (column + e) / COLS;
      if (e < layout.piece) {
        set_element(word, e, store.wide, result_of(store, out[c][place_of(store, line, row)], bias[c][line % MAX_STRIPS]));
      }
    }
  }
}

// Neighbouring rows of each column of a block.
inline void gather_rows(const StoreInstruction& store, const StoreLayout& layout, uint32_t row, uint32_t line,
                        const float out[COLS][OUT_DEPTH], const float bias[COLS][MAX_STRIPS], Word words[COLS]) {
#pragma HLS INLINE
  for (uint32_t e = 0; e < layout.piece; e++) {
#pragma HLS PIPELINE II=1
    for (uint32_t c = 0; c < COLS; c++) {
#pragma HLS UNROLL
      const uint32_t bits = result_of(store, out[c][place_of(store, line, row + e)], bias[c][line % MAX_STRIPS]);
      set_element(words[c], e, store.wide, bits);
    }
  }
}

inline void read_sums(const StoreInstruction& store, const float out[COLS][OUT_DEPTH],
                      const float bias[COLS][MAX_STRIPS], hls::stream<Word>& pieces) {
#pragma HLS INLINE off
  const StoreLayout layout(store);
  StoreWalk walk(store);
  Word words[COLS] = {};
#pragma HLS ARRAY_PARTITION variable=words complete
  for (uint32_t run = 0; run < layout.runs; run++) {
    if (layout.by_rows) {
      if (walk.column == walk.block) gather_rows(store, layout, walk.row, walk.block / COLS, out, bias, words);
      pieces.write(words[walk.column % COLS]);
    }
    for (uint32_t at = 0; !layout.by_rows && at < store.columns; at += layout.piece) {
      gather_columns(store, layout, walk.row, at, out, bias, words[0]);
      pieces.write(words[0]);
    }
    walk.step(store, layout);
  }
}

// Replaces `count` elements of a word, from element `first` on, by the first ones of a piece.
inline void merge(Word& word, const Word& piece, uint32_t first, uint32_t count, bool wide) {
#pragma HLS INLINE
  const uint32_t halves = wide ? 2 : 1, begin = first * halves, end = begin + count * halves;
  for (uint32_t h = 0; h < WORD_BITS / 16; h++) {
#pragma HLS UNROLL
    if (h >= begin && h < end) set_element(word, h, false, element_of(piece, h - begin));
  }
}

// What else the first and the last word of a run hold stays as it is. The last word is kept: the next run often begins
// in it, and it is not read right after it was written.
inline void write_runs(const StoreInstruction& store, hls::stream<Word>& pieces, Word* memory) {
#pragma HLS INLINE off
  const StoreLayout layout(store);
  StoreWalk walk(store);
  Word word = {};
  uint32_t held = ~0u;  // where `word` was written last
  for (uint32_t run = 0; run < layout.runs; run++) {
    const uint32_t first = walk.first(store), end = first + layout.pieces * layout.piece;
    const uint32_t head = store.base + first / layout.per_word, last = store.base + (end - 1) / layout.per_word;
    const bool ragged_head = first % layout.per_word != 0, ragged_tail = end % layout.per_word != 0;
    const Word tail = ragged_tail && last != head ? memory[last] : Word();
    if ((ragged_head || (ragged_tail && last == head)) && head != held) word = memory[head];
    for (uint32_t at = 0; at < layout.pieces; at++) {
#pragma HLS PIPELINE II=1
      const uint32_t e = first + at * layout.piece, place = store.base + e / layout.per_word;
      const uint32_t in_word = e % layout.per_word;
      if (in_word == 0 && place == last && last != head) word = tail;
      merge(word, pieces.read(), in_word, layout.piece, store.wide);
      if (in_word + layout.piece == layout.per_word || at == layout.pieces - 1) memory[place] = word;
    }
    held = last;
    walk.step(store, layout);
  }
}

inline void scatter(const StoreInstruction& store, const float out[COLS][OUT_DEPTH],
                    const float bias[COLS][MAX_STRIPS], Word* memory) {
#pragma HLS INLINE off
#pragma HLS DATAFLOW
  SAT_STREAM(Word, stored_pieces, MEMORY_FIFO_DEPTH);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(read_sums, store, out, bias, stored_pieces);
  SAT_PROCESS(write_runs, store, stored_pieces, memory);
  SAT_DATAFLOW_END();
}

inline void store_sums(const StoreInstruction& store, const float out[COLS][OUT_DEPTH], Word* memory) {
#pragma HLS INLINE off
  float bias[COLS][MAX_STRIPS];
#pragma HLS ARRAY_PARTITION variable=bias complete dim=1
  if (store.biased) load_bias(store, memory, bias);
  scatter(store, out, bias, memory);
}

}  // namespace sat
