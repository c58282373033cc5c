"""Published measurements of FPGA accelerators beside the simulator's figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codesign.energy.estimate import energy_of
from codesign.energy.sources import load_energy_table
from codesign.headline import PUBLISHED_NM, PUBLISHED_SPEEDUP, headline, mean_speedup
from codesign.simulate import simulate
from codesign.units import cycles_to_seconds
from codesign.validate.row import Comparison, Row, Span, beside
from hw_models.arch import Arch, load_arch
from workloads.catalog import load

TEXT = """\
**Large GEMMs.** AutoSA generates FP32 systolic arrays for an Alveo U250 card, with four channels of DDR4-2400 like
the VCU1525 (unverified); its documentation states array, clock, problem and time on the card. Ours is `sat.yaml`
with as many MACs, that clock, FP32 operands and the FP32 multiplier's latency (4 cycles), dense, the whole forward
product from first load to last store. Comparable: MACs, clock, problem, memory. Not comparable: AutoSA's elements
add up 8 products at a time, and array and tiles were chosen for these very problems. Ours pays for edges: the
buffer tiles of the GEMM are not whole multiples of the array's, so that their last array tiles have fewer outputs
than the adder is deep and wait for it; the convolution's 512 outputs fill 4.6 of 5 strips of 112 columns. At 146
MHz, the same design before floorplanning, AutoSA reaches less of its peak than at 300 MHz, which our model does
not explain.

gemm_hls states its throughput on a VCU1525 but neither clock nor array beside it, so only orders of magnitude
compare: 1,024 elements at 200 MHz, whose peak is 410 GFLOP/s in either precision, on a product of 4096 x 4096 x
4096.

