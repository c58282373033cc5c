"""The reference RTL of `hls/rtl`: simulated in Verilator, given faults to catch, measured in Yosys."""
