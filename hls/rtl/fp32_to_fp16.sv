// FP32 to FP16, to nearest, ties to even, subnormals included; combinational. NaN becomes 0x7e00.
module fp32_to_fp16 (
    input wire [31:0] in,
    output wire [15:0] out
);
  wire sign, infinity, nan;
  wire [7:0] exponent;
  wire [23:0] significand;
  fp_unpack unpack (in, sign, exponent, significand, infinity, nan);

  wire [15:0] finite;
  fp_round #(
      .EXPONENT(5),
      .FRACTION(10),
      .WIDTH(24)
  ) round (
      .sign,
      .scale(10'(exponent) - 10'(127 + 23)),
      .magnitude(significand),
      .out(finite)
  );
  assign out = nan ? 16'h7e00 : infinity ? {sign, 15'h7c00} : finite;
endmodule
