// Executes a program packet by packet. In a packet, LOAD_A, LOAD_B, GEMM and STORE work on different buffer halves, which
// are template parameters: so the compiler sees that they do not depend on each other and lets them run at the same
// time. C-simulation runs them one after the other.
#pragma once
#include "load_a.hpp"
#include "load_b.hpp"
#include "prune.hpp"
#include "stce.hpp"
#include "store.hpp"
#include "update.hpp"
#include "vector_unit.hpp"

namespace sat {

// Two halves of each buffer. In Vitis these are arrays of their own, one for each half and bank.
typedef half ActBuffer[2][ROWS][ACT_DEPTH];
typedef half WeightBuffer[2][COLS][WEIGHT_DEPTH];
typedef uint8_t IndexBuffer[2][COLS][WEIGHT_DEPTH];
typedef float OutBuffer[2][COLS][OUT_DEPTH];

struct Packet {
  uint32_t opcode;  // of its last instruction
  bool loads_a, loads_b, multiplies, stores;
  Word load_a, load_b, gemm, store, other;
};

// Reads the packet at instruction `at`; returns the instruction after it.
inline uint32_t fetch_packet(const Word* program, uint32_t at, uint32_t count, Packet& packet) {
#pragma HLS INLINE off
  packet.loads_a = packet.loads_b = packet.multiplies = packet.stores = false;
  bool ends = false;
  while (!ends && at < count) {
    const Word word = program[1 + at++];
    packet.opcode = opcode_of(word);
    ends = ends_packet(word);
    switch (packet.opcode) {
      case OPCODE_LOAD_A: packet.loads_a = true, packet.load_a = word; break;
      case OPCODE_LOAD_B: packet.loads_b = true, packet.load_b = word; break;
      case OPCODE_GEMM: packet.multiplies = true, packet.gemm = word; break;
      case OPCODE_STORE: packet.stores = true, packet.store = word; break;
      default: packet.other = word;
    }
  }
  return at;
}

// What a packet may do at the same time. Whether it does is decided inside: calls under conditions of their own would
// be scheduled one after the other.
inline void step_load_a(const Packet& packet, const Word* memory, half act[ROWS][ACT_DEPTH]) {
#pragma HLS INLINE off
  if (packet.loads_a) load_a(LoadAInstruction(packet.load_a), memory, act);
}

inline void step_load_b(const Packet& packet, const Word* memory, const Word* index_memory,
                        half weight[COLS][WEIGHT_DEPTH], uint8_t index[COLS][WEIGHT_DEPTH]) {
#pragma HLS INLINE off
  if (packet.loads_b) load_b(LoadBInstruction(packet.load_b), memory, index_memory, weight, index);
}

inline void step_gemm(const Packet& packet, const half act[ROWS][ACT_DEPTH], const half weight[COLS][WEIGHT_DEPTH],
                      const uint8_t index[COLS][WEIGHT_DEPTH], float out[COLS][OUT_DEPTH]) {
#pragma HLS INLINE off
  if (!packet.multiplies) return;
  const GemmInstruction gemm(packet.gemm);
  stce({gemm.dataflow, gemm.n, gemm.m, gemm.rows, gemm.groups, gemm.columns, gemm.clear}, act, weight, index, out);
}

inline void step_store(const Packet& packet, const float out[COLS][OUT_DEPTH], Word* memory) {
#pragma HLS INLINE off
  if (packet.stores) store_sums(StoreInstruction(packet.store), out, memory);
}

// One packet of a GEMM that reads halves A and B and writes half OUT: the others work on the halves beside. `a`, `b`,
// `index_port` and `memory` are ports to one memory.
template <int A, int B, int OUT>
void overlap(const Packet& packet, const Word* a, const Word* b, const Word* index_port, Word* memory, ActBuffer act,
             WeightBuffer weight, IndexBuffer index, OutBuffer out) {
#pragma HLS INLINE
  step_load_a(packet, a, act[1 - A]);
  step_load_b(packet, b, index_port, weight[1 - B], index[1 - B]);
  step_gemm(packet, act[A], weight[B], index[B], out[OUT]);
  step_store(packet, out[1 - OUT], memory);
}

inline void run_tiles(const Packet& packet, const Word* a, const Word* b, const Word* index_port, Word* memory,
                      ActBuffer act, WeightBuffer weight, IndexBuffer index, OutBuffer out) {
#pragma HLS INLINE off
#pragma HLS ALLOCATION function instances=step_gemm limit=1
#pragma HLS ALLOCATION function instances=step_load_a limit=1
#pragma HLS ALLOCATION function instances=step_load_b limit=1
#pragma HLS ALLOCATION function instances=step_store limit=1
  const GemmInstruction gemm(packet.gemm);
  const bool gemms = packet.multiplies;
  const uint32_t half_a = gemms ? gemm.half_a : 1 - LoadAInstruction(packet.load_a).half;
  const uint32_t half_b = gemms ? gemm.half_b : 1 - LoadBInstruction(packet.load_b).half;
  const uint32_t half_out = gemms ? gemm.half_out : 1 - StoreInstruction(packet.store).half;
  switch (half_a << 2 | half_b << 1 | half_out) {
    case 0: overlap<0, 0, 0>(packet, a, b, index_port, memory, act, weight, index, out); break;
    case 1: overlap<0, 0, 1>(packet, a, b, index_port, memory, act, weight, index, out); break;
    case 2: overlap<0, 1, 0>(packet, a, b, index_port, memory, act, weight, index, out); break;
    case 3: overlap<0, 1, 1>(packet, a, b, index_port, memory, act, weight, index, out); break;
    case 4: overlap<1, 0, 0>(packet, a, b, index_port, memory, act, weight, index, out); break;
    case 5: overlap<1, 0, 1>(packet, a, b, index_port, memory, act, weight, index, out); break;
    case 6: overlap<1, 1, 0>(packet, a, b, index_port, memory, act, weight, index, out); break;
    default: overlap<1, 1, 1>(packet, a, b, index_port, memory, act, weight, index, out);
  }
}

// Runs `count` instructions, or until HALT; returns how many were run.
inline uint32_t run_program(const Word* program, uint32_t count, const Word* a, const Word* b, const Word* index_port,
                            Word* memory, ActBuffer act, WeightBuffer weight, IndexBuffer index, OutBuffer out) {
#pragma HLS INLINE
  Packet packet = {};
  uint32_t at = 0;
  while (at < count) {
    at = fetch_packet(program, at, count, packet);
    switch (packet.opcode) {
      case OPCODE_HALT: return at;
      case OPCODE_UPDATE: update(UpdateInstruction(packet.other), a, b, index_port, memory); break;
      case OPCODE_PRUNE: prune_weight(PruneInstruction(packet.other), a, memory); break;
      case OPCODE_VECTOR: vector_unit(VectorInstruction(packet.other), a, b, memory); break;
      default: run_tiles(packet, a, b, index_port, memory, act, weight, index, out);
    }
  }
  return at;
}

}  // namespace sat
