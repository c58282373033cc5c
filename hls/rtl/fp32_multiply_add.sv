// a * b + c in FP32, rounded after the product and after the sum; MUL_LATENCY + ADD_LATENCY cycles.
module fp32_multiply_add #(
    parameter int MUL_LATENCY = 4,
    parameter int ADD_LATENCY = 8
) (
    input wire clk,
    input wire [31:0] a,
    input wire [31:0] b,
    input wire [31:0] c,
    output wire [31:0] out
);
  wire [31:0] product, addend;
  fp_mul #(
      .EXPONENT(8),
      .FRACTION(23),
      .TINY(2),
      .LATENCY(MUL_LATENCY)
  ) multiplier (
      .clk,
      .a,
      .b,
      .product
  );
  delay #(32, MUL_LATENCY) wait_addend (clk, c, addend);
  fp32_add #(ADD_LATENCY) adder (clk, product, addend, out);
endmodule
