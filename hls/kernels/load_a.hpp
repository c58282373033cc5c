// LOAD_A: gathers im2col tiles while they are loaded. One process fetches pieces of up to a word from the image, zeros
// beyond its borders; another one places them in the banks that `stce.hpp` reads, all banks in parallel.
//
// Pixels are visited in lanes: where each pixel has a bank of its own (OS, or WS transposed, where a bank has m pixels of
// every ROWS * m), a piece is fetched for each bank before they are placed side by side. Elsewhere a piece spreads
// over the banks, and there is one lane.
#pragma once
#include "memory.hpp"

namespace sat {

constexpr uint32_t power_of_2_below(uint32_t x) { return x < 2 ? 1 : 2 * power_of_2_below(x / 2); }
constexpr uint32_t MOST_GROUPS = power_of_2_below(ROWS);  // of a piece that spreads over the rows, a bank each

struct ALayout {
  bool ws, transposed, blocked;
  uint32_t piece;                // neighbouring channels that are moved together: a power of two, within a word
  uint32_t taps, chunks, m;      // chunks: pieces of a tap
  uint32_t k_length, groups, passes, rows;
  uint32_t lanes, span, blocks;  // a lane has `span` pixels of a block

  explicit ALayout(const LoadAInstruction& load) {
    ws = load.dataflow == 0;
    transposed = load.transposed;
    blocked = ws == transposed;
    m = load.m;
    piece = lowest_bit(load.stored_channels | load.channel_first | load.channels | WORD_BITS / 16);
    if (ws && !transposed) piece = min(piece, MOST_GROUPS * m);
    taps = load.taps_h * load.taps_w;
    chunks = load.channels / piece;
    const uint32_t folded = taps * load.channels;
    k_length = transposed ? load.pixels : folded;
    rows = transposed ? folded : load.pixels;
    groups = ceil_div(k_length, m);
    passes = ceil_div(groups, ROWS);
    lanes = blocked ? ROWS : 1;
    span = blocked && transposed ? m : 1;
    blocks = ceil_div(load.pixels, lanes * span);
  }
};

struct PixelPlace {
  uint32_t sample, y, x;
  bool exists;
};

inline PixelPlace pixel_place(const LoadAInstruction& load, uint32_t pixel) {
#pragma HLS INLINE
  const uint32_t at = load.pixel_first + pixel, grid = load.grid_h * load.grid_w;
  return {at / grid, at % grid / load.grid_w, at % load.grid_w, pixel < load.pixels};
}

inline void fetch_a(const LoadAInstruction& load, const Word* memory, hls::stream<Piece>& pieces) {
#pragma HLS INLINE off
  const ALayout layout(load);
  PixelPlace pixels[ROWS];
  for (uint32_t block = 0; block < layout.blocks; block++) {
    for (uint32_t t = 0; t < layout.span; t++) {
      for (uint32_t r = 0; r < layout.lanes; r++) {
#pragma HLS PIPELINE II=1
        pixels[r] = pixel_place(load, (block * layout.lanes + r) * layout.span + t);
      }
      uint32_t tap_y = 0, tap_x = 0, chunk = 0, r = 0;
      for (uint32_t at = 0; at < layout.taps * layout.chunks * layout.lanes; at++) {
#pragma HLS PIPELINE II=1
        const PixelPlace pixel = pixels[r];
        const int32_t y = int32_t(pixel.y * load.stride_y) + load.origin_y + int32_t(tap_y) * load.step_y;
        const int32_t x = int32_t(pixel.x * load.stride_x) + load.origin_x + int32_t(tap_x) * load.step_x;
        const bool inside = pixel.exists && y >= 0 && y < int32_t(load.height) && x >= 0 && x < int32_t(load.width);
        const uint32_t stored = (pixel.sample * load.height + uint32_t(y)) * load.width + uint32_t(x);
        const uint32_t first = stored * load.stored_channels + load.channel_first + chunk * layout.piece;
        Piece piece = {};
        if (inside) piece.word = memory[load.base + first / (WORD_BITS / 16)];
        piece.offset = first % (WORD_BITS / 16);
        pieces.write(piece);
        if (wraps(r, layout.lanes) && wraps(chunk, layout.chunks) && wraps(tap_x, load.taps_w)) tap_y++;
      }
    }
  }
}

// Writes `count` values of a piece, from its element `e` on, into a bank: they lie in one beat of the activation port.
inline void put_values(half bank[ACT_DEPTH], uint32_t place, uint32_t count, const Piece& piece, uint32_t e) {
#pragma HLS INLINE
  const uint32_t beat = place / PORT, lane = place % PORT;
  for (uint32_t v = 0; v < PORT; v++) {
#pragma HLS UNROLL
    const uint32_t element = (piece.offset + e + v - lane) % (WORD_BITS / 16);
    if (v >= lane && v < lane + count) bank[beat * PORT + v] = half_of(element_of(piece.word, element));
  }
}

// A piece for each bank. OS: neighbours along k, a beat at a time. WS transposed: neighbouring rows.
inline void place_block(const ALayout& layout, uint32_t block, uint32_t t, uint32_t channel, const Piece pieces[ROWS],
                        half act[ROWS][ACT_DEPTH]) {
#pragma HLS INLINE
  const uint32_t step = layout.transposed ? 1 : min(layout.piece, PORT);
  for (uint32_t e = 0; e < layout.piece; e += step) {
#pragma HLS PIPELINE II=1
    const uint32_t place = layout.transposed ? ((channel + e) * layout.passes + block) * layout.m + t
                                             : block * layout.groups * layout.m + channel + e;
    for (uint32_t r = 0; r < ROWS; r++) {
#pragma HLS UNROLL
      put_values(act[r], place, step, pieces[r], e);
    }
  }
}

// A piece of a pixel that spreads over the banks. WS: its groups. OS transposed: its rows.
inline void spread_piece(const ALayout& layout, uint32_t pixel, uint32_t channel, const Piece& piece,
                         half act[ROWS][ACT_DEPTH]) {
#pragma HLS INLINE
  const uint32_t unit = layout.transposed ? 1 : min(layout.piece, layout.m);  // neighbours in a bank
  const uint32_t step = min(unit, PORT), units = layout.piece / unit;
  const uint32_t first = layout.transposed ? channel : channel / layout.m, member = channel & (layout.m - 1);
  for (uint32_t round = 0; round < units; round += ROWS) {
    for (uint32_t e = 0; e < unit; e += step) {
#pragma HLS PIPELINE II=1
      for (uint32_t r = 0; r < ROWS; r++) {
#pragma HLS UNROLL
        const uint32_t u = round + (r + ROWS - (first + round) % ROWS) % ROWS, line = (first + u) / ROWS;
        const uint32_t place = layout.transposed ? line * layout.groups * layout.m + pixel
                                                 : (pixel * layout.passes + line) * layout.m + member + e;
        if (u < units) put_values(act[r], place, step, piece, u * unit + e);
      }
    }
  }
}

// Zeros behind k. WS transposed has them already: its lanes go on behind the last pixel.
inline void pad_k(const ALayout& layout, half act[ROWS][ACT_DEPTH]) {
#pragma HLS INLINE off
  const Piece zeros = {};
  const uint32_t q = layout.groups - 1;  // the last group
  for (uint32_t i = 0; i < layout.rows; i++) {
    for (uint32_t k = layout.k_length; k < layout.groups * layout.m; k++) {
#pragma HLS PIPELINE II=1
      const uint32_t group = layout.ws ? i * layout.passes + q / ROWS : i / ROWS * layout.groups + q;
      put_values(act[layout.ws ? q % ROWS : i % ROWS], group * layout.m + (k & (layout.m - 1)), 1, zeros, 0);
    }
  }
}

inline void place_a(const LoadAInstruction& load, hls::stream<Piece>& pieces, half act[ROWS][ACT_DEPTH]) {
#pragma HLS INLINE off
  const ALayout layout(load);
  Piece block_pieces[ROWS] = {};
#pragma HLS ARRAY_PARTITION variable=block_pieces complete
  for (uint32_t block = 0; block < layout.blocks; block++) {
    for (uint32_t t = 0; t < layout.span; t++) {
      for (uint32_t channel = 0; channel < layout.taps * load.channels; channel += layout.piece) {
        for (uint32_t r = 0; r < layout.lanes; r++) {
#pragma HLS PIPELINE II=1
          block_pieces[r] = pieces.read();
        }
        if (layout.blocked) place_block(layout, block, t, channel, block_pieces, act);
        else spread_piece(layout, block, channel, block_pieces[0], act);
      }
    }
  }
  if (!layout.ws || !layout.transposed) pad_k(layout, act);
}

inline void load_a(const LoadAInstruction& load, const Word* memory, half act[ROWS][ACT_DEPTH]) {
#pragma HLS INLINE off
#pragma HLS DATAFLOW
  SAT_STREAM(Piece, pieces_of_a, MEMORY_FIFO_DEPTH);
  SAT_DATAFLOW_BEGIN();
  SAT_PROCESS(fetch_a, load, memory, pieces_of_a);
  SAT_PROCESS(place_a, load, pieces_of_a, act);
  SAT_DATAFLOW_END();
}

}  // namespace sat
