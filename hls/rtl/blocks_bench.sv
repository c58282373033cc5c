// Test bench of the operators and vector lanes: all side by side, fed from one word a cycle and read into another.
module blocks_bench #(
    parameter int MUL_LATENCY = 4,
    parameter int ADD_LATENCY = 8
) (
    input wire clk,
    input wire [191:0] in,
    output wire [383:0] out
);
  localparam int N = 8;
  localparam int M = 16;
  wire [31:0] a, b, momentum, learning_rate, weight_decay;
  wire [15:0] value;
  wire valid;
  wire [6:0] unused;
  wire [3:0] n, m_less_one;
  assign {m_less_one, n, unused, valid, value, weight_decay, learning_rate, momentum, b, a} = in;

  wire [31:0] half_product, product, sum, w_new, m_new;
  wire [15:0] half, w_half;
  fp_mul half_multiplier (clk, a[15:0], b[15:0], half_product);
  fp_mul #(8, 23, 8, 23, 2) multiplier (clk, a, b, product);
  fp32_add adder (clk, a, b, sum);
  fp32_to_fp16 narrow (a, half);
  wuve_lane #(MUL_LATENCY, ADD_LATENCY) wuve (
      clk, weight_decay, momentum, learning_rate, value, a, b, w_new, m_new, w_half
  );

  wire done;
  wire [16*N-1:0] values;
  wire [$clog2(M)*N-1:0] indices;
  sore_lane #(N, M) sore (
      .clk,
      .n,
      .m(5'd1 + 5'(m_less_one)),
      .valid,
      .value,
      .done,
      .values,
      .indices
  );
  assign out = {
    31'b0, done, 32'(indices), values, w_half, half, m_new, w_new, sum, product, half_product
  };
endmodule
