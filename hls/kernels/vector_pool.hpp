// Pooling, forward and backward. codesign.compute.vector_unit states the arithmetic.
//
// Each gathers: a target pixel looks, position by position of the window, at the source pixel that shares a window
// with it. Forward the target is the output; backward it is the input, and positions come last to first, so that the
// windows come in ascending order. One row of target pixels is made at a time, in a dataflow region.
#pragma once
#include "vector_tile.hpp"

namespace sat {

struct Axis {  // vertical or horizontal
  uint32_t source, target, kernel, stride, padding;

  // Where the target sees a source at a position; no less than `source` if nowhere: below 0 it wraps around.
  uint32_t source_of(bool backward, uint32_t at, uint32_t position) const {
#pragma HLS INLINE
    if (!backward) return at * stride + position - padding;
    const uint32_t place = at + padding - position;
    return place % stride == 0 ? place / stride : source;
  }

  uint32_t first_source(bool backward, uint32_t at) const {
    if (!backward) return at * stride < padding ? 0 : at * stride - padding;
    return at + padding < kernel ? 0 : min(source, (at + padding - kernel) / stride + 1);
  }

  uint32_t end_source(bool backward, uint32_t at) const {
    return min(source, backward ? (at + padding) / stride + 1 : at * stride + kernel - padding);
  }

  uint32_t most_sources(bool backward) const { return min(source, backward ? ceil_div(kernel, stride) : kernel); }
};

struct Pool {
  bool backward, takes_largest;
  Axis rows, columns;
  float inverse;
  uint32_t samples, channels;

  explicit Pool(const VectorInstruction& v)
      : backward(v.op == MAX_POOL_BACKWARD || v.op == AVG_POOL_BACKWARD)
      , takes_largest(v.op == MAX_POOL || v.op == MAX_POOL_BACKWARD)
      , rows{v.p0 & 0xFFFF, v.p1 & 0xFFFF, v.p2 & 0xFFFF, v.p3 & 0xFFFF, v.p4 & 0xFFFF}
      , columns{v.p0 >> 16, v.p1 >> 16, v.p2 >> 16, v.p3 >> 16, v.p4 >> 16}
      , inverse(takes_largest ? 1.0f : float_of(v.p5))
      , samples(v.rows)
      , channels(v.channels) {}

  // How many channels' sources and targets of a row have room, whole words of them unless all do.
  uint32_t span() const {
    const uint32_t pixels = max(rows.most_sources(backward) * columns.source, columns.target);
    const uint32_t room = min(TILE_ELEMENTS / pixels, TILE_DEPTH / columns.target * VECTOR_LANES);
    return channels <= room ? channels : room / WORD_HALVES * WORD_HALVES;
  }

  Slab sources(uint32_t strip, uint32_t channel, uint32_t span) const {
    const uint32_t sample = strip / rows.target, at = strip % rows.target;
    const uint32_t first = rows.first_source(backward, at), end = max(first, rows.end_source(backward, at));
    return {(sample * rows.source + first) * columns.source, (end - first) * columns.source, channel, span, channels};
  }

