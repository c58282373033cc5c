// WUVE, the weight-update vector engine: SGD with momentum and weight decay on FP32 masters. Operations and their order
// are those of codesign.compute.optimizers; each is rounded by itself. (AMD's floating-point operators take subnormal
// FP32 numbers, below 1.2e-38, for zero; C-simulation does not.)
#pragma once
#include "types.hpp"

namespace sat {

constexpr uint32_t DECAYS = 1, MOVES = 2;  // flags: weight decay, momentum

struct UpdateRule {
  float decay, momentum, step;  // step is the negative learning rate
  float unscale;                // 1 / loss scale
  uint32_t flags;
};

// Updates a weight and its velocity by a gradient; returns the FP16 copy of the weight.
inline half wuve_lane(float& weight, float& velocity, float gradient, float decay, float momentum, float step,
                      uint32_t flags) {
#pragma HLS INLINE
  float g = gradient;
  if (flags & DECAYS) g = g + decay * weight;
  if (flags & MOVES) g = velocity = momentum * velocity + g;
  weight = weight + step * g;
  return narrow(weight);
}

// One parameter in each lane. Callers stream vectors at one a cycle.
inline void wuve_lanes(float weight[WUVE_LANES], float velocity[WUVE_LANES], const float gradient[WUVE_LANES],
                       const UpdateRule& rule, half copy[WUVE_LANES]) {
#pragma HLS INLINE off
#pragma HLS PIPELINE II=1
#pragma HLS ARRAY_PARTITION variable=weight complete
#pragma HLS ARRAY_PARTITION variable=velocity complete
#pragma HLS ARRAY_PARTITION variable=gradient complete
#pragma HLS ARRAY_PARTITION variable=copy complete
  for (uint32_t lane = 0; lane < WUVE_LANES; lane++) {
#pragma HLS UNROLL
    const float g = gradient[lane] * rule.unscale;
    copy[lane] = wuve_lane(weight[lane], velocity[lane], g, rule.decay, rule.momentum, rule.step, rule.flags);
  }
}

}  // namespace sat
