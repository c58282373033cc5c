// STCE, the array: ROWS x COLS USPEs, weight- or output-stationary by a run-time switch. It computes one buffer tile in
// the order of codesign.compute.order, bit for bit. On chip, q counts groups along k, t activations, s kept weights:
//
//   act     WS  [q % ROWS][(i * ceil(Q / ROWS) + q / ROWS) * m + t]      OS  [i % ROWS][((i / ROWS) * Q + q) * m + t]
//   weight      [j % COLS][((j / COLS) * Q + q) * n + s]                 index alike, within the group
//   out         [j % COLS][(j / COLS) * I + i]
//
// Nothing beyond i, q or j is used or written; the last group of k is padded with zeros.
#pragma once
#include "dataflow.hpp"
#include "uspe.hpp"

namespace sat {

// A LUT's shift register has 16 places, whether they are used or not. A row's next weights wait in a stream.
constexpr uint32_t FIFO_DEPTH = max(max(16, MAX_N), 2 * INTERLEAVE);
constexpr uint32_t OUT_LATENCY = ACCUMULATOR_LATENCY + 4;  // of read, addition and write of an output bank

inline void feed_weights(Plan plan, const half weight[COLS][WEIGHT_DEPTH],
                         const uint8_t index[COLS][WEIGHT_DEPTH], hls::stream<Weights>& below) {
#pragma HLS INLINE off
  const uint32_t groups = plan.ws ? ROWS : plan.windows;
  uint32_t kept = 0, group = 0, pass = 0;
  for (uint32_t strip = 0; strip < plan.strips;) {
#pragma HLS PIPELINE II=1
    const uint32_t q = plan.ws ? pass * ROWS + group : group;
    const uint32_t place = (strip * plan.groups + q) * plan.n + kept;
    Weights weights = {};
    if (q < plan.groups) {
      for (uint32_t c = 0; c < COLS; c++) {
#pragma HLS UNROLL
        weights.value[c] = weight[c][place];
        weights.index[c] = index[c][place];
      }
    }
    below.write(weights);
    if (wraps(kept, plan.n) && wraps(group, groups) && wraps(pass, plan.passes)) strip++;
  }
}

// WS: partial sums enter the top row as +0.
inline void feed_zeros(Plan plan, hls::stream<Sums>& below) {
#pragma HLS INLINE off
  uint32_t entry = 0, pass = 0;
  for (uint32_t strip = plan.ws ? 0 : plan.strips; strip < plan.strips;) {
#pragma HLS PIPELINE II=1
    below.write(Sums());
    if (wraps(entry, plan.entries) && wraps(pass, plan.passes)) strip++;
  }
}

// Runs leave the bottom row, in WS by rows of i, in OS by lanes of the bottom row, then of those above it. They are
// added to the output buffer, which in WS meets the same output again in the next pass.
inline void collect(Plan plan, hls::stream<Sums>& flowed, hls::stream<Sums>& drained,
                    float out[COLS][OUT_DEPTH]) {
#pragma HLS INLINE off
  const uint32_t sources = plan.ws ? 1 : ROWS;
  uint32_t lane = 0, source = 0, pass = 0;
  for (uint32_t strip = 0; strip < plan.strips;) {
#pragma HLS PIPELINE II=1
// WS: an output comes round after `pace` iterations, when it has been written; OS: never
#pragma HLS DEPENDENCE variable=out type=inter dependent=false
    const uint32_t lanes = plan.ws ? plan.entries : plan.lanes(pass, 0);
    const uint32_t pace = plan.ws ? max(lanes, OUT_LATENCY) : lanes;
    if (lane < lanes) {
      const Sums run = plan.ws ? flowed.read() : drained.read();
      const uint32_t i = plan.ws ? lane : (pass * INTERLEAVE + lane) * ROWS + (ROWS - 1 - source);
      const bool starts = plan.clear && (pass == 0 || !plan.ws);
      for (uint32_t c = 0; c < COLS; c++) {
#pragma HLS UNROLL
        if (i < plan.rows_i && strip * COLS + c < plan.cols_j) {
          float& total = out[c][strip * plan.rows_i + i];
          total = (starts ? 0.0f : total) + run.value[c];
        }
      }
    }
    if (wraps(lane, pace) && wraps(source, sources) && wraps(pass, plan.passes)) strip++;
  }
}

// All rows, each with its own activation bank.
inline void rows(Plan plan, const half act[ROWS][ACT_DEPTH], hls::stream<Weights> weights[ROWS + 1],
                 hls::stream<Sums> flowing[ROWS + 1], hls::stream<Sums> draining[ROWS + 1],
                 hls::stream<Group> activations[ROWS], hls::stream<Weights> own[ROWS], hls::stream<Sums> done[ROWS]) {
#pragma HLS INLINE
  for (uint32_t r = 0; r < ROWS; r++) {
#pragma HLS UNROLL
    SAT_PROCESS(row_edge, plan, r, act[r], activations[r]);
    SAT_PROCESS(row_weights, plan, r, weights[r], weights[r + 1], own[r]);
    SAT_PROCESS(row_macs, plan, activations[r], own[r], flowing[r], flowing[r + 1], done[r]);
    SAT_PROCESS(row_drain, plan, r, done[r], draining[r], draining[r + 1]);
  }
}

inline void array(Plan plan, const half act[ROWS][ACT_DEPTH], const half weight[COLS][WEIGHT_DEPTH],
                  const uint8_t index[COLS][WEIGHT_DEPTH], float out[COLS][OUT_DEPTH]) {
#pragma HLS INLINE off
#pragma HLS DATAFLOW
#pragma HLS STABLE variable=plan
  SAT_STREAMS(Weights, weights, ROWS + 1, FIFO_DEPTH);
  SAT_STREAMS(Sums, flowing, ROWS + 1, FIFO_DEPTH);
  SAT_STREAMS(Sums, draining, ROWS + 1, FIFO_DEPTH);
  SAT_STREAMS(Group, activations, ROWS, FIFO_DEPTH);
  SAT_STREAMS(Weights, own, ROWS, FIFO_DEPTH);
  SAT_STREAMS(Sums, done, ROWS, FIFO_DEPTH);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(feed_weights, plan, weight, index, weights[0]);
  SAT_PROCESS(feed_zeros, plan, flowing[0]);
  rows(plan, act, weights, flowing, draining, activations, own, done);
  SAT_PROCESS(collect, plan, flowing[ROWS], draining[ROWS], out);
  SAT_DATAFLOW_END();
}

inline void stce(const Gemm& gemm, const half act[ROWS][ACT_DEPTH], const half weight[COLS][WEIGHT_DEPTH],
                 const uint8_t index[COLS][WEIGHT_DEPTH], float out[COLS][OUT_DEPTH]) {
#pragma HLS INLINE off
#pragma HLS ARRAY_PARTITION variable=act complete dim=1
#pragma HLS ARRAY_RESHAPE variable=act cyclic factor=PORT dim=2
#pragma HLS ARRAY_PARTITION variable=weight complete dim=1
#pragma HLS ARRAY_PARTITION variable=index complete dim=1
#pragma HLS ARRAY_PARTITION variable=out complete dim=1
  SAT_EXPECT(fits(gemm), "GEMM that does not fit the array or its buffers");
  const Plan plan = plan_of(gemm);
  array(plan, act, weight, index, out);
}

}  // namespace sat
