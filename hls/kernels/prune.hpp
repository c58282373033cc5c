// PRUNE: gathers the groups of a dense weight, lets SORE keep the largest, and writes the two streams of the N:M format.
#pragma once
#include "load_b.hpp"
#include "memory.hpp"
#include "sore.hpp"

namespace sat {

struct KeptGroup {
  half value[MAX_N];
  uint8_t index[MAX_N];
};

inline uint32_t groups_of(const PruneInstruction& prune) { return prune.outer * prune.inner * prune.groups; }

inline void gather_groups(const PruneInstruction& prune, const Word* memory, hls::stream<Group>& groups) {
#pragma HLS INLINE off
  uint32_t v1 = 0, v0 = 0, g = 0;
  for (uint32_t at = 0; at < groups_of(prune); at++) {
    Group group = {};
    const uint32_t first = v1 * prune.outer_stride + v0 * prune.inner_stride + g * prune.m * prune.member_stride;
    for (uint32_t t = 0; t < prune.m; t++) {
#pragma HLS PIPELINE II=1
      const uint32_t e = first + t * prune.member_stride;
      const Word word = memory[prune.source + e / (WORD_BITS / 16)];
      group.value[t] = half_of(element_of(word, e % (WORD_BITS / 16)));
    }
    groups.write(group);
    if (wraps(g, prune.groups) && wraps(v0, prune.inner)) v1++;
  }
}

inline void keep_largest(const PruneInstruction& prune, hls::stream<Group>& groups, hls::stream<KeptGroup>& kept) {
#pragma HLS INLINE off
  half group[SORE_LANES][MAX_M] = {};
  half value[SORE_LANES][MAX_N] = {};
  uint8_t index[SORE_LANES][MAX_N] = {};
#pragma HLS ARRAY_PARTITION variable=group complete dim=1
#pragma HLS ARRAY_PARTITION variable=value complete dim=0
#pragma HLS ARRAY_PARTITION variable=index complete dim=0
  for (uint32_t at = 0; at < groups_of(prune); at += SORE_LANES) {
    const uint32_t lanes = min(SORE_LANES, groups_of(prune) - at);
    for (uint32_t lane = 0; lane < lanes; lane++) {
#pragma HLS PIPELINE
      const Group next = groups.read();
      for (uint32_t t = 0; t < MAX_M; t++) group[lane][t] = next.value[t];
    }
    sore_lanes(group, prune.n, prune.m, value, index);
    for (uint32_t lane = 0; lane < lanes; lane++) {
#pragma HLS PIPELINE II=1
      KeptGroup of_lane;
      for (uint32_t s = 0; s < MAX_N; s++) {
#pragma HLS UNROLL
        of_lane.value[s] = value[lane][s];
        of_lane.index[s] = index[lane][s];
      }
      kept.write(of_lane);
    }
  }
}

// Puts numbers of up to 16 bits side by side into words; the last word is filled up with zeros.
struct BitPacker {
  Word word;
  uint32_t address, lane, held_bits;
  uint64_t held;

  explicit BitPacker(uint32_t address) : word(), address(address), lane(0), held_bits(0), held(0) {}

  void put(Word* memory, uint32_t value, uint32_t bits) {
#pragma HLS INLINE
    held |= uint64_t(value) << held_bits;
    held_bits += bits;
    if (held_bits >= 32) put_lane(memory);
  }
  void end(Word* memory) {
    if (held_bits > 0) {
      held_bits += 32;
      put_lane(memory);
    }
    if (lane > 0) memory[address] = word;
  }

 private:
  void put_lane(Word* memory) {
#pragma HLS INLINE
    if (lane == 0) word = Word();
    word.lane[lane] = uint32_t(held);
    held >>= 32;
    held_bits -= 32;
    if (wraps(lane, WORD_BITS / 32)) memory[address++] = word;
  }
};

inline void write_streams(const PruneInstruction& prune, hls::stream<KeptGroup>& kept, Word* memory) {
#pragma HLS INLINE off
  const uint32_t bits = index_bits(prune.m);
  BitPacker values(prune.values), indices(prune.indices);
  for (uint32_t at = 0; at < groups_of(prune); at++) {
    const KeptGroup group = kept.read();
    for (uint32_t s = 0; s < prune.n; s++) {
#pragma HLS PIPELINE II=1
      values.put(memory, bits_of(group.value[s]), 16);
      indices.put(memory, group.index[s], bits);
    }
  }
  values.end(memory);
  indices.end(memory);
}

inline void prune_weight(const PruneInstruction& prune, const Word* source, Word* memory) {
#pragma HLS INLINE off
#pragma HLS DATAFLOW
  SAT_STREAM(Group, groups_to_sort, 2);
  SAT_STREAM(KeptGroup, kept_groups, 2);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(gather_groups, prune, source, groups_to_sort);
  SAT_PROCESS(keep_largest, prune, groups_to_sort, kept_groups);
  SAT_PROCESS(write_streams, prune, kept_groups, memory);
  SAT_DATAFLOW_END();
}

}  // namespace sat
