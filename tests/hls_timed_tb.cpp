// Runs tiles of zeros, each given by dataflow, n, m, I, Q and J on stdin, on an array whose streams keep time. Prints the
// time of the last iteration, then for each process its name and its trips, the most of all rows.
#include <cstdio>

#include "stce.hpp"

using namespace sat;

static half act[ROWS][ACT_DEPTH], weight[COLS][WEIGHT_DEPTH];
static uint8_t index_[COLS][WEIGHT_DEPTH];
static float out[COLS][OUT_DEPTH];

int main() {
  Gemm gemm = {0, 0, 0, 0, 0, 0, 1};
  while (scanf("%u %u %u %u %u %u", &gemm.dataflow, &gemm.n, &gemm.m, &gemm.rows_i, &gemm.groups, &gemm.cols_j) == 6) {
    csim::clocks().clear();
    stce(gemm, act, weight, index_, out);
    long end = 0;
    std::map<std::string, long> trips;
    for (const auto& entry : csim::clocks()) {
      const csim::Clock& clock = entry.second;
      end = std::max(end, clock.now);
      trips[clock.process] = std::max(trips[clock.process], clock.trips);
    }
    printf("%ld", end);
    for (const auto& each : trips) printf(" %s %ld", each.first.c_str(), each.second);
    printf("\n");
  }
}
