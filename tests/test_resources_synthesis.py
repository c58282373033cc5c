"""Structures of the resource model against Yosys: small Verilog, synthesised for UltraScale+ (needs `yosys`)."""

import re
import shutil
import subprocess

import pytest

from codesign.resources import Usage
from codesign.resources.primitives import comparator, delay_line, multiplexer, registers, small_memory, sorter
from codesign.resources.tables import tables

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys is not installed"),
]

LUTS_OF_CELL = {"RAM32M16": 8, "RAM64M8": 8, "SRL16E": 1, "SRLC32E": 1, **{f"LUT{n}": 1 for n in range(1, 7)}}
FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")

MULTIPLEXER = """
module {name}(input clk, input [{inputs}*16-1:0] d, input [$clog2({inputs})-1:0] s, output reg [15:0] q);
  always @(posedge clk) q <= d[s*16 +: 16];
endmodule"""

COMPARATOR = """
module {name}(input clk, input [{bits}-1:0] a, b, output reg q);
  always @(posedge clk) q <= a > b;
endmodule"""

MEMORY = """
module {name}(input clk, we, input [$clog2({depth})-1:0] wa, ra, input [31:0] d, output reg [31:0] q);
  (* ram_style = "distributed" *) reg [31:0] m [0:{depth}-1];
  always @(posedge clk) begin if (we) m[wa] <= d; q <= m[ra]; end
endmodule"""

DELAY = """
module {name}(input clk, reset, input [7:0] d, output reg [7:0] q);
  reg [8*({cycles}-1)-1:0] m;
  always @(posedge clk) begin m <= {{m, d}}; q <= reset ? 8'd0 : m[8*({cycles}-1)-1 -: 8]; end
endmodule"""

WIDEN = """
module {name}(input clk, input [15:0] a, output reg [31:0] q);  // FP16 to FP32, subnormals flushed
  wire zero = a[14:10] == 0, special = &a[14:10];
  wire [7:0] exponent = special ? 8'hff : zero ? 8'h0 : a[14:10] + 8'd112;
  always @(posedge clk) q <= {{a[15], exponent, zero ? 10'h0 : a[9:0], 13'h0}};
endmodule"""

NARROW = """
module {name}(input clk, input [31:0] a, output reg [15:0] q);  // FP32 to FP16, nearest even, subnormals flushed
  wire [7:0] e = a[30:23];
  wire [22:0] m = a[22:0];
  wire up = m[12] & (m[13] | |m[11:0]);
  wire [7:0] biased = e - 8'd112;
  wire [15:0] rounded = {{biased[4:0], m[22:13]}} + up;
  wire nan = &e & |m, huge = e > 8'd142 | (e == 8'd142 & &m[22:13] & up);
  always @(posedge clk) q <= {{a[31], nan ? 15'h7e00 : huge ? 15'h7c00 : e < 8'd113 ? 15'h0 : rounded[14:0]}};
endmodule"""

SORTER = """
module {name}(input clk, first, input [14:0] key, input [4:0] rest, output [{slots}*20-1:0] kept);
  genvar i;
  generate for (i = 0; i < {slots}; i = i + 1) begin: slot
    reg full;
    reg [19:0] item;
    wire insert = first | ~full | key > item[19:5], shift;
    wire [20:0] above;
    if (i == 0) begin assign shift = 1'b0; assign above = 21'd0; end
    else begin assign shift = slot[i-1].insert; assign above = {{slot[i-1].full & ~first, slot[i-1].item}}; end
    always @(posedge clk)
      if (shift) {{full, item}} <= above;
      else if (insert) {{full, item}} <= {{1'b1, key, rest}};
    assign kept[i*20 +: 20] = item;
  end endgenerate
endmodule"""

CASES: dict[str, tuple[str, dict[str, int], Usage]] = {
    **{
        f"multiplexer_{n}": (MULTIPLEXER, {"inputs": n}, multiplexer(n, 16) + registers(16))
        for n in (2, 3, 4, 8, 16, 32)
    },
    **{f"comparator_{n}": (COMPARATOR, {"bits": n}, comparator(n) + registers(1)) for n in (15, 32)},
    **{f"memory_{n}": (MEMORY, {"depth": n}, small_memory(n, 32)) for n in (8, 32, 64, 128)},
    **{f"sorter_{n}": (SORTER, {"slots": n}, sorter(n, 20, 15)) for n in (2, 4, 8)},
    "delay": (DELAY, {"cycles": 12}, delay_line(12, 8)),
    "widen": (WIDEN, {}, tables().pieces["fp16_to_fp32"].usage),
    "narrow": (NARROW, {}, tables().pieces["fp32_to_fp16"].usage),
}


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """LUTs and flip-flops of every case, each a module of its own below one top."""
    modules = [template.format(name=name, **sizes) for name, (template, sizes, _) in CASES.items()]
    instances = "\n".join(f"  (* keep *) {name} u_{name}();" for name in CASES)
    source = tmp_path_factory.mktemp("rtl") / "top.v"
    source.write_text("\n".join([*modules, "module top();", instances, "endmodule"]))
    script = f"read_verilog {source}; synth_xilinx -family xcup -noiopad -top top; stat"
    log = subprocess.run(
        ["yosys", "-p", script], capture_output=True, text=True, check=True, timeout=300
    ).stdout
    _, *reports = re.split(r"^=== (.+) ===$", log, flags=re.MULTILINE)
    return {name: _count(report) for name, report in zip(reports[::2], reports[1::2], strict=True)}


def _count(report: str) -> tuple[int, int]:
    cells = {cell: int(number) for cell, number in re.findall(r"^ +(\w+) +(\d+)$", report, re.MULTILINE)}
    luts = sum(LUTS_OF_CELL.get(cell, 0) * number for cell, number in cells.items())
    return luts, sum(cells.get(cell, 0) for cell in FLIP_FLOPS)


@pytest.mark.parametrize("name", CASES)
def test_synthesis_lies_within_the_interval(name: str, synthesised: dict[str, tuple[int, int]]) -> None:
    """To two LUTs, or a twentieth, and two flip-flops: enables and the like."""
    luts, flip_flops = synthesised[name]
    model = CASES[name][2]
    assert model.lut.low - 2 <= luts <= max(model.lut.high + 2, model.lut.high * 1.05)
    assert model.ff.low - 2 <= flip_flops <= model.ff.high + 2
