// Memory as the DMA processes see it: words of elements of 16 bits or, `wide`, of 32. Neighbouring elements are moved in
// pieces, which do not straddle words.
#pragma once
#include "dataflow.hpp"
#include "instruction.hpp"

namespace sat {

constexpr uint32_t WORD_BITS = 8 * AXI_BYTES;
constexpr uint32_t MEMORY_FIFO_DEPTH = 32;  // words or elements between DMA processes

static_assert(PORT <= WORD_BITS / 16, "a beat of the activation port is part of a word");

// The element of 16 bits at place `e` of a word.
inline uint16_t element_of(const Word& word, uint32_t e) {
#pragma HLS INLINE
  return uint16_t(word.lane[e / 2] >> (e % 2 * 16));
}

inline void set_element(Word& word, uint32_t e, bool wide, uint32_t bits) {
#pragma HLS INLINE
  if (wide) {
    word.lane[e] = bits;
  } else {
    const uint32_t shift = e % 2 * 16;
    word.lane[e / 2] = (word.lane[e / 2] & ~(0xFFFFu << shift)) | bits << shift;
  }
}

// A few neighbouring elements, which are moved together, in the word that holds them.
struct Piece {
  Word word;
  uint32_t offset;  // of the first one in the word
};

// The largest power of two that divides a number.
inline uint32_t lowest_bit(uint32_t x) {
#pragma HLS INLINE
  return x & (~x + 1);
}

}  // namespace sat
