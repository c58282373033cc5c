// Product of two IEEE 754 numbers, rounded once to another format; LATENCY cycles.
// Subnormals are numbers like others. Every NaN result is the quiet NaN with all other fraction bits 0, sign +.
// With the default formats, FP16 x FP16 -> FP32, every product is exact and none is subnormal.
module fp_mul #(
    parameter int EXPONENT = 5,
    parameter int FRACTION = 10,
    parameter int OUT_EXPONENT = 8,
    parameter int OUT_FRACTION = 23,
    parameter int TINY = 0,  // see fp_round
    parameter int LATENCY = 0
) (
    input wire clk,
    input wire [EXPONENT+FRACTION:0] a,
    input wire [EXPONENT+FRACTION:0] b,
    output wire [OUT_EXPONENT+OUT_FRACTION:0] product
);
  localparam int BIAS = (1 << (EXPONENT - 1)) - 1;
  localparam int WIDTH = 2 * FRACTION + 2;
  localparam int OUT = OUT_EXPONENT + OUT_FRACTION + 1;

  wire sign_a, infinity_a, nan_a, sign_b, infinity_b, nan_b;
  wire [EXPONENT-1:0] exponent_a, exponent_b;
  wire [FRACTION:0] significand_a, significand_b;
  fp_unpack #(EXPONENT, FRACTION) unpack_a (
      a, sign_a, exponent_a, significand_a, infinity_a, nan_a
  );
  fp_unpack #(EXPONENT, FRACTION) unpack_b (
      b, sign_b, exponent_b, significand_b, infinity_b, nan_b
  );

  wire sign = sign_a ^ sign_b;
  wire [OUT-1:0] finite;
  fp_round #(OUT_EXPONENT, OUT_FRACTION, WIDTH, TINY) round (
      .sign,
      .scale(10'(exponent_a) + 10'(exponent_b) - 10'(2 * (BIAS + FRACTION))),
      .magnitude(WIDTH'(significand_a) * WIDTH'(significand_b)),
      .out(finite)
  );

  wire zero = significand_a == 0 || significand_b == 0;
  wire infinity = infinity_a || infinity_b;
  logic [OUT-1:0] result;
  always_comb begin
    if (nan_a || nan_b || (infinity && zero)) result = {1'b0, {OUT_EXPONENT + 1{1'b1}}, {OUT_FRACTION - 1{1'b0}}};
    else if (infinity) result = {sign, {OUT_EXPONENT{1'b1}}, {OUT_FRACTION{1'b0}}};
    else result = finite;
  end
  delay #(OUT, LATENCY) pipeline (clk, result, product);
endmodule
