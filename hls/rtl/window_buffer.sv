// A row's activations in two halves: one is played, the port fills the other, PORT values a cycle.
//
// `swap` plays the half that was filled. `order` (with it, or alone for the very first window) has the other filled
// with the next `slots` vectors of m values, packed; the first of them come in the same cycle. `arrived` is high once
// all are in.
module window_buffer #(
    parameter int M = 8,
    parameter int F = 8,
    parameter int PORT = 4,
    localparam int SLOTS = $clog2(F + 1),
    localparam int LANE = F > 1 ? $clog2(F) : 1
) (
    input wire clk,
    input wire [$clog2(M+1)-1:0] m,
    input wire swap,
    input wire order,
    input wire [SLOTS-1:0] slots,
    output wire fetch,
    input wire [16*PORT-1:0] fetched,
    output wire arrived,
    input wire [LANE-1:0] lane,
    output wire [16*M-1:0] activations
);
  localparam int WORDS = (F * M + PORT - 1) / PORT;  // of a half
  localparam int ADDRESS = $clog2(2 * WORDS);
  localparam int VALUES = $clog2(F * M + 1);

  logic [16*PORT-1:0] words[0:2*WORDS-1];
  logic half = 0;
  wire playing = half ^ swap;

  logic [VALUES-1:0] ordered = 0;  // values
  logic [ADDRESS-1:0] filled = 0;  // words
  wire [VALUES-1:0] wanted = order ? VALUES'(slots) * VALUES'(m) : ordered;
  wire [ADDRESS-1:0] word = order ? '0 : filled;
  assign fetch = 32'(word) * PORT < 32'(wanted);
  assign arrived = ordered != 0 && 32'(filled) * PORT >= 32'(ordered);
  always_ff @(posedge clk) begin
    half <= playing;
    ordered <= wanted;
    filled <= word + ADDRESS'(fetch);
    if (fetch) words[word+(playing?'0 : ADDRESS'(WORDS))] <= fetched;
  end

  for (genvar v = 0; v < M; v++) begin : g_activation
    wire [31:0] place = 32'(lane) * 32'(m) + v;
    wire [16*PORT-1:0] holder = words[ADDRESS'(place/PORT)+(playing?ADDRESS'(WORDS) : '0)];
    assign activations[16*v+:16] = holder[16*(place%PORT)+:16];
  end
endmodule
