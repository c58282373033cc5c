// Sum of two FP32 numbers, to nearest, ties to even; LATENCY cycles.
// Subnormals are numbers like others. Every NaN result is the quiet NaN 0x7fc00000.
module fp32_add #(
    parameter int LATENCY = 0
) (
    input wire clk,
    input wire [31:0] a,
    input wire [31:0] b,
    output wire [31:0] sum
);
  // The operand of larger magnitude keeps its place; the other is shifted right to its exponent.
  wire swap = a[30:0] < b[30:0];
  wire sign_l, infinity_l, nan_l, sign_s, infinity_s, nan_s;
  wire [7:0] exponent_l, exponent_s;
  wire [23:0] significand_l, significand_s;
  fp_unpack unpack_larger (
      swap ? b : a, sign_l, exponent_l, significand_l, infinity_l, nan_l
  );
  fp_unpack unpack_smaller (
      swap ? a : b, sign_s, exponent_s, significand_s, infinity_s, nan_s
  );

  // Three more bits (guard, round, sticky) are enough for correct rounding; one in front takes the carry.
  wire [7:0] distance = exponent_l - exponent_s;
  wire [53:0] shifted = {significand_s, 30'b0} >> (distance > 8'd27 ? 5'd27 : distance[4:0]);
  wire [27:0] smaller = {1'b0, shifted[53:28], shifted[27:0] != 0};
  wire [27:0] larger = {1'b0, significand_l, 3'b0};
  wire subtract = sign_l != sign_s;
  wire [27:0] magnitude = larger + (smaller ^ {28{subtract}}) + 28'(subtract);

  wire [31:0] finite;
  fp_round #(
      .WIDTH(28),
      .TINY (1)
  ) round (
      .sign(sign_l),
      .scale(10'(exponent_l) - 10'(127 + 23 + 3)),
      .magnitude,
      .out(finite)
  );

  logic [31:0] result;
  always_comb begin
    if (nan_l || nan_s || (infinity_l && infinity_s && subtract)) result = 32'h7fc00000;
    else if (infinity_l) result = {sign_l, 31'h7f800000};
    else if (magnitude == 0) result = {sign_l && sign_s, 31'b0};  // +0 unless both are -0
    else result = finite;
  end
  delay #(32, LATENCY) pipeline (clk, result, sum);
endmodule
