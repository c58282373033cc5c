// USPE, the unified sparse processing element, and the processes of one row of them: its left edge, its weights, its
// multiply-accumulates and the drain of its sums.
//
// A row works through the windows of a plan. Each lane of a window is an output with the group of m activations that
// it needs next. A window is n rounds of its lanes, one MAC of every PE a cycle; round s adds the products of kept
// weight s. So a sum is needed again after as many cycles as there are lanes, and the pace is never faster than adding.
#pragma once
#include "plan.hpp"
#include "streams.hpp"
#include "types.hpp"

namespace sat {

// One MAC: the index of the kept weight picks its activation. Nothing is fused, nothing rounded to FP16.
inline void uspe(float& sum, half weight, uint8_t index, const Group& group) {
#pragma HLS INLINE
  const float next = sum + product(weight, group.value[index % MAX_M]);
  // the accumulator's latency is that of the adder and of the sum's register
#pragma HLS BIND_OP variable=next op=fadd impl=fulldsp latency=ACCUMULATOR_LATENCY-1
  sum = next;
}

// The left edge: the port fills one half of the window buffer, PORT values a cycle, while the other half is played.
inline void row_edge(Plan plan, uint32_t row, const half bank[ACT_DEPTH], hls::stream<Group>& activations) {
#pragma HLS INLINE off
  half buffer[2][INTERLEAVE][MAX_M];
#pragma HLS ARRAY_PARTITION variable=buffer complete dim=1
#pragma HLS ARRAY_PARTITION variable=buffer complete dim=3
  uint32_t beat = 0, lane = 0, window = 0, pass = 0, strip = 0;  // what is fetched
  uint32_t slot = 0, round = 0, slots = 0;                       // what is played
  bool played = false, fetching = true, playing = false;
  while (fetching || playing) {
#pragma HLS PIPELINE II=1
    const uint32_t lanes = plan.lanes(pass, window);
    if (fetching) {
      // a beat may begin with other groups if they are small; where they end up in the buffer no index points to
      const uint32_t first = plan.activation(pass, window, lane) + beat * PORT, offset = first % PORT;
      for (uint32_t p = 0; p < PORT; p++) {
#pragma HLS UNROLL
        const half value = plan.is_idle(pass, row) ? half_of(uint16_t(0)) : bank[first - offset + p];
        const uint32_t t = beat * PORT + (p + PORT - offset) % PORT;
        if (t < MAX_M) buffer[!played][lane][t] = value;
      }
      fetching = !(wraps(beat, plan.beats) && wraps(lane, lanes));
    }
    if (playing) {
      Group group;
      for (uint32_t t = 0; t < MAX_M; t++) {
#pragma HLS UNROLL
        group.value[t] = buffer[played][slot][t];
      }
      activations.write(group);
      playing = !(wraps(slot, slots) && wraps(round, plan.n));
    }
    if (!fetching && !playing && strip < plan.strips) {
      played = !played;
      playing = true;
      slots = lanes;
      if (wraps(window, plan.windows) && wraps(pass, plan.passes)) strip++;
      fetching = strip < plan.strips;
    }
  }
}

// Weights come down the rows. WS: a row keeps the first group of each pass and passes on the others, which are for the
// rows below. OS: it uses all of them, and so do the rows below.
inline void row_weights(Plan plan, uint32_t row, hls::stream<Weights>& above, hls::stream<Weights>& below,
                        hls::stream<Weights>& own) {
#pragma HLS INLINE off
  const uint32_t groups = plan.ws ? ROWS - row : plan.windows;
  uint32_t kept = 0, group = 0, pass = 0;
  for (uint32_t strip = 0; strip < plan.strips;) {
#pragma HLS PIPELINE II=1
    const Weights weights = above.read();
    if (!plan.ws || group == 0) own.write(weights);
    if (plan.ws ? group > 0 : row + 1 < ROWS) below.write(weights);
    if (wraps(kept, plan.n) && wraps(group, groups) && wraps(pass, plan.passes)) strip++;
  }
}

// The PEs of a row. WS: sums come from above and go below, window by window, while a pass's weights are held. OS: sums
// are held while all weights pass by.
inline void row_macs(Plan plan, hls::stream<Group>& activations, hls::stream<Weights>& own,
                     hls::stream<Sums>& above, hls::stream<Sums>& below, hls::stream<Sums>& done) {
#pragma HLS INLINE off
  Weights held[MAX_N];
  Sums sums[INTERLEAVE];
#pragma HLS ARRAY_PARTITION variable=held complete
#pragma HLS AGGREGATE variable=held
#pragma HLS AGGREGATE variable=sums
  uint32_t slot = 0, round = 0, window = 0, pass = 0;
  for (uint32_t strip = 0; strip < plan.strips;) {
#pragma HLS PIPELINE II=1
// a lane comes round after `pace` slots
#pragma HLS DEPENDENCE variable=sums type=inter direction=RAW distance=ACCUMULATOR_LATENCY dependent=true
    const uint32_t lanes = plan.lanes(pass, window), pace = max(lanes, ACCUMULATOR_LATENCY);
    const bool opens = round == 0 && (plan.ws || window == 0);
    const bool closes = round == plan.n - 1 && (plan.ws || window == plan.windows - 1);
    Weights weights = held[round];
    if (slot == 0 && (!plan.ws || window == 0)) weights = own.read();
    held[round] = weights;
    if (slot < lanes) {
      const Group group = activations.read();
#pragma HLS ARRAY_PARTITION variable=group.value complete
      Sums sum = {};
      if (!opens) {
        sum = sums[slot];
      } else if (plan.ws) {
        sum = above.read();
      }
      for (uint32_t c = 0; c < COLS; c++) {
#pragma HLS UNROLL
        uspe(sum.value[c], weights.value[c], weights.index[c], group);
      }
      sums[slot] = sum;
      if (closes && plan.ws) below.write(sum);
      if (closes && !plan.ws) done.write(sum);
    }
    if (wraps(slot, pace) && wraps(round, plan.n) && wraps(window, plan.windows) && wraps(pass, plan.passes)) strip++;
  }
}

// OS: sums drain downwards, those of a row before those of the rows above it, while the row works on its next pass.
inline void row_drain(Plan plan, uint32_t row, hls::stream<Sums>& done, hls::stream<Sums>& above,
                      hls::stream<Sums>& below) {
#pragma HLS INLINE off
  uint32_t lane = 0, source = 0, pass = 0;
  for (uint32_t strip = plan.ws ? plan.strips : 0; strip < plan.strips;) {
#pragma HLS PIPELINE II=1
    below.write(source == 0 ? done.read() : above.read());
    if (wraps(lane, plan.lanes(pass, 0)) && wraps(source, row + 1) && wraps(pass, plan.passes)) strip++;
  }
}

}  // namespace sat
