// Runs GEMMs on the Verilated array: reads them from stdin, writes cycles and results to stdout. All numbers are
// little-endian 32-bit words but the activations, 16-bit values. rtl_sim.py is the other side.
//
//   in:   array    rows, columns, port values, index bits
//         GEMM     configuration (as below), beats of each row, weights of each column, cycle limit;
//                  activations [row][beat][port], weights [column][weight] as {index, value}
//   out:  GEMM     cycles; for each column the number of results and the results
// Beyond the end of a stream the array gets zeros. A GEMM that does not end within its limit is an error.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

using Words = std::vector<uint32_t>;

template <typename T>
static bool read(std::vector<T>& data) {
  return fread(data.data(), sizeof(T), data.size(), stdin) == data.size();
}

static void write(const Words& words) { fwrite(words.data(), sizeof(uint32_t), words.size(), stdout); }

// Bits of a port, whatever type Verilator gave it; all its types are little-endian.
template <typename Port>
static uint32_t get(const Port& port, size_t first, size_t count) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&port);
  uint32_t bits = 0;
  for (size_t b = 0; b < count; b++) bits |= uint32_t(bytes[(first + b) / 8] >> ((first + b) % 8) & 1) << b;
  return bits;
}

template <typename Port>
static void set(Port& port, size_t first, size_t count, uint32_t bits) {
  auto* bytes = reinterpret_cast<uint8_t*>(&port);
  for (size_t b = 0; b < count; b++) {
    const uint8_t mask = 1 << ((first + b) % 8);
    uint8_t& byte = bytes[(first + b) / 8];
    byte = bits >> b & 1 ? byte | mask : byte & ~mask;
  }
}

int main() {
  Words array(4);
  if (!read(array)) return 2;
  const size_t rows = array[0], columns = array[1], port = array[2], index_bits = array[3];
  Vtop top;
  Words config(16);
  while (read(config)) {
    size_t f = 0;
    top.ws_in = config[f++];
    top.hidden_in = config[f++];
    top.double_weights_in = config[f++];
    top.double_accumulators_in = config[f++];
    top.n_in = config[f++];
    top.m_in = config[f++];
    top.depth_in = config[f++];
    top.ragged_in = config[f++];
    top.windows_in = config[f++];
    top.tiles_in = config[f++];
    top.strips_in = config[f++];
    top.rows_in = config[f++];
    const size_t beats = config[f++], weights = config[f++];
    const uint64_t limit = config[f] | uint64_t(config[f + 1]) << 32;
    std::vector<uint16_t> activations(rows * beats * port);
    Words kept(columns * weights);
    if (!read(activations) || !read(kept)) return 2;

    std::vector<size_t> beat(rows), weight(columns);
    std::vector<Words> results(columns);
    uint64_t cycles = 0;
    bool finished = false;
    const auto step = [&] {
      top.clk = 0;
      top.eval();
      top.clk = 1;
      top.eval();
    };
    top.go_in = 1;
    step();
    top.go_in = 0;
    // Cycle 0 is the one before the first. After the last, one more shows what the last registers took in it.
    for (uint64_t cycle = 0; cycle <= limit && !(finished && cycle > cycles + 1); cycle++) {
      for (size_t r = 0; r < rows; r++) {
        if (!get(top.fetch, r, 1)) continue;
        for (size_t p = 0; p < port; p++)
          set(top.fetched, 16 * (r * port + p), 16,
              beat[r] < beats ? activations[(r * beats + beat[r]) * port + p] : 0);
        beat[r]++;
      }
      for (size_t c = 0; c < columns; c++) {
        if (get(top.take, c, 1)) {
          set(top.taken, (16 + index_bits) * c, 16 + index_bits,
              weight[c] < weights ? kept[c * weights + weight[c]] : 0);
          weight[c]++;
        }
        if (get(top.valid, c, 1)) results[c].push_back(get(top.result, 32 * c, 32));
      }
      if (top.finished) {
        finished = true;
        cycles = cycle;
      }
      step();
    }
    if (!finished) {
      fprintf(stderr, "no end within %llu cycles\n", (unsigned long long)limit);
      return 3;
    }
    write({uint32_t(cycles), uint32_t(cycles >> 32)});
    for (const Words& column : results) {
      write({uint32_t(column.size())});
      write(column);
    }
  }
}