  Slab targets(uint32_t strip, uint32_t channel, uint32_t span) const {
    return {strip * columns.target, columns.target, channel, span, channels};
  }
};

struct Gathered {  // a target so far: the largest source or the sum, and the position of the largest
  float value[VECTOR_LANES];
  uint16_t position[VECTOR_LANES];
};

constexpr uint16_t NO_POSITION = 0xFFFF;

// What a target becomes that sees `source`, which forward lies at a position and backward was taken at `taken`.
inline void gather(bool largest, bool backward, float source, uint16_t taken, uint16_t position, float& value,
                   uint16_t& best) {
#pragma HLS INLINE
  const bool wins = best == NO_POSITION || source > value || (source != source && value == value);
  const float total = accumulated(value, source);
  if (!largest || (backward && taken == position)) {
    value = total;
  } else if (!backward && wins) {
    value = source;
    best = position;
  }
}

inline void gather_strip(const Pool& pool, uint32_t strip, uint32_t channel, uint32_t span, const Tile x,
                         const Tile taken, Tile out, Tile positions) {
#pragma HLS INLINE off
  SAT_LOCAL Gathered gathered[TILE_DEPTH];
#pragma HLS AGGREGATE variable=gathered
  const Slab source = pool.sources(strip, channel, span), target = pool.targets(strip, channel, span);
  const uint32_t at = strip % pool.rows.target, first_row = pool.rows.first_source(pool.backward, at);
  const uint32_t blocks = ceil_div(span, VECTOR_LANES), targets = pool.columns.target * blocks;
  for (uint32_t t = 0; t < targets; t++) {
#pragma HLS PIPELINE II=1
    for (uint32_t l = 0; l < VECTOR_LANES; l++) {
#pragma HLS UNROLL
      gathered[t].value[l] = 0;
      gathered[t].position[l] = NO_POSITION;
    }
  }
  for (uint32_t dh = 0; dh < pool.rows.kernel; dh++) {
    for (uint32_t dw = 0; dw < pool.columns.kernel; dw++) {
      const uint32_t y = pool.backward ? pool.rows.kernel - 1 - dh : dh;
      const uint32_t z = pool.backward ? pool.columns.kernel - 1 - dw : dw;
      const uint16_t position = uint16_t(y * pool.columns.kernel + z);
      const uint32_t row = pool.rows.source_of(pool.backward, at, y);
      uint32_t column = 0, block = 0;
      // Idle turns at the end of a short row: a sum is ready when its next source comes.
      for (uint32_t turn = 0; turn < max(targets, SUM_WAYS); turn++) {
#pragma HLS PIPELINE II=1
// the same target comes again after at least SUM_WAYS turns
#pragma HLS DEPENDENCE variable=gathered type=inter dependent=false
        const uint32_t seen = pool.columns.source_of(pool.backward, column, z);
        if (turn < targets && row < pool.rows.source && seen < pool.columns.source) {
          half value[VECTOR_LANES], from[VECTOR_LANES];
          const uint32_t pixel = (row - first_row) * pool.columns.source + seen, c = block * VECTOR_LANES;
          read_lanes<TILE_DEPTH>(x, source.element(pixel, c), value);
          read_lanes<TILE_DEPTH>(taken, source.element(pixel, c), from);
          Gathered now = gathered[turn];
          for (uint32_t l = 0; l < VECTOR_LANES; l++) {
#pragma HLS UNROLL
            gather(pool.takes_largest, pool.backward, widen(value[l]), bits_of(from[l]), position, now.value[l],
                   now.position[l]);
          }
          gathered[turn] = now;
        }
        if (wraps(block, blocks)) column++;
      }
    }
  }
  uint32_t column = 0, block = 0;
  for (uint32_t t = 0; t < targets; t++) {
#pragma HLS PIPELINE II=1
    half value[VECTOR_LANES], position[VECTOR_LANES];
    for (uint32_t l = 0; l < VECTOR_LANES; l++) {
#pragma HLS UNROLL
      value[l] = narrow(gathered[t].value[l] * pool.inverse);
      position[l] = half_of(gathered[t].position[l]);
    }
    const uint32_t c = block * VECTOR_LANES, first = target.element(column, c), count = min(VECTOR_LANES, span - c);
    write_lanes<TILE_DEPTH>(out, first, count, value);
    write_lanes<TILE_DEPTH>(positions, first, count, position);
    if (wraps(block, blocks)) column++;
  }
}

inline void load_strip(const Word* memory, uint32_t base, bool used, const Pool& pool, uint32_t strip,
                       uint32_t channel, uint32_t span, Tile values) {
#pragma HLS INLINE off
  const Slab slab = pool.sources(strip, channel, span);
  if (used && slab.rows > 0) load_slab<TILE_DEPTH>(memory, base, slab, values);
}

inline void store_strip(Word* memory, const VectorInstruction& v, const Pool& pool, uint32_t strip, uint32_t channel,
                        uint32_t span, const Tile out, const Tile positions) {
#pragma HLS INLINE off
  const Slab slab = pool.targets(strip, channel, span);
  store_slab<TILE_DEPTH>(memory, v.out, slab, out);
  if (v.op == MAX_POOL) store_slab<TILE_DEPTH>(memory, v.out2, slab, positions);
}

inline void pool_span(const VectorInstruction& v, const Pool& pool, uint32_t channel, uint32_t span, const Word* left,
                      const Word* right, Word* memory) {
#pragma HLS INLINE off
  const uint32_t strips = pool.samples * pool.rows.target;
  const bool needs_positions = v.op == MAX_POOL_BACKWARD;
  for (uint32_t strip = 0; strip < strips; strip++) {
#pragma HLS DATAFLOW
    SAT_LOCAL Tile x, taken, out, positions;
#pragma HLS ARRAY_PARTITION variable=x complete dim=1
#pragma HLS ARRAY_PARTITION variable=taken complete dim=1
#pragma HLS ARRAY_PARTITION variable=out complete dim=1
#pragma HLS ARRAY_PARTITION variable=positions complete dim=1
    load_strip(left, v.x, true, pool, strip, channel, span, x);
    load_strip(right, v.y, needs_positions, pool, strip, channel, span, taken);
    gather_strip(pool, strip, channel, span, x, taken, out, positions);
    store_strip(memory, v, pool, strip, channel, span, out, positions);
  }
}

inline void pool_operation(const VectorInstruction& v, const Word* left, const Word* right, Word* memory) {
#pragma HLS INLINE off
  const Pool pool(v);
  const uint32_t span = pool.span();
  for (uint32_t channel = 0; channel < pool.channels; channel += span) {
    pool_span(v, pool, channel, min(span, pool.channels - channel), left, right, memory);
  }
}

}  // namespace sat
