// One lane of the sparsifier: a streaming top-N sorter. One FP16 value a cycle, M cycles a group, groups back to back.
//
// The values kept so far lie in the order of their indices. A new value replaces the weakest of them, of equals the
// one with the highest index, if it is stronger; so of equal magnitudes the lowest index is kept. Infinity ranks above
// every number, NaN above infinity, all NaNs alike; signs do not count. Kept values keep their bits.
// The cycle after the last value of a group `done` is high and `values`, `indices` hold what is kept, ascending in
// index, the first one lowest.
module sore_lane #(
    parameter int N = 4,
    parameter int M = 16,
    localparam int INDEX = M > 1 ? $clog2(M) : 1
) (
    input wire clk,
    input wire [$clog2(N+1)-1:0] n,  // 1 <= n <= N, n <= m
    input wire [$clog2(M+1)-1:0] m,
    input wire valid,
    input wire [15:0] value,
    output logic done,
    output logic [16*N-1:0] values,
    output logic [INDEX*N-1:0] indices
);
  localparam int COUNT = $clog2(N + 1);
  logic [INDEX-1:0] index = 0;  // of the value that comes next
  wire last_of_group = index == INDEX'(m - 1'b1);
  wire full = 32'(index) >= 32'(n);
  wire [COUNT-1:0] back = full ? n - 1'b1 : COUNT'(index);  // where a new value goes

  function automatic [14:0] key(input [15:0] bits);
    key = bits[14:0] > 15'h7c00 ? 15'h7c01 : bits[14:0];
  endfunction

  logic [COUNT-1:0] gap;  // that the weakest would leave
  logic [14:0] weakest;
  always_comb begin
    gap = 0;
    weakest = key(values[15:0]);
    for (int e = 1; e < N; e++) begin
      if (e < 32'(n) && key(values[16*e+:16]) <= weakest) begin
        gap = COUNT'(e);
        weakest = key(values[16*e+:16]);
      end
    end
  end
  wire take = valid && (!full || key(value) > weakest);

  always_ff @(posedge clk) begin
    done <= valid && last_of_group;
    if (valid) index <= last_of_group ? '0 : index + 1'b1;
    for (int e = 0; e < N; e++) begin
      if (take && e == 32'(back)) begin
        values[16*e+:16] <= value;
        indices[INDEX*e+:INDEX] <= index;
      end else if (take && full && e >= 32'(gap) && e < N - 1) begin
        values[16*e+:16] <= values[16*((e+1)%N)+:16];
        indices[INDEX*e+:INDEX] <= indices[INDEX*((e+1)%N)+:INDEX];
      end
    end
  end
endmodule