**SAT.** The published speedup is an average over the paper's own networks, batch sizes and memory system, which are
not all public; ours is the mean of `codesign headline`. The published gain over earlier FPGA trainers is a range
over a set of accelerators that is not public either. Beside it stand ours against two with a public figure:
throughput as dense-equivalent operations a second (all that dense training would execute) at 2:8, over the networks
of the headline. Those two run other networks (small CNNs, VGG-16), other precisions (FP32; 16-bit fixed point) and
other cards (ZCU102; Stratix 10), so the ratio says how large the machine is, not how good. Energy compares with one
of them only, because the FPGA's energy factor was calibrated on the other; its power (50.5 W) is recalled from the
paper, unverified; ours leaves out the card (shell, PCIe, fans).
"""

AUTOSA = "AutoSA on U250"
SAT = "SAT, TCAD 2023, abstract"


@dataclass(frozen=True)
class Measured:
    """A product that AutoSA measured on the card (docs/examples of UCLA-VAST/AutoSA), on `rows` x `cols` MACs."""

    name: str
    workload: str
    rows: int
    cols: int
    clock_hz: int
    gflops: float

    @property
    def efficiency(self) -> float:
        """Of its own peak, two operations a MAC."""
        return self.gflops * 1e9 / (2 * self.rows * self.cols * self.clock_hz)


CONV_CSV = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
    "conv, 58, 58, 3, 3, 512, 512, 1,\n"
)
"""14.797 GFLOP: 932.714 GFLOP/s times 15.865 ms, as AutoSA reports."""

MEASURED = (
    # mm_large.rst (read in the fork mfkiwl/AutoSA-SystolicArray @699742e): 13 x 16 elements of 8 lanes;
    # 2.181 GFLOP = 938.658 GFLOP/s times 2.32357 ms
    Measured("FP32 GEMM 1040x1024x1024, 300 MHz", "gemm:1040x1024x1024", 13, 128, 300_000_000, 938.658),
    Measured("FP32 GEMM 1040x1024x1024, 146 MHz", "gemm:1040x1024x1024", 13, 128, 146_000_000, 397.496),
    # cnn_large.rst @29615a4: 1792 MACs (8960 DSP, 5 each)
    Measured("FP32 convolution 512x56x56, 265 MHz", "conv.csv", 16, 112, 265_000_000, 932.714),
)

FP32: dict[str, Any] = {
    "precision.operand_bits": 32,
    "array.multiplier_latency_cycles": 4,
    "array.sparsity": [],
}
"""Multiplier: fmul_32ns_32ns_32_5_max_dsp, LATENCY 4, public Vitis HLS output."""

GEMM_HLS = {"half": (462, {"array.sparsity": []}), "single": (301, FP32)}
"""GFLOP/s on a VCU1525: README of spcl/gemm_hls @01fc8a7."""

FPL19 = "Venkataramanaiah (16 bit, Stratix 10)"
EARLIER = {"EF-Train (FP32, ZCU102)": 46.99, FPL19: 479.0}
"""GOP/s: Tang et al., "EF-Train", 2022; Venkataramanaiah et al., FPL 2019."""

FPL19_GOPS_PER_WATT = 479 / 50.5
"""The power is unverified."""

PUBLISHED_THROUGHPUT, PUBLISHED_EFFICIENCY = Span(2.97, 25.22), Span(1.36, 3.58)


def run(tools: Path) -> Iterator[Row]:
    """Large GEMMs, then SAT."""
    with TemporaryDirectory() as name:
        conv = Path(name) / "conv.csv"
        conv.write_text(CONV_CSV)
        for case in MEASURED:
            yield _efficiency(case, {"conv.csv": str(conv)}.get(case.workload, case.workload))
    yield from _gemm_hls()
    yield from _sat(load_arch("sat.yaml"))


def _efficiency(case: Measured, workload: str) -> Row:
    sizes = {"array.rows": case.rows, "array.cols": case.cols, "clock_hz": case.clock_hz}
    arch = load_arch("sat.yaml").with_overrides(FP32 | sizes)
    cycles, macs = _forward(arch, workload)
    ours = macs / (cycles * arch.peak_macs_per_cycle)
    note = "share of peak; see text"
    return beside(case.name, AUTOSA, 100 * case.efficiency, 100 * ours, "%", note)


def _gemm_hls() -> Iterator[Row]:
    for precision, (gflops, changes) in GEMM_HLS.items():
        arch = load_arch("sat.yaml").with_overrides(changes)
        cycles, macs = _forward(arch, "gemm:4096x4096x4096")
        ours = 2 * macs / cycles_to_seconds(cycles, arch.clock_hz) / 1e9
        note = "their array and clock are not stated; ours: 32 x 32 at 200 MHz"
        yield beside(f"large GEMM, {precision}", "gemm_hls on VCU1525", gflops, ours, "GFLOP/s", note)


def _forward(arch: Arch, workload: str) -> tuple[int, int]:
    """Cycles and MACs of the forward product, which comes first, from first load to last store."""
    result = simulate(arch, load(workload, batch=None if workload.startswith("gemm") else 1), method="dense")
    product = result.ops[0]
    return product.end_cycle, product.macs


def _sat(arch: Arch) -> Iterator[Row]:
    results = list(headline(arch, batch=64, nm=PUBLISHED_NM))
    ours = mean_speedup(results)
    yield beside(
        f"mean {PUBLISHED_NM} speedup", SAT, PUBLISHED_SPEEDUP, ours, "x", "other networks and batches"
    )
    gops = [result.gops(result.total.dense_macs, result.total_cycles) for result in results]
    for name, theirs in EARLIER.items():
        ratio = Span(min(gops) / theirs, max(gops) / theirs)
        yield beside(
            f"throughput over {name}", SAT, PUBLISHED_THROUGHPUT, ratio, "x", "other networks and cards"
        )
    table = load_energy_table(arch, "fpga16")
    per_watt = [energy_of(result, table).dense_equivalent_gops_per_watt for result in results]
    low, high = min(each.low for each in per_watt), max(each.high for each in per_watt)
    ratio = Span(low / FPL19_GOPS_PER_WATT, high / FPL19_GOPS_PER_WATT)
    note = "ours without the card; wide because the FPGA's energy factors are"
    yield beside(f"energy efficiency over {FPL19}", SAT, PUBLISHED_EFFICIENCY, ratio, "x", note)


COMPARISON = Comparison("Published: large GEMMs, SAT", TEXT, run)
