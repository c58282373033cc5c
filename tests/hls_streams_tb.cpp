// Regions of test_hls_streams.py: the first argument names one, the second is the depth of its streams.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "dataflow.hpp"

static int depth;

static void count(int first, int values, hls::stream<int>& to) {
  for (int i = 0; i < values; i++) to.write(first + i);
}

static void add(int step, int values, hls::stream<int>& from, hls::stream<int>& to) {
  for (int i = 0; i < values; i++) to.write(from.read() + step);
}

static void both(int values, hls::stream<int>& from, hls::stream<int>& to, hls::stream<int>& other) {
  for (int i = 0; i < values; i++) {
    const int value = from.read();
    to.write(value);
    other.write(value);
  }
}

static void sum(int values, hls::stream<int>& from, int& result) {
  for (int i = 0; i < values; i++) result += from.read();
}

// 0 + ... + 99, each passed on twice, with 1 added each time
static void chain() {
  int result = 0;
#pragma HLS DATAFLOW
  SAT_STREAMS(int, links, 3, depth);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(sum, 100, links[2], result);  // in any order
  for (int i = 0; i < 2; i++) SAT_PROCESS(add, 1, 100, links[i], links[i + 1]);
  SAT_PROCESS(count, 0, 100, links[0]);
  SAT_DATAFLOW_END();
  printf("%d\n", result);
}

static void add_within(int values, hls::stream<int>& from, hls::stream<int>& to) {
  SAT_STREAM(int, inner, depth);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(add, 10, values, from, inner);
  SAT_PROCESS(add, 10, values, inner, to);
  SAT_DATAFLOW_END();
}

// a process that is a region itself, whose processes use streams of the outer region
static void nested() {
  int result = 0;
  SAT_STREAM(int, outer, depth);
  SAT_STREAM(int, tens, depth);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(count, 0, 100, outer);
  SAT_PROCESS(add_within, 100, outer, tens);
  SAT_PROCESS(sum, 100, tens, result);
  SAT_DATAFLOW_END();
  printf("%d\n", result);
}

static void sum_in_turn(int values, hls::stream<int>& first, hls::stream<int>& second, int& result) {
  sum(values, first, result);
  sum(values, second, result);
}

// all of one stream is read before the other: right if a stream holds what the other one's reader leaves
static void reconvergence() {
  int result = 0;
  SAT_STREAM(int, numbers, 1);
  SAT_STREAM(int, short_way, depth);
  SAT_STREAM(int, long_way, depth);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(count, 0, 8, numbers);
  SAT_PROCESS(both, 8, numbers, short_way, long_way);
  SAT_PROCESS(sum_in_turn, 8, short_way, long_way, result);
  SAT_DATAFLOW_END();
  printf("%d\n", result);
}

static void too_few() {
  int result = 0;
  SAT_STREAM(int, numbers, depth);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(count, 0, 5, numbers);
  SAT_PROCESS(sum, 6, numbers, result);
  SAT_DATAFLOW_END();
}

static void too_many() {
  int result = 0;
  SAT_STREAM(int, numbers, depth);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(count, 0, 6, numbers);
  SAT_PROCESS(sum, 5, numbers, result);
  SAT_DATAFLOW_END();
}

static void two_readers() {
  int one = 0, other = 0;
  SAT_STREAM(int, numbers, depth);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(sum, 3, numbers, one);
  SAT_PROCESS(sum, 3, numbers, other);
  SAT_PROCESS(count, 0, 6, numbers);
  SAT_DATAFLOW_END();
}

static void outside() {
  SAT_STREAM(int, numbers, depth);
  count(0, depth, numbers);
  numbers.write(0);
}

static void expectation() { SAT_EXPECT(depth > 1, "depth of one"); }

int main(int argc, char** argv) {
  const std::map<std::string, void (*)()> regions = {
      {"chain", chain},       {"nested", nested},     {"reconvergence", reconvergence}, {"too few", too_few},
      {"too many", too_many}, {"outside", outside},   {"expectation", expectation},     {"two readers", two_readers},
  };
  if (argc != 3) return 2;
  depth = atoi(argv[2]);
  for (int round = 0; round < 3; round++) regions.at(argv[1])();
}
