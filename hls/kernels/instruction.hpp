// Generated from hls/program/instruction.py, which says what the fields mean, by hls/program/header.py.
#pragma once
#include "types.hpp"

namespace sat {

struct Word {  // of memory, AXI_BYTES long
  uint32_t lane[16];
};

static_assert(sizeof(Word) == AXI_BYTES, "a word is a beat of the bus");

constexpr uint32_t PROGRAM_MAGIC = 0x50544153, PROGRAM_VERSION = 1;
constexpr uint32_t MAX_STRIPS = 64;  // of COLS columns in a tile

enum Opcode : uint32_t {
  OPCODE_HALT = 0,
  OPCODE_LOAD_A = 1,
  OPCODE_LOAD_B = 2,
  OPCODE_GEMM = 3,
  OPCODE_STORE = 4,
  OPCODE_UPDATE = 5,
  OPCODE_PRUNE = 6,
  OPCODE_VECTOR = 7,
};

inline uint32_t opcode_of(const Word& word) { return word.lane[0] & 0xFF; }
inline bool ends_packet(const Word& word) { return word.lane[0] >> 8 & 1; }

struct LoadAInstruction {
  uint32_t half;
  uint32_t transposed;
  uint32_t dataflow;
  uint32_t base;
  uint32_t stored_channels;
  uint32_t height;
  uint32_t width;
  uint32_t grid_h;
  uint32_t grid_w;
  uint32_t taps_h;
  uint32_t taps_w;
  int32_t step_y;
  int32_t step_x;
  int32_t origin_y;
  int32_t origin_x;
  uint32_t stride_y;
  uint32_t stride_x;
  uint32_t pixel_first;
  uint32_t pixels;
  uint32_t channel_first;
  uint32_t channels;
  uint32_t m;

  explicit LoadAInstruction(const Word& word)
      : half(word.lane[0] >> 9 & 0x1)
      , transposed(word.lane[0] >> 10 & 0x1)
      , dataflow(word.lane[0] >> 11 & 0x1)
      , base(word.lane[1])
      , stored_channels(word.lane[2])
      , height(word.lane[3] >> 0 & 0xffff)
      , width(word.lane[3] >> 16 & 0xffff)
      , grid_h(word.lane[4] >> 0 & 0xffff)
      , grid_w(word.lane[4] >> 16 & 0xffff)
      , taps_h(word.lane[5] >> 0 & 0xffff)
      , taps_w(word.lane[5] >> 16 & 0xffff)
      , step_y(int16_t(word.lane[6] >> 0))
      , step_x(int16_t(word.lane[6] >> 16))
      , origin_y(int16_t(word.lane[7] >> 0))
      , origin_x(int16_t(word.lane[7] >> 16))
      , stride_y(word.lane[8] >> 0 & 0xffff)
      , stride_x(word.lane[8] >> 16 & 0xffff)
      , pixel_first(word.lane[9])
      , pixels(word.lane[10])
      , channel_first(word.lane[11])
      , channels(word.lane[12])
      , m(word.lane[13]) {}
};

struct LoadBInstruction {
  uint32_t half;
  uint32_t values;
  uint32_t indices;
  uint32_t offset;
  uint32_t n;
  uint32_t m;
  uint32_t count0;
  uint32_t stride0;
  uint32_t count1;
  uint32_t stride1;
  uint32_t count2;
  uint32_t stride2;
  uint32_t columns;
  uint32_t column_stride;

  explicit LoadBInstruction(const Word& word)
      : half(word.lane[0] >> 9 & 0x1)
      , values(word.lane[1])
      , indices(word.lane[2])
      , offset(word.lane[3])
      , n(word.lane[4] >> 0 & 0xffff)
      , m(word.lane[4] >> 16 & 0xffff)
      , count0(word.lane[5])
      , stride0(word.lane[6])
      , count1(word.lane[7])
      , stride1(word.lane[8])
      , count2(word.lane[9])
      , stride2(word.lane[10])
      , columns(word.lane[11])
      , column_stride(word.lane[12]) {}
};

struct GemmInstruction {
  uint32_t half_a;
  uint32_t half_b;
  uint32_t half_out;
  uint32_t dataflow;
  uint32_t clear;
  uint32_t n;
  uint32_t m;
  uint32_t rows;
  uint32_t groups;
  uint32_t columns;

