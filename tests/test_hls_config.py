"""`config.hpp` of an architecture, and the rules that the kernels hold it to."""

import re
import subprocess
from pathlib import Path

import pytest
from hls_builds import small

from codesign.errors import ExportError
from codesign.nm.format import NM
from hls.config import KernelConfig, Tile
from hls.toolchain import HLS, Toolchain
from hw_models.arch import load_arch
from hw_models.timing import Dataflow

GPP = Toolchain.default()


def constants(header: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"uint32_t (\w+) = (\d+);", header)}


def test_constants_of_the_packaged_architecture() -> None:
    header = KernelConfig.of(load_arch("sat.yaml")).header()
    copied = {"ROWS": 32, "COLS": 32, "GROUP": 8, "INTERLEAVE": 8}
    latencies = {"MULTIPLIER_LATENCY": 3, "ACCUMULATOR_LATENCY": 8}
    lanes = {"SORE_LANES": 32, "WUVE_LANES": 32, "VECTOR_LANES": 32}
    assert constants(header) == copied | latencies | lanes | {
        "MAX_N": 8,
        "MAX_M": 16,
        "PORT": 4,  # 64 bits of FP16
        "ACT_DEPTH": 32768,  # 4 MiB / 2 halves / 32 rows / 2 bytes
        "WEIGHT_DEPTH": 16384,  # 2 MiB / 2 / 32 columns / 2
        "OUT_DEPTH": 16384,  # 4 MiB / 2 / 32 columns / 4
        "VECTOR_DEPTH": 4096,  # 512 KiB / 2 / 32 lanes / 2
        "UPDATE_DEPTH": 1638,  # 1 MiB / 2 / 32 lanes / 10 = 1638.4
        "AXI_BYTES": 64,
    }
    assert (
        "SPARSITY[] = {{1, 2}, {2, 4}, {1, 4}, {2, 8}, {1, 8}, {4, 8}, {2, 16}, {1, 16}, {4, 16}, {8, 8}};"
        in header
    )
    assert "bool DATAFLOW_WS = true;" in header
    assert "bool DATAFLOW_OS = true;" in header


def test_constants_follow_the_ratios_and_the_switches() -> None:
    found = constants(small(4, "1:4", array__weight_registers=2, optimizations__interleave=False).header())
    assert (found["GROUP"], found["MAX_N"], found["MAX_M"], found["INTERLEAVE"]) == (2, 2, 4, 1)
    assert "bool DATAFLOW_OS = false;" in small(4, array__dataflows=["ws"]).header()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"precision.operand_bits": 32}, r"precision of \(32, 32, 32\) bits .* \(16, 32, 32\)"),
        ({"buffers.weight.double_buffered": False}, r"buffers\.weight has one half"),
        ({"array.sparsity": ["2:6"]}, "6 values: the kernels need powers of two"),
        ({"array.weight_registers": 12}, "12 values: the kernels need powers of two"),
        ({"array.activation_port_bits": 48}, "3 values: the kernels need powers of two"),
        ({"buffers.update.capacity_bytes": 512}, r"buffers\.update: .* raise capacity_bytes"),
    ],
)
def test_what_the_kernels_cannot_be_built_for_is_refused(overrides: dict[str, object], message: str) -> None:
    arch = load_arch("sat.yaml").with_overrides(overrides)
    with pytest.raises(ExportError, match=message):
        KernelConfig.of(arch)


@pytest.mark.parametrize(
    ("flow", "rows_i", "groups", "cols_j", "fits"),
    [
        # activations: 4 MiB / 2 / 4 rows / 2 = 262144 values in a bank
        (Dataflow.WS, 8192, 4 * 4, 1, True),  # 8192 x 4 groups of 8
        (Dataflow.WS, 8192, 4 * 4 + 1, 1, False),
        (Dataflow.OS, 4 * 1024, 32, 1, True),  # 1024 x 32 groups of 8
        (Dataflow.OS, 4 * 1024 + 1, 32, 1, False),
        # weights: 2 MiB / 2 / 4 columns / 2 = 131072 values in a bank
        (Dataflow.OS, 1, 32768, 4 * 2, True),  # 2 strips x 32768 groups of 2
        (Dataflow.OS, 1, 32768, 4 * 2 + 1, False),
        # results: 4 MiB / 2 / 4 columns / 4 = 131072 values in a bank
        (Dataflow.OS, 1024, 1, 4 * 128, True),
        (Dataflow.OS, 1024, 1, 4 * 128 + 1, False),
    ],
)
def test_a_tile_fits_if_its_fullest_banks_do(
    flow: Dataflow, rows_i: int, groups: int, cols_j: int, fits: bool
) -> None:
    assert small(4, "2:8").fits(Tile(flow, NM(2, 8), rows_i, groups, cols_j)) is fits


@pytest.mark.skipif(not GPP.available, reason="needs a C++ compiler")
@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("ROWS", 0, "the array needs rows"),
        ("ACCUMULATOR_LATENCY", 1, "latencies of pipelined operators"),
        ("MAX_N", 1, "SPARSITY"),
        ("MAX_M", 8, "SPARSITY"),
        ("GROUP", 6, "a dense group"),
        ("MAX_M", 512, "an index is a byte"),
        ("PORT", 3, "powers of two"),
        ("ACT_DEPTH", 30, "whole beats"),
        ("OUT_DEPTH", 0, "at least one group"),
    ],
)
def test_a_header_that_breaks_a_rule_does_not_compile(
    name: str, value: int, rule: str, tmp_path: Path
) -> None:
    header = small(4, "2:4", "2:16").header()
    broken, changes = re.subn(rf"({name}) = \d+", rf"\1 = {value}", header)
    assert changes == 1
    (tmp_path / "config.hpp").write_text(broken)
    folders = [f"-I{folder}" for folder in (tmp_path, HLS / "kernels", HLS / "csim")]
    source = HLS / "kernels" / "types.hpp"
    command = [GPP.compiler, "-std=c++14", "-fsyntax-only", "-x", "c++", *folders, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert re.search(f"static.assert.*{rule}", done.stderr)
