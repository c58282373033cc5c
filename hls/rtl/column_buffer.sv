// The accumulating buffer under one column. In WS it adds the results of the tiles of a strip, row by row of i, and
// hands on those of the last tile; in OS a tile is complete and passes.
module column_buffer #(
    parameter int ROWS = 1024
) (
    input wire clk,
    input wire ws,
    input wire [31:0] rows,  // of i, at most ROWS
    input wire [31:0] tiles,
    input wire valid_in,
    input wire [31:0] in,
    output wire valid_out,
    output wire [31:0] out
);
  localparam int ADDRESS = $clog2(ROWS);
  logic [31:0] totals[0:ROWS-1];
  logic [31:0] row = 0, tile = 0;
  wire last_row = row == rows - 1;
  wire last_tile = tile == tiles - 1;
  wire [31:0] total;
  fp32_add adder (clk, totals[row[ADDRESS-1:0]], in, total);

  assign out = ws && tile != 0 ? total : in;
  assign valid_out = valid_in && (!ws || last_tile);
  always_ff @(posedge clk) begin
    if (ws && valid_in) begin
      totals[row[ADDRESS-1:0]] <= out;
      row <= last_row ? 0 : row + 1;
      if (last_row) tile <= last_tile ? 0 : tile + 1;
    end
  end
endmodule
