// The systolic array of R x C USPEs with its edges. Rows get activations from the left, columns weights from the top
// and give results at the bottom; both dataflows, dense (n = m) or N:M, chosen at run time.
//
// Whoever drives it offers three kinds of streams in the order of consumption: `fetched` values of each row are taken
// when `fetch` is high, the weight of each column when `take` is high; results of each column come with `valid`.
//   activations  window by window, vector by vector, m values each; a window starts a new beat of the port
//   weights      WS, for each tile: from the bottom row up, the n weights of its group; OS: the groups of k, for each tile
//   results      WS: all rows of i, for each strip; OS, for each tile: the lanes of each row, from the bottom row up
// There is no reset: registers start at zero, as an FPGA's do, and a GEMM leaves the control as it found it.
module stce #(
    parameter int R = 2,
    parameter int C = 2,
    parameter int M = 8,
    parameter int N = 8,
    parameter int F = 8,
    parameter int PORT = 4,
    parameter int MUL_LATENCY = 3,
    parameter int ADD_LATENCY = 8,
    parameter int BUFFER_ROWS = 4096,
    localparam int INDEX = M > 1 ? $clog2(M) : 1
) (
    input wire clk,
    input wire go_in,  // two cycles before the first; the configuration is taken with it
    input wire ws_in,
    input wire hidden_in,
    input wire double_weights_in,
    input wire double_accumulators_in,
    input wire [$clog2(N+1)-1:0] n_in,
    input wire [$clog2(M+1)-1:0] m_in,
    input wire [$clog2(F+1)-1:0] depth_in,
    input wire [$clog2(F+1)-1:0] ragged_in,
    input wire [31:0] windows_in,
    input wire [31:0] tiles_in,
    input wire [31:0] strips_in,
    input wire [31:0] rows_in,  // rows of i
    output wire [R-1:0] fetch,
    input wire [16*PORT*R-1:0] fetched,
    output wire [C-1:0] take,
    input wire [(16+INDEX)*C-1:0] taken,  // {index, value}
    output wire [C-1:0] valid,
    output wire [32*C-1:0] result,
    output wire finished
);
  localparam int SLOTS = $clog2(F + 1);
  localparam int ROUND = N > 1 ? $clog2(N) : 1;
  localparam int LANE = F > 1 ? $clog2(F) : 1;
  localparam int SLOT = 4 + ROUND + LANE;
  localparam int WINDOW = 5 + 2 * SLOTS;
  localparam int LOAD = $clog2(R * N + 1);
  localparam int DRAIN = $clog2(R * F + 1);

  logic go, ws, hidden, double_weights, double_accumulators;
  logic [$clog2(N+1)-1:0] n;
  logic [$clog2(M+1)-1:0] m;
  logic [SLOTS-1:0] depth, ragged;
  logic [31:0] windows, tiles, strips, rows;
  always_ff @(posedge clk) begin
    go <= go_in;
    if (go_in) begin
      {ws, hidden} <= {ws_in, hidden_in};
      {double_weights, double_accumulators} <= {double_weights_in, double_accumulators_in};
      {n, m, depth, ragged} <= {n_in, m_in, depth_in, ragged_in};
      {windows, tiles, strips, rows} <= {windows_in, tiles_in, strips_in, rows_in};
    end
  end

  wire prime;
  wire [SLOTS-1:0] prime_slots;
  wire [WINDOW-1:0] window[0:R];
  wire [WINDOW-1:0] playing[0:R-1];
  wire [R-1:0] arrived, slots_done, rounds_done, tile_done;
  wire load_valid, load_bank, drain_valid, drain_bank;
  wire [LOAD-1:0] load_count;
  wire [DRAIN-1:0] drain_count;
  wire [SLOTS-1:0] drain_slots;
  wire [2+SLOTS+DRAIN-1:0] drain;
  stce_control #(
      .R(R),
      .C(C),
      .N(N),
      .F(F),
      .MUL_LATENCY(MUL_LATENCY),
      .ADD_LATENCY(ADD_LATENCY)
  ) control (
      .clk,
      .go,
      .ws,
      .hidden,
      .double_weights,
      .double_accumulators,
      .n,
      .depth,
      .ragged,
      .windows,
      .tiles,
      .strips,
      .arrived(arrived[0]),
      .slots_done(slots_done[0]),
      .rounds_done(rounds_done[0]),
      .top(playing[0]),
      .top_done(tile_done[0]),
      .bottom(playing[R-1]),
      .bottom_done(tile_done[R-1]),
      .prime,
      .prime_slots,
      .window(window[0]),
      .load({load_valid, load_bank, load_count}),
      .drain,
      .finished
  );
  delay #(2 + SLOTS + DRAIN, R - 1 + MUL_LATENCY + ADD_LATENCY - 1) wait_sums (
      clk, drain, {drain_valid, drain_bank, drain_slots, drain_count}
  );

  for (genvar r = 0; r < R; r++) begin : g_row
    wire [SLOT-1:0] slot;
    wire [16*M-1:0] activations;
    row_edge #(
        .M(M),
        .N(N),
        .F(F),
        .PORT(PORT),
        .ADD_LATENCY(ADD_LATENCY)
    ) left (
        .clk,
        .ws,
        .n,
        .m,
        .depth,
        .prime,
        .prime_slots,
        .window_in(window[r]),
        .window_out(window[r+1]),
        .playing(playing[r]),
        .fetch(fetch[r]),
        .fetched(fetched[16*PORT*r+:16*PORT]),
        .arrived(arrived[r]),
        .slots_done(slots_done[r]),
        .rounds_done(rounds_done[r]),
        .tile_done(tile_done[r]),
        .slot,
        .activations
    );

    // Weights for the bottom row enter first. They go down one row a cycle, so this row's pass by at these counts:
    wire [LOAD-1:0] round = load_count - LOAD'(R - 1 - r) * (LOAD'(n) - 1'b1) - LOAD'(R - 1);
    wire [2+ROUND-1:0] load = {load_valid && round < LOAD'(n), load_bank, round[ROUND-1:0]};
    // Sums of the bottom row leave first. This row puts its own on the way at these counts:
    wire [DRAIN-1:0] lane = drain_count - DRAIN'(R - 1 - r) * (DRAIN'(drain_slots) - 1'b1);
    wire [2+LANE-1:0] drain_lane = {
      drain_valid && lane < DRAIN'(drain_slots), drain_bank, lane[LANE-1:0]
    };
  end

  for (genvar c = 0; c < C; c++) begin : g_column
    // Top: in WS a weight a cycle while loading, in OS a weight a round, held until the next
    wire loading;
    delay #(1, c) skew_load (clk, load_valid, loading);
    wire [SLOT-1:0] slot;
    wire new_round = slot[SLOT-1] && slot[LANE-1:0] == 0;
    assign take[c] = ws ? loading : new_round;
    logic [16+INDEX-1:0] held;
    wire [16+INDEX-1:0] weight = take[c] ? taken[(16+INDEX)*c+:16+INDEX] : held;
    always_ff @(posedge clk) held <= weight;

    wire draining, sum_last;
    wire [31:0] sum, drained;
    delay #(1, c) skew_drain (clk, drain_valid, draining);
    column_buffer #(BUFFER_ROWS) bottom (
        .clk,
        .ws,
        .rows,
        .tiles,
        .valid_in(ws ? sum_last : draining),
        .in(ws ? sum : drained),
        .valid_out(valid[c]),
        .out(result[32*c+:32])
    );
  end

  // Each PE with what goes on from it; its inputs are its neighbours' or an edge's
  for (genvar r = 0; r < R; r++) begin : g_pe_row
    for (genvar c = 0; c < C; c++) begin : g_pe
      wire [SLOT-1:0] slot_in, slot_out;
      wire [2+ROUND-1:0] load_in, load_out;
      wire [2+LANE-1:0] drain_in, drain_out;
      wire [16*M-1:0] activations_in, activations_out;
      wire [16+INDEX-1:0] weight_in, weight_out;
      wire [31:0] sum_in, sum, drained_in, drained_out;
      wire sum_last;
      if (c == 0) begin : g_left
        assign slot_in = g_row[r].slot;
        assign load_in = g_row[r].load;
        assign drain_in = g_row[r].drain_lane;
        assign activations_in = g_row[r].activations;
      end else begin : g_inside
        assign slot_in = g_pe_row[r].g_pe[c-1].slot_out;
        assign load_in = g_pe_row[r].g_pe[c-1].load_out;
        assign drain_in = g_pe_row[r].g_pe[c-1].drain_out;
        assign activations_in = g_pe_row[r].g_pe[c-1].activations_out;
      end
      if (r == 0) begin : g_top
        assign g_column[c].slot = slot_in;
        assign weight_in = g_column[c].weight;
        assign sum_in = 0;
        assign drained_in = 0;
      end else begin : g_below
        assign weight_in = g_pe_row[r-1].g_pe[c].weight_out;
        assign sum_in = g_pe_row[r-1].g_pe[c].sum;
        assign drained_in = g_pe_row[r-1].g_pe[c].drained_out;
      end
      if (r == R - 1) begin : g_bottom
        assign g_column[c].sum = sum;
        assign g_column[c].sum_last = sum_last;
        assign g_column[c].drained = drained_out;
      end
      uspe #(
          .M(M),
          .N(N),
          .F(F),
          .MUL_LATENCY(MUL_LATENCY),
          .ADD_LATENCY(ADD_LATENCY)
      ) pe (
          .clk,
          .ws,
          .slot_in,
          .load_in,
          .drain_in,
          .activations_in,
          .weight_in,
          .sum_in,
          .drained_in,
          .slot_out,
          .load_out,
          .drain_out,
          .activations_out,
          .weight_out,
          .sum_last,
          .sum,
          .drained_out
      );
    end
  end
endmodule
