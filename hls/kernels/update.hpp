// UPDATE: blocks of parameters through WUVE. A block is loaded, updated and stored; its values are spread over the lanes.
#pragma once
#include "memory.hpp"
#include "wuve.hpp"

namespace sat {

constexpr uint32_t WORD_PARAMETERS = WORD_BITS / 16;  // of FP16; half as many FP32 ones
constexpr uint32_t BLOCK_PARAMETERS = WUVE_LANES * UPDATE_DEPTH / WORD_PARAMETERS * WORD_PARAMETERS;
static_assert(BLOCK_PARAMETERS > 0, "the update buffer holds at least a word of FP16 parameters");

typedef float UpdateTable[WUVE_LANES][UPDATE_DEPTH];

// `count` parameters from `first` on, which begin a word.
inline void load_parameters(const Word* memory, uint32_t base, uint32_t first, uint32_t count, bool wide,
                            UpdateTable table) {
#pragma HLS INLINE off
  const uint32_t per_word = wide ? WORD_PARAMETERS / 2 : WORD_PARAMETERS;
  for (uint32_t w = 0; w < ceil_div(count, per_word); w++) {
#pragma HLS PIPELINE II=1
    const Word word = memory[base + first / per_word + w];
    for (uint32_t e = 0; e < WORD_PARAMETERS; e++) {
#pragma HLS UNROLL
      const uint32_t p = w * per_word + e;
      if (e < per_word) {
        table[p % WUVE_LANES][p / WUVE_LANES] =
            wide ? float_of(word.lane[e % (WORD_PARAMETERS / 2)]) : widen(half_of(element_of(word, e)));
      }
    }
  }
}

// The inverse; what else the last word holds stays as it is.
inline void store_parameters(Word* memory, uint32_t base, uint32_t first, uint32_t count, bool wide,
                             const UpdateTable table) {
#pragma HLS INLINE off
  const uint32_t per_word = wide ? WORD_PARAMETERS / 2 : WORD_PARAMETERS, words = ceil_div(count, per_word);
  Word* const target = memory + base + first / per_word;
  const Word tail = target[words - 1];
  for (uint32_t w = 0; w < words; w++) {
#pragma HLS PIPELINE II=1
    Word word = tail;
    for (uint32_t e = 0; e < WORD_PARAMETERS; e++) {
#pragma HLS UNROLL
      const uint32_t p = w * per_word + e;
      if (e < per_word && p < count) {
        const float value = table[p % WUVE_LANES][p / WUVE_LANES];
        set_element(word, e, wide, wide ? bits_of(value) : bits_of(narrow(value)));
      }
    }
    target[w] = word;
  }
}

inline void update_block(uint32_t count, const UpdateRule& rule, UpdateTable weight, UpdateTable velocity,
                         const UpdateTable gradient) {
#pragma HLS INLINE off
  for (uint32_t at = 0; at < ceil_div(count, WUVE_LANES); at++) {
#pragma HLS PIPELINE II=1
    float w[WUVE_LANES], v[WUVE_LANES], g[WUVE_LANES];
    half copy[WUVE_LANES];  // narrowed again where it is stored
    for (uint32_t lane = 0; lane < WUVE_LANES; lane++) {
#pragma HLS UNROLL
      w[lane] = weight[lane][at];
      v[lane] = velocity[lane][at];
      g[lane] = gradient[lane][at];
    }
    wuve_lanes(w, v, g, rule, copy);
    for (uint32_t lane = 0; lane < WUVE_LANES; lane++) {
#pragma HLS UNROLL
      weight[lane][at] = w[lane];
      velocity[lane][at] = v[lane];
    }
  }
}

// `gradients`, `weights`, `velocities` and `memory` are ports to one memory.
inline void update(const UpdateInstruction& step, const Word* gradients, const Word* weights, const Word* velocities,
                   Word* memory) {
#pragma HLS INLINE off
  static UpdateTable weight, velocity, gradient;
#pragma HLS ARRAY_PARTITION variable=weight complete dim=1
#pragma HLS ARRAY_PARTITION variable=velocity complete dim=1
#pragma HLS ARRAY_PARTITION variable=gradient complete dim=1
  const UpdateRule rule = {step.decay, step.momentum, step.step, step.unscale,
                           (step.decays ? DECAYS : 0) | (step.moves ? MOVES : 0)};
  for (uint32_t first = 0; first < step.count; first += BLOCK_PARAMETERS) {
    const uint32_t count = min(BLOCK_PARAMETERS, step.count - first);
    load_parameters(gradients, step.gradient, first, count, step.wide, gradient);
    load_parameters(weights, step.weight, first, count, true, weight);
    if (step.moves) load_parameters(velocities, step.velocity, first, count, true, velocity);
    update_block(count, rule, weight, velocity, gradient);
    store_parameters(memory, step.weight, first, count, true, weight);
    if (step.moves) store_parameters(memory, step.velocity, first, count, true, velocity);
    if (step.narrows) store_parameters(memory, step.result, first, count, false, weight);
  }
}

}  // namespace sat
