// A dataflow region is written as
//
//   #pragma HLS DATAFLOW
//     SAT_STREAM(Word, words, 2);
//     SAT_DATAFLOW_BEGIN();
//     SAT_PROCESS(produce, memory, words);
//     SAT_PROCESS(consume, words, result);
//     SAT_DATAFLOW_END();
//
// In Vitis HLS that is the calls produce(memory, words); consume(words, result); SAT_EXPECT checks in C-simulation only.
#pragma once
#include "streams.hpp"

#ifdef SAT_BOUNDED_STREAMS
#define SAT_DATAFLOW_BEGIN() csim::Region sat_region
#define SAT_PROCESS(function, ...) csim::add_process(#function, function, __VA_ARGS__)
#define SAT_DATAFLOW_END() sat_region.run()
#define SAT_EXPECT(condition, otherwise) csim::expect(condition, otherwise)
#else
#define SAT_DATAFLOW_BEGIN()
#define SAT_PROCESS(function, ...) function(__VA_ARGS__)
#define SAT_DATAFLOW_END()
#define SAT_EXPECT(condition, otherwise)
#endif
