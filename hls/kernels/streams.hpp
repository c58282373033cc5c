// Streams with a depth, and dataflow regions of processes that they connect.
//
// In Vitis HLS these macros are a plain region: streams with their STREAM pragma, and calls. Under the stand-ins of
// csim/ the streams are bounded and the processes of a region run as coroutines.
#pragma once
#include <hls_stream.h>

#ifdef SAT_BOUNDED_STREAMS
#define SAT_STREAM(type, name, places) hls::stream<type> name(#name, places)
#define SAT_STREAMS(type, name, count, places) \
  hls::stream<type> name[count];               \
  hls::declare(name, #name, places)
#else
#define SAT_PRAGMA(text) _Pragma(#text)
#define SAT_STREAM(type, name, places) \
  hls::stream<type> name(#name);       \
  SAT_PRAGMA(HLS STREAM variable=name depth=places)
#define SAT_STREAMS(type, name, count, places) \
  hls::stream<type> name[count];               \
  SAT_PRAGMA(HLS STREAM variable=name depth=places)
#endif
