// The left edge of one row: its window buffer, and the counters that play it.
//
// A *window* is `slots` activation vectors of m values. Once started it is played in n rounds, each through all its
// vectors, one slot a cycle. Rounds start `pace` cycles apart: when the sums of the round before are ready. Meanwhile
// the next window is fetched; `prime` orders the very first.
//
// The row below starts the same window one cycle later in OS, and in WS when the sums of the last round are ready.
module row_edge #(
    parameter int M = 8,
    parameter int N = 8,
    parameter int F = 8,
    parameter int PORT = 4,
    parameter int ADD_LATENCY = 8,
    localparam int SLOTS = $clog2(F + 1),
    localparam int ROUND = N > 1 ? $clog2(N) : 1,
    localparam int LANE = F > 1 ? $clog2(F) : 1,
    localparam int WINDOW = 5 + 2 * SLOTS
) (
    input wire clk,
    input wire ws,
    input wire [$clog2(N+1)-1:0] n,
    input wire [$clog2(M+1)-1:0] m,
    input wire [SLOTS-1:0] depth,  // slots of a full window in WS
    input wire prime,
    input wire [SLOTS-1:0] prime_slots,
    input wire [WINDOW-1:0] window_in,  // {start, first and last of its tile, a tile follows, bank, slots, next slots}
    output wire [WINDOW-1:0] window_out,
    output wire [WINDOW-1:0] playing,
    output wire fetch,
    input wire [16*PORT-1:0] fetched,
    output wire arrived,
    output wire slots_done,  // every slot of the last window has been issued
    output wire rounds_done,  // and a round may add to the same sums again
    output wire tile_done,  // the slot issued now is the last of its tile
    output wire [4+ROUND+LANE-1:0] slot,  // as in uspe
    output wire [16*M-1:0] activations
);
  localparam int TICK = $clog2((F > ADD_LATENCY ? F : ADD_LATENCY) + 1);

  // The window being played
  wire start = window_in[WINDOW-1];
  logic [WINDOW-2:0] window = 0;
  always_ff @(posedge clk) if (start) window <= window_in[WINDOW-2:0];
  assign playing = start ? window_in : {1'b0, window};
  wire first, last, follows, bank;
  wire [SLOTS-1:0] slots, next_slots;
  assign {first, last, follows, bank, slots, next_slots} = playing[WINDOW-2:0];

  // Rounds and, in each, `pace` ticks; the first `slots` ticks are slots
  logic active = 0;
  logic [ROUND-1:0] round_count = 0;
  logic [TICK-1:0] tick_count = 0;
  wire [ROUND-1:0] round = start ? '0 : round_count;
  wire [TICK-1:0] tick = start ? '0 : tick_count;
  wire [TICK-1:0] lanes = ws ? TICK'(depth) : TICK'(slots);
  wire [TICK-1:0] pace = lanes > TICK'(ADD_LATENCY) ? lanes : TICK'(ADD_LATENCY);
  wire last_round = round == ROUND'(n - 1'b1);
  wire last_tick = tick == pace - 1'b1;
  always_ff @(posedge clk) begin
    if (start || active) begin
      active <= !(last_round && last_tick || tile_done);
      round_count <= last_tick ? round + 1'b1 : round;
      tick_count <= last_tick ? '0 : tick + 1'b1;
    end
  end
  wire valid = (start || active) && tick < TICK'(slots);
  wire [LANE-1:0] lane = LANE'(tick);
  assign slot = {
    valid, round == 0 && (ws || first), last_round && (ws || last), bank, round, lane
  };
  assign rounds_done = !active;
  assign slots_done = !active || (round_count == ROUND'(n - 1'b1) && tick_count >= TICK'(window[2*SLOTS-1:SLOTS]));
  assign tile_done = valid && last && last_round && tick == TICK'(slots) - 1'b1;

  // To the row below
  wire [WINDOW-1:0] below_ws, below_os;
  wire last_round_starts = valid && last_round && tick == 0;
  delay #(WINDOW, ADD_LATENCY) wait_sums (
      clk, {last_round_starts, playing[WINDOW-2:0]}, below_ws
  );
  delay #(WINDOW, 1) wait_cycle (clk, window_in, below_os);
  assign window_out = ws ? below_ws : below_os;

  window_buffer #(
      .M(M),
      .F(F),
      .PORT(PORT)
  ) buffer (
      .clk,
      .m,
      .swap(start),
      .order(start || prime),
      .slots(start ? next_slots : prime_slots),
      .fetch,
      .fetched,
      .arrived,
      .lane,
      .activations
  );

`ifndef SYNTHESIS
  always_ff @(posedge clk) begin
    if (start && !arrived) $fatal(1, "window started before its values arrived");
    if (start && active && !slots_done) $fatal(1, "window started before the slots of the last one were issued");
  end
`endif
endmodule
