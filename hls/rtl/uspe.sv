// Unified sparse processing element: one MAC a cycle of FP16 into FP32, for weights of either dataflow.
//
// A *slot* (one MAC) and its vector of M activations come from the left and go on to the right one cycle later. The
// weight of the slot, a value and its index into the vector, is
//   WS  the one held for the slot's round: `round` 0 to N-1 in one of two banks, so that one loads while one works;
//   OS  the one that passes down the column, one row a cycle.
// The product is added to the partial sum of the slot's `lane`, 0 to F-1, in one of two banks: one can drain while the
// other accumulates. A slot that is `first` starts a sum instead: in WS from the sum of the row above, in OS from +0.
// A sum is in place MUL_LATENCY + ADD_LATENCY cycles after its slot; `sum` then shows it for one cycle.
//
// Loads and drains are commands from the left as well. `load` takes what passes down the column into a weight register.
// `drain` puts a partial sum on its way down; without it what comes from above goes on, one row a cycle.
module uspe #(
    parameter int M = 8,
    parameter int N = 8,
    parameter int F = 8,
    parameter int MUL_LATENCY = 3,
    parameter int ADD_LATENCY = 8,
    localparam int INDEX = M > 1 ? $clog2(M) : 1,
    localparam int ROUND = N > 1 ? $clog2(N) : 1,
    localparam int LANE = F > 1 ? $clog2(F) : 1
) (
    input wire clk,
    input wire ws,
    input wire [4+ROUND+LANE-1:0] slot_in,  // {valid, first, last, bank, round, lane}
    input wire [2+ROUND-1:0] load_in,  // {valid, bank, round}
    input wire [2+LANE-1:0] drain_in,  // {valid, bank, lane}
    input wire [16*M-1:0] activations_in,
    input wire [16+INDEX-1:0] weight_in,  // {index, value}
    input wire [31:0] sum_in,
    input wire [31:0] drained_in,
    output logic [4+ROUND+LANE-1:0] slot_out,
    output logic [2+ROUND-1:0] load_out,
    output logic [2+LANE-1:0] drain_out,
    output logic [16*M-1:0] activations_out,
    output logic [16+INDEX-1:0] weight_out,
    output logic sum_last,  // `sum` is complete
    output logic [31:0] sum,
    output wire [31:0] drained_out
);
  always_ff @(posedge clk) begin
    slot_out <= slot_in;
    load_out <= load_in;
    drain_out <= drain_in;
    activations_out <= activations_in;
    weight_out <= weight_in;
  end

  // The weight, and the activation that its index names
  wire valid, first, last, bank;
  wire [ROUND-1:0] round;
  wire [ LANE-1:0] lane;
  assign {valid, first, last, bank, round, lane} = slot_in;

  logic [16+INDEX-1:0] weights[0:2*(1<<ROUND)-1];
  wire load;
  wire [ROUND:0] load_address;
  assign {load, load_address} = load_in;
  always_ff @(posedge clk) if (load) weights[load_address] <= weight_in;

  wire [INDEX-1:0] index;
  wire [15:0] weight;
  assign {index, weight} = ws ? weights[{bank, round}] : weight_in;
  wire [15:0] activation = activations_in[16*index+:16];

  // Multiply, then add into the lane's sum. The sum's own register is the adder's last one.
  wire [31:0] product, total;
  wire mac, mac_first;
  wire [LANE:0] mac_address, sum_address;
  wire done, done_last;
  fp_mul #(
      .LATENCY(MUL_LATENCY)
  ) multiplier (
      .clk,
      .a(activation),
      .b(weight),
      .product
  );
  wire mac_last;
  delay #(4 + LANE, MUL_LATENCY) beside_multiplier (
      clk, {valid, first, last, bank, lane}, {mac, mac_first, mac_last, mac_address}
  );

  logic [31:0] sums[0:2*(1<<LANE)-1];
  wire [31:0] start = ws ? sum_in : 32'b0;
  fp32_add #(ADD_LATENCY - 1) adder (clk, mac_first ? start : sums[mac_address], product, total);
  delay #(3 + LANE, ADD_LATENCY - 1) beside_adder (
      clk, {mac, mac && mac_last, mac_address}, {done, done_last, sum_address}
  );
  always_ff @(posedge clk) begin
    if (done) sums[sum_address] <= total;
    sum <= total;
    sum_last <= done_last;
  end

  wire drain;
  wire [LANE:0] drain_address;
  assign {drain, drain_address} = drain_in;
  logic [31:0] drained;
  always_ff @(posedge clk) drained <= drained_in;
  assign drained_out = drain ? sums[drain_address] : drained;
endmodule
