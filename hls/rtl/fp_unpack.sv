// An IEEE 754 binary number as sign * significand * 2**(exponent - BIAS - FRACTION), and its special cases.
module fp_unpack #(
    parameter int EXPONENT = 8,
    parameter int FRACTION = 23
) (
    input wire [EXPONENT+FRACTION:0] in,
    output wire sign,
    output wire [EXPONENT-1:0] exponent,  // of a subnormal 1, as of the smallest normal numbers
    output wire [FRACTION:0] significand,
    output wire is_infinity,
    output wire is_nan
);
  wire [EXPONENT-1:0] field = in[FRACTION+:EXPONENT];
  wire normal = field != 0;
  wire special = field == '1;
  wire no_fraction = in[FRACTION-1:0] == 0;
  assign sign = in[EXPONENT+FRACTION];
  assign exponent = normal ? field : EXPONENT'(1);
  assign significand = {normal, in[FRACTION-1:0]};
  assign is_infinity = special && no_fraction;
  assign is_nan = special && !no_fraction;
endmodule
