// stce_tb GOLDEN: computes every tile of a golden file on the array. What no tile owns on chip holds NaN, and must keep
// it. A case: the fields of Gemm; A (I, Q * m) and B (J, Q, n) FP16, indices of B; out (I, J) before and after.
#include "stce.hpp"

#include "golden.hpp"

using namespace sat;

static half act[ROWS][ACT_DEPTH], weight[COLS][WEIGHT_DEPTH];
static uint8_t index_[COLS][WEIGHT_DEPTH];
static float out[COLS][OUT_DEPTH];

static const half NAN16 = half_of(uint16_t(0xFFFF));
static const float NAN32 = float_of(0xFFC0FFEEu);

template <typename T, size_t BANKS, size_t DEPTH>
static void fill(T (&banks)[BANKS][DEPTH], T value) {
  for (auto& bank : banks) std::fill(bank, bank + DEPTH, value);
}

static void load(const Gemm& gemm, golden::Reader& file) {
  const uint32_t q_count = gemm.groups, n = gemm.n, m = gemm.m;
  fill(act, NAN16);
  fill(weight, NAN16);
  fill(index_, uint8_t(0xFF));
  fill(out, NAN32);
  const auto a = file.array<half>(gemm.rows_i * q_count * m);
  for (uint32_t i = 0; i < gemm.rows_i; i++) {
    for (uint32_t q = 0; q < q_count; q++) {
      const uint32_t bank = gemm.dataflow ? i % ROWS : q % ROWS;
      const uint32_t group = gemm.dataflow ? i / ROWS * q_count + q : i * ceil_div(q_count, ROWS) + q / ROWS;
      for (uint32_t t = 0; t < m; t++) act[bank][group * m + t] = a[(i * q_count + q) * m + t];
    }
  }
  const auto b = file.array<half>(gemm.cols_j * q_count * n);
  const auto places = file.array<uint8_t>(gemm.cols_j * q_count * n);
  for (uint32_t j = 0; j < gemm.cols_j; j++) {
    for (uint32_t s = 0; s < q_count * n; s++) {
      weight[j % COLS][j / COLS * q_count * n + s] = b[j * q_count * n + s];
      index_[j % COLS][j / COLS * q_count * n + s] = places[j * q_count * n + s];
    }
  }
  const auto before = file.array<float>(gemm.rows_i * gemm.cols_j);
  for (uint32_t i = 0; i < gemm.rows_i; i++) {
    for (uint32_t j = 0; j < gemm.cols_j; j++) {
      out[j % COLS][j / COLS * gemm.rows_i + i] = before[i * gemm.cols_j + j];
    }
  }
}

static void check(const Gemm& gemm, const std::vector<float>& after, const std::string& name) {
  for (uint32_t i = 0; i < gemm.rows_i; i++) {
    for (uint32_t j = 0; j < gemm.cols_j; j++) {
      float& got = out[j % COLS][j / COLS * gemm.rows_i + i];
      golden::expect(got, after[i * gemm.cols_j + j], golden::at(name + "out", i, j));
      got = NAN32;
    }
  }
  for (uint32_t c = 0; c < COLS; c++) {
    for (uint32_t place = 0; place < OUT_DEPTH; place++) {
      if (bits_of(out[c][place]) == bits_of(NAN32)) continue;
      printf("%s: written, but no output of the tile\n", golden::at(name + "bank", c, place).c_str());
      exit(1);
    }
  }
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  golden::Reader file(argv[1]);
  size_t cases = 0;
  for (; file.more(); cases++) {
    const auto field = file.array<uint32_t>(7);
    const Gemm gemm = {field[0], field[1], field[2], field[3], field[4], field[5], field[6]};
    load(gemm, file);
    stce(gemm, act, weight, index_, out);
    const auto after = file.array<float>(gemm.rows_i * gemm.cols_j);
    check(gemm, after, golden::at("case", cases) + (gemm.dataflow ? " OS " : " WS "));
  }
  printf("%zu cases\n", cases);
}
