// The accelerator's entry point, and the check that a program was made for this configuration of it.
#pragma once
#include "controller.hpp"

namespace sat {

enum Outcome : uint32_t { ACCEPTED = 1, NO_PROGRAM = 2, WRONG_VERSION = 3, WRONG_CONFIGURATION = 4 };

// Of the first word of a program; CONFIG_HASH is the hash of config.hpp, as in the program's header.
inline uint32_t check(const Word& header) {
#pragma HLS INLINE off
  if (header.lane[0] != PROGRAM_MAGIC) return NO_PROGRAM;
  if (header.lane[1] != PROGRAM_VERSION) return WRONG_VERSION;
  for (uint32_t l = 0; l < 8; l++) {
#pragma HLS UNROLL
    if (header.lane[4 + l] != CONFIG_HASH[l]) return WRONG_CONFIGURATION;
  }
  return ACCEPTED;
}

}  // namespace sat

// `program`: a header and instructions; `a`, `b`, `index`, `out`: ports to one memory. `report` gets the outcome (lane 0)
// and how many instructions were run (lane 1).
extern "C" void sat_kernel(const sat::Word* program, const sat::Word* a, const sat::Word* b, const sat::Word* index,
                           sat::Word* out, sat::Word* report);
