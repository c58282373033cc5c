// How the array cuts a buffer tile. Every process of the array walks it in this order, outermost first:
//
//   strips   of COLS columns of j
//   passes   WS: ROWS groups of k, whose weights are held;    OS: ROWS x INTERLEAVE rows of i, whose sums are held
//   windows  WS: up to INTERLEAVE rows of i;                  OS: one group of k
//   lanes    WS: a row of i each, the same in all array rows; OS: a row of i for each array row
#pragma once
#include "types.hpp"

namespace sat {

struct Plan {
  bool ws, clear;
  uint32_t n, groups, rows_i, cols_j;
  uint32_t beats;                   // of the activation port, for one group
  uint32_t entries;                 // lanes of all windows of a strip that have the same k
  uint32_t entry_values;            // distance of their activations in a bank
  uint32_t group_values;            // distance of the groups of an entry, m
  uint32_t strips, passes, windows;

  uint32_t first_lane(uint32_t pass, uint32_t window) const { return (ws ? window : pass) * INTERLEAVE; }
  uint32_t lanes(uint32_t pass, uint32_t window) const { return min(entries - first_lane(pass, window), INTERLEAVE); }

  // Where a bank holds the group of activations of a lane.
  uint32_t activation(uint32_t pass, uint32_t window, uint32_t lane) const {
    return (first_lane(pass, window) + lane) * entry_values + (ws ? pass : window) * group_values;
  }

  // Whether an array row has no group left: WS, in the last pass.
  bool is_idle(uint32_t pass, uint32_t row) const { return ws && pass * ROWS + row >= groups; }
};

// Whether the array and its buffers can hold a tile; whoever writes the program sees to it.
inline bool fits(const Gemm& gemm) {
  const uint32_t n = gemm.n, m = gemm.m, i = gemm.rows_i, q = gemm.groups, j = gemm.cols_j;
  const uint32_t act = gemm.dataflow == 0 ? i * ceil_div(q, ROWS) * m : ceil_div(i, ROWS) * q * m;
  return i >= 1 && q >= 1 && j >= 1 && 1 <= n && n <= MAX_N && n <= m && m <= MAX_M && act <= ACT_DEPTH &&
         ceil_div(j, COLS) * q * n <= WEIGHT_DEPTH && ceil_div(j, COLS) * i <= OUT_DEPTH;
}

inline Plan plan_of(const Gemm& gemm) {
#pragma HLS INLINE off
  Plan plan;
  plan.ws = gemm.dataflow == 0;
  plan.clear = gemm.clear;
  plan.n = gemm.n;
  plan.groups = gemm.groups;
  plan.rows_i = gemm.rows_i;
  plan.cols_j = gemm.cols_j;
  plan.beats = ceil_div(gemm.m, PORT);
  plan.entries = plan.ws ? gemm.rows_i : ceil_div(gemm.rows_i, ROWS);
  plan.entry_values = (plan.ws ? ceil_div(gemm.groups, ROWS) : gemm.groups) * gemm.m;
  plan.group_values = gemm.m;
  plan.strips = ceil_div(gemm.cols_j, COLS);
  plan.passes = plan.ws ? ceil_div(gemm.groups, ROWS) : ceil_div(plan.entries, INTERLEAVE);
  plan.windows = plan.ws ? ceil_div(gemm.rows_i, INTERLEAVE) : gemm.groups;
  return plan;
}

}  // namespace sat
