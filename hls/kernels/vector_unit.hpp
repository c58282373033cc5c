// The vector unit: everything between the products. hls/program/vector_operations.py says what the fields of an
// instruction mean for each operation.
#pragma once
#include "vector_loss.hpp"
#include "vector_norm.hpp"
#include "vector_pool.hpp"

namespace sat {

// `left`, `right` and `memory` are ports of the same memory; only the last one writes.
inline void vector_unit(const VectorInstruction& v, const Word* left, const Word* right, Word* memory) {
#pragma HLS INLINE off
  switch (v.op) {
    case MAX_POOL:
    case MAX_POOL_BACKWARD:
    case AVG_POOL:
    case AVG_POOL_BACKWARD: pool_operation(v, left, right, memory); break;
    case CROSS_ENTROPY: loss_operation(v, left, right, memory); break;
    default: row_operation(v, left, right, memory);
  }
}

}  // namespace sat