  explicit GemmInstruction(const Word& word)
      : half_a(word.lane[0] >> 9 & 0x1)
      , half_b(word.lane[0] >> 10 & 0x1)
      , half_out(word.lane[0] >> 11 & 0x1)
      , dataflow(word.lane[0] >> 12 & 0x1)
      , clear(word.lane[0] >> 13 & 0x1)
      , n(word.lane[1] >> 0 & 0xffff)
      , m(word.lane[1] >> 16 & 0xffff)
      , rows(word.lane[2])
      , groups(word.lane[3])
      , columns(word.lane[4]) {}
};

struct StoreInstruction {
  uint32_t half;
  uint32_t wide;
  uint32_t biased;
  uint32_t zero;
  uint32_t base;
  uint32_t offset;
  uint32_t bias;
  uint32_t bias_first;
  uint32_t row_first;
  uint32_t rows;
  uint32_t count0;
  uint32_t stride0;
  uint32_t count1;
  uint32_t stride1;
  uint32_t stride2;
  uint32_t columns;
  uint32_t column_stride;

  explicit StoreInstruction(const Word& word)
      : half(word.lane[0] >> 9 & 0x1)
      , wide(word.lane[0] >> 10 & 0x1)
      , biased(word.lane[0] >> 11 & 0x1)
      , zero(word.lane[0] >> 12 & 0x1)
      , base(word.lane[1])
      , offset(word.lane[2])
      , bias(word.lane[3])
      , bias_first(word.lane[4])
      , row_first(word.lane[5])
      , rows(word.lane[6])
      , count0(word.lane[7])
      , stride0(word.lane[8])
      , count1(word.lane[9])
      , stride1(word.lane[10])
      , stride2(word.lane[11])
      , columns(word.lane[12])
      , column_stride(word.lane[13]) {}
};

struct UpdateInstruction {
  uint32_t decays;
  uint32_t moves;
  uint32_t wide;
  uint32_t narrows;
  uint32_t weight;
  uint32_t velocity;
  uint32_t gradient;
  uint32_t result;
  uint32_t count;
  float unscale;
  float decay;
  float momentum;
  float step;

  explicit UpdateInstruction(const Word& word)
      : decays(word.lane[0] >> 9 & 0x1)
      , moves(word.lane[0] >> 10 & 0x1)
      , wide(word.lane[0] >> 11 & 0x1)
      , narrows(word.lane[0] >> 12 & 0x1)
      , weight(word.lane[1])
      , velocity(word.lane[2])
      , gradient(word.lane[3])
      , result(word.lane[4])
      , count(word.lane[5])
      , unscale(float_of(word.lane[6]))
      , decay(float_of(word.lane[7]))
      , momentum(float_of(word.lane[8]))
      , step(float_of(word.lane[9])) {}
};

struct PruneInstruction {
  uint32_t source;
  uint32_t values;
  uint32_t indices;
  uint32_t n;
  uint32_t m;
  uint32_t outer;
  uint32_t outer_stride;
  uint32_t inner;
  uint32_t inner_stride;
  uint32_t groups;
  uint32_t member_stride;

  explicit PruneInstruction(const Word& word)
      : source(word.lane[1])
      , values(word.lane[2])
      , indices(word.lane[3])
      , n(word.lane[4] >> 0 & 0xffff)
      , m(word.lane[4] >> 16 & 0xffff)
      , outer(word.lane[5])
      , outer_stride(word.lane[6])
      , inner(word.lane[7])
      , inner_stride(word.lane[8])
      , groups(word.lane[9])
      , member_stride(word.lane[10]) {}
};

struct VectorInstruction {
  uint32_t op;
  uint32_t x;
  uint32_t y;
  uint32_t z;
  uint32_t out;
  uint32_t out2;
  uint32_t rows;
  uint32_t channels;
  uint32_t p0;
  uint32_t p1;
  uint32_t p2;
  uint32_t p3;
  uint32_t p4;
  uint32_t p5;
  uint32_t p6;

  explicit VectorInstruction(const Word& word)
      : op(word.lane[1])
      , x(word.lane[2])
      , y(word.lane[3])
      , z(word.lane[4])
      , out(word.lane[5])
      , out2(word.lane[6])
      , rows(word.lane[7])
      , channels(word.lane[8])
      , p0(word.lane[9])
      , p1(word.lane[10])
      , p2(word.lane[11])
      , p3(word.lane[12])
      , p4(word.lane[13])
      , p5(word.lane[14])
      , p6(word.lane[15]) {}
};

}  // namespace sat
