// CYCLES registers in a row; 0 is a wire.
module delay #(
    parameter int WIDTH = 1,
    parameter int CYCLES = 1
) (
    input wire clk,
    input wire [WIDTH-1:0] in,
    output wire [WIDTH-1:0] out
);
  for (genvar s = 0; s < CYCLES; s++) begin : g_stage
    logic [WIDTH-1:0] value;
    if (s == 0) begin : g_first
      always_ff @(posedge clk) value <= in;
    end else begin : g_next
      always_ff @(posedge clk) value <= g_stage[s-1].value;
    end
  end
  if (CYCLES == 0) begin : g_wire
    assign out = in;
  end else begin : g_registers
    assign out = g_stage[CYCLES-1].value;
  end
endmodule
