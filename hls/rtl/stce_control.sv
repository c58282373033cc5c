// Sequences a GEMM over the array: starts the windows of PE(0, 0), the weight loads and the drains.
//
// Tiles come in strips, `strips` times `tiles` of them: WS for j, for k; OS for j, for i. A tile has `windows` windows of
// `depth` slots, in WS along i, in OS along k. Along i the last one may be ragged: in WS the last window of every tile,
// in OS all windows of the last tile of a strip have `ragged` slots.
//
// Everything is in the time of PE(0, 0); the drain of the columns begins DRAIN_DELAY cycles later.
module stce_control #(
    parameter int R = 2,
    parameter int C = 2,
    parameter int N = 8,
    parameter int F = 8,
    parameter int MUL_LATENCY = 3,
    parameter int ADD_LATENCY = 8,
    localparam int SLOTS = $clog2(F + 1),
    localparam int WINDOW = 5 + 2 * SLOTS,
    localparam int LOAD = $clog2(R * N + 1),
    localparam int DRAIN = $clog2(R * F + 1),
    localparam int DRAIN_DELAY = R - 1 + MUL_LATENCY + ADD_LATENCY - 1
) (
    input wire clk,
    input wire go,
    input wire ws,
    input wire hidden,  // tiles overlap; else each begins when the last result of the one before has left
    input wire double_weights,
    input wire double_accumulators,
    input wire [$clog2(N+1)-1:0] n,
    input wire [SLOTS-1:0] depth,
    input wire [SLOTS-1:0] ragged,
    input wire [31:0] windows,
    input wire [31:0] tiles,
    input wire [31:0] strips,
    input wire arrived,  // of the top row: its next window may be played, ...
    input wire slots_done,
    input wire rounds_done,
    input wire [WINDOW-1:0] top,  // the window it plays, ...
    input wire top_done,  // ... and that its last slot of a tile is issued now
    input wire [WINDOW-1:0] bottom,  // the same of the bottom row
    input wire bottom_done,
    output wire prime,
    output wire [SLOTS-1:0] prime_slots,
    output wire [WINDOW-1:0] window,  // to the top row, see row_edge
    output wire [2+LOAD-1:0] load,  // {valid, bank, count}: weights enter the columns, R * n cycles
    output wire [2+SLOTS+DRAIN-1:0] drain,  // {valid, bank, slots, count}: sums leave them, R * slots cycles
    output wire finished  // in the last cycle
);
  wire top_start, top_first, top_last, top_follows, top_bank;
  wire bottom_start, bottom_first, bottom_last, bottom_follows, bottom_bank;
  wire [SLOTS-1:0] top_slots, top_next, bottom_slots, bottom_next;
  assign {top_start, top_first, top_last, top_follows, top_bank, top_slots, top_next} = top;
  assign {bottom_start, bottom_first, bottom_last, bottom_follows, bottom_bank, bottom_slots, bottom_next} = bottom;

  // The window to be started next, and the slots of the one after it
  logic [31:0] window_count = 0, tile_count = 0, strip_count = 0;
  wire first_window = window_count == 0;
  wire last_window = window_count == windows - 1;
  wire last_tile = tile_count == tiles - 1;
  wire follows = !(last_tile && strip_count == strips - 1);
  wire [31:0] next_window = last_window ? 0 : window_count + 1;
  wire [31:0] next_tile = !last_window ? tile_count : last_tile ? 0 : tile_count + 1;
  function automatic [SLOTS-1:0] slots_of(input [31:0] in_tile, input [31:0] in_strip);
    slots_of = (ws ? in_tile == windows - 1 : in_strip == tiles - 1) ? ragged : depth;
  endfunction
  assign prime_slots = slots_of(window_count, tile_count);
  wire fetch_next = !last_window || (follows && hidden);

  logic open = 0;  // the tile may begin
  logic bank = 0;
  logic weights_in = 0, drained = 0;
  wire array_free = ws || first_window ? slots_done : rounds_done;
  wire weights_free = !ws || !first_window || weights_in;
  wire sums_free = ws || drained || !(double_accumulators ? last_window : first_window);
  wire start = open && arrived && array_free && weights_free && sums_free;
  assign window = {
    start,
    first_window,
    last_window,
    follows,
    bank && (ws ? double_weights : double_accumulators),
    prime_slots,
    fetch_next ? slots_of(next_window, next_tile) : SLOTS'(0)
  };
  always_ff @(posedge clk) begin
    if (start) begin
      window_count <= next_window;
      tile_count   <= next_tile;
      if (last_window && last_tile) strip_count <= follows ? strip_count + 1 : 0;
    end
    open <= prime || (open && !(start && last_window && !(follows && hidden)));
    bank <= !go && (bank ^ (start && last_window));
  end

  // Loads: the first with the tile; then doubled registers when the bottom row has switched, others when it is done
  logic load_pending = 0, loading = 0, load_bank = 0;
  logic [LOAD-1:0] load_count = 0;
  wire switched = ws && hidden && double_weights && bottom_start && bottom_first && bottom_follows;
  wire released = hidden && !double_weights && bottom_done && bottom_follows;
  wire load_start = load_pending || switched;
  wire load_now = load_start || loading;
  wire load_last = load_now && 32'(load_count) == R * 32'(n) - 1;
  assign load = {load_now, load_bank && double_weights, load_count};
  always_ff @(posedge clk) begin
    load_pending <= ws && (prime || released);
    loading <= load_now && !load_last;
    load_count <= load_last ? '0 : load_count + LOAD'(load_now);
    load_bank <= !go && (load_bank ^ load_last);
    weights_in <= load_last || (weights_in && !(start && first_window));
  end

  // Drains. Like the slots they are counted as PE(0, 0) would see them; the array is as far behind as with the slots,
  // so that sums of the next tile find its accumulators empty.
  logic draining = 0;
  logic [2+SLOTS-1:0] drained_tile = 0;
  logic [DRAIN-1:0] drain_count = 0;
  wire drain_follows, drain_bank;
  wire [SLOTS-1:0] drain_slots;
  assign {drain_follows, drain_bank, drain_slots} = drained_tile;
  wire drain_last = draining && 32'(drain_count) == R * 32'(drain_slots) - 1;
  assign drain = {draining, drain_bank, drain_slots, drain_count};
  always_ff @(posedge clk) begin
    if (top_done && !ws) drained_tile <= {top_follows, top_bank, top_slots};
    draining <= (top_done && !ws) || (draining && !drain_last);
    drain_count <= drain_last ? '0 : drain_count + DRAIN'(draining);
    drained <= go || drain_last || (drained && !(start && last_window));
  end

  // The last cycle before a tile's last result has left the last column
  wire left_ws, follows_ws, left_os, follows_os;
  delay #(2, C - 1 + MUL_LATENCY + ADD_LATENCY - 1) last_sum (
      clk, {bottom_done && ws, bottom_follows}, {left_ws, follows_ws}
  );
  delay #(2, DRAIN_DELAY + C - 1) last_drained (
      clk, {drain_last, drain_follows}, {left_os, follows_os}
  );
  wire left = left_ws || left_os;
  wire left_follows = left_ws ? follows_ws : follows_os;
  assign prime = go || (left && left_follows && !hidden);
  assign finished = left && !left_follows;
endmodule
