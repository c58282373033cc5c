// The accelerator as a Vitis kernel. All ports lead to one memory, which the host fills; `program` lies there too.
#include "sat.hpp"

using namespace sat;

extern "C" void sat_kernel(const Word* program, const Word* a, const Word* b, const Word* index, Word* out,
                           Word* report) {
#pragma HLS INTERFACE mode=m_axi port=program bundle=program offset=slave
#pragma HLS INTERFACE mode=m_axi port=report bundle=program offset=slave
#pragma HLS INTERFACE mode=m_axi port=a bundle=a offset=slave max_read_burst_length=64 num_read_outstanding=32
#pragma HLS INTERFACE mode=m_axi port=b bundle=b offset=slave max_read_burst_length=64 num_read_outstanding=32
#pragma HLS INTERFACE mode=m_axi port=index bundle=index offset=slave max_read_burst_length=64 num_read_outstanding=32
#pragma HLS INTERFACE mode=m_axi port=out bundle=out offset=slave max_write_burst_length=64 num_write_outstanding=32
#pragma HLS INTERFACE mode=s_axilite port=return
  static ActBuffer act;
  static WeightBuffer weight;
  static IndexBuffer kept_index;
  static OutBuffer sums;
#pragma HLS ARRAY_PARTITION variable=act complete dim=1
#pragma HLS ARRAY_PARTITION variable=act complete dim=2
#pragma HLS ARRAY_RESHAPE variable=act cyclic factor=PORT dim=3
#pragma HLS ARRAY_PARTITION variable=weight complete dim=1
#pragma HLS ARRAY_PARTITION variable=weight complete dim=2
#pragma HLS ARRAY_PARTITION variable=kept_index complete dim=1
#pragma HLS ARRAY_PARTITION variable=kept_index complete dim=2
#pragma HLS ARRAY_PARTITION variable=sums complete dim=1
#pragma HLS ARRAY_PARTITION variable=sums complete dim=2
#pragma HLS BIND_STORAGE variable=act type=ram_s2p impl=uram
#pragma HLS BIND_STORAGE variable=weight type=ram_s2p impl=uram
#pragma HLS BIND_STORAGE variable=sums type=ram_s2p impl=uram
  const Word header = program[0];
  Word result = {};
  result.lane[0] = check(header);
  if (result.lane[0] == ACCEPTED) {
    result.lane[1] = run_program(program, header.lane[2], a, b, index, out, act, weight, kept_index, sums);
  }
  report[0] = result;
}
