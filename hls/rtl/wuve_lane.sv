// One lane of the weight update engine: SGD with momentum and weight decay, in the order of torch.optim.SGD. One
// parameter a cycle through a chain of three FP32 multiply-adds, each operation rounded by itself:
//
//   g = weight_decay * w + gradient            the gradient FP16, exact in FP32
//   m = momentum * m + g
//   w = -learning_rate * m + w                 and an FP16 copy of w
//
// Results follow their operands after 3 * (MUL_LATENCY + ADD_LATENCY) cycles.
module wuve_lane #(
    parameter int MUL_LATENCY = 4,
    parameter int ADD_LATENCY = 8
) (
    input wire clk,
    input wire [31:0] weight_decay,
    input wire [31:0] momentum,
    input wire [31:0] learning_rate,
    input wire [15:0] gradient,
    input wire [31:0] w,
    input wire [31:0] m,
    output wire [31:0] w_new,
    output wire [31:0] m_new,
    output wire [15:0] w_half
);
  localparam int STEP = MUL_LATENCY + ADD_LATENCY;

  wire [31:0] gradient_single, g, m_late, m_sum, w_late;
  fp_mul widen (clk, gradient, 16'h3c00, gradient_single);  // times one

  fp32_multiply_add #(MUL_LATENCY, ADD_LATENCY) decay (clk, weight_decay, w, gradient_single, g);

  delay #(32, STEP) wait_m (clk, m, m_late);
  fp32_multiply_add #(MUL_LATENCY, ADD_LATENCY) average (clk, momentum, m_late, g, m_sum);

  delay #(32, 2 * STEP) wait_w (clk, w, w_late);
  wire [31:0] rate = {!learning_rate[31], learning_rate[30:0]};
  fp32_multiply_add #(MUL_LATENCY, ADD_LATENCY) move (clk, rate, m_sum, w_late, w_new);

  delay #(32, STEP) wait_m_sum (clk, m_sum, m_new);
  fp32_to_fp16 to_half (w_new, w_half);
endmodule
