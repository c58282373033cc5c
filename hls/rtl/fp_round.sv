// Rounds sign * magnitude * 2**scale to IEEE 754 binary, to nearest, ties to even; too large becomes infinity.
// The last step of every operator: combinational. A zero magnitude gives a zero of the given sign.
//
// TINY says what can happen below the normal range, so that hardware for what cannot is left out:
//   0 no result lies there, 1 results there are exact subnormals, 2 results there may need rounding.
module fp_round #(
    parameter int EXPONENT = 8,
    parameter int FRACTION = 23,
    parameter int WIDTH = 48,
    parameter int TINY = 2
) (
    input wire sign,
    input wire signed [9:0] scale,
    input wire [WIDTH-1:0] magnitude,
    output wire [EXPONENT+FRACTION:0] out
);
  localparam int BIAS = (1 << (EXPONENT - 1)) - 1;
  localparam int W = WIDTH > FRACTION + 3 ? WIDTH : FRACTION + 3;  // at least a guard and a sticky bit
  localparam int STEPS = $clog2(W);

  // Exponent field if the top bit of the widened magnitude is the leading one. Shifting left lowers it, but not below
  // 1: the shift is compared with the room for it bit by bit, while they are equal (`tight`).
  logic [W-1:0] aligned;
  logic signed [9:0] exponent, room;
  logic [STEPS-1:0] shift;
  logic tight;
  always_comb begin
    aligned  = W'(magnitude) << (W - WIDTH);
    exponent = scale + 10'(WIDTH - 1 + BIAS);
    if (TINY == 2 && exponent < 1) begin  // right, to the subnormals, jamming what falls out
      aligned  = jam(aligned, 10'sd1 - exponent);
      exponent = 1;
    end
    room  = exponent - 10'sd1;
    tight = TINY != 0 && 32'(room) < 1 << STEPS;
    for (int step = STEPS - 1; step >= 0; step--) begin
      shift[step] = (aligned >> (W - (1 << step))) == 0 && (!tight || room[step]);
      tight = tight && shift[step] == room[step];
      if (shift[step]) aligned = aligned << (1 << step);
    end
    exponent = exponent - 10'(shift);
  end

  function automatic [W-1:0] jam(input [W-1:0] value, input [9:0] distance);
    logic [2*W-1:0] wide;
    wide = {value, W'(0)} >> (distance > 10'(W) ? 10'(W) : distance);
    jam = wide[2*W-1:W] | W'(wide[W-1:0] != 0);
  endfunction

  wire [FRACTION:0] kept = aligned[W-1-:FRACTION+1];
  wire guard = aligned[W-FRACTION-2];
  wire sticky = aligned[W-FRACTION-3:0] != 0;
  wire round_up = guard && (sticky || kept[0]);

  // Without a leading one the exponent field is 0; a carry out of the fraction raises it, as IEEE intends.
  wire [9:0] field = kept[FRACTION] ? exponent : 10'd0;
  wire [9+FRACTION:0] rounded = {field, kept[FRACTION-1:0]} + (10 + FRACTION)'(round_up);
  wire [9:0] rounded_field = rounded[FRACTION+:10];
  wire overflow = rounded_field >= 10'((1 << EXPONENT) - 1);
  assign out = overflow ? {sign, {EXPONENT{1'b1}}, FRACTION'(0)} : {sign, rounded[EXPONENT+FRACTION-1:0]};
endmodule
