"""The compute cores of `hls/kernels` in C-simulation: every bit as `codesign.compute.reference` says.

What the testbenches are given is a golden file; they compare, and end with an error at the first difference.
"""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hls_builds import CACHE, RATIOS, small

from codesign.errors import ExportError
from codesign.nm.format import NM
from hls import block_golden, toolchain
from hls.block_golden import KINDS, golden, stce_case
from hls.config import KernelConfig, Tile
from hls.toolchain import HLS, ROOMS, Toolchain
from hw_models.timing import Dataflow

GPP = Toolchain.default()

pytestmark = pytest.mark.skipif(not GPP.available, reason="needs a C++ compiler")

Check = Callable[..., None]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Runs a block's testbench on golden data; ExportError if it finds a difference."""

    def run(block: str, config: KernelConfig, data: bytes, tools: Toolchain = GPP, root: Path = HLS) -> None:
        program = tools.build([f"tb/{block}_tb.cpp"], config.header(), CACHE, root)
        (tmp_path / "golden.bin").write_bytes(data)
        assert data
        toolchain.run(program, tmp_path / "golden.bin")

    return run


def check_blocks(check: Check, config: KernelConfig, tiles: int, tools: Toolchain = GPP) -> None:
    for name, data in golden(config, seed=1, tiles=tiles).items():
        check(name.removesuffix(".bin"), config, data, tools)


def test_all_cores_of_a_small_array(check: Check) -> None:
    check_blocks(check, small(4, *RATIOS), tiles=120)


def test_an_array_of_32_rows_and_columns(check: Check) -> None:
    config = small(32, *RATIOS)
    check("stce", config, golden(config, seed=2, tiles=40)["stce.bin"])


@pytest.mark.parametrize("flow", Dataflow)
def test_tiles_at_and_beside_the_edges_of_the_array(check: Check, flow: Dataflow) -> None:
    """Sizes of one, of a whole array tile or window, and of one more and less."""
    config, rng = small(4, *RATIOS), np.random.default_rng(3)
    rows = (1, 7, 8, 9) if flow is Dataflow.WS else (1, 31, 32, 33)
    tiles = [Tile(flow, NM(2, 4), i, q, j) for i in rows for q in (1, 3, 4, 5) for j in (1, 3, 4, 5)]
    check("stce", config, b"".join(stce_case(config, tile, "random", rng) for tile in tiles))


def test_sums_are_added_to_what_the_output_buffer_holds(check: Check) -> None:
    config, rng = small(4, *RATIOS), np.random.default_rng(4)
    tiles = [Tile(flow, nm, 20, 9, 7, clear=False) for flow in Dataflow for nm in config.ratios]
    check("stce", config, b"".join(stce_case(config, tile, kind, rng) for tile in tiles for kind in KINDS))


def test_golden_files_have_a_manifest_that_makes_them_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    block_golden.main([str(first), "--seed", "5", "--tiles", "2"])
    told = json.loads((first / "manifest.json").read_text())
    assert {name: sha256((first / name).read_bytes()).hexdigest() for name in told["sha256"]} == told[
        "sha256"
    ]
    _, _, module, _, *options = told["command"].split()
    assert module == block_golden.__name__
    block_golden.main([str(second), *options])
    assert (second / "manifest.json").read_bytes() == (first / "manifest.json").read_bytes()


def test_the_first_difference_is_reported_with_its_place(check: Check) -> None:
    config, rng = small(4, *RATIOS), np.random.default_rng(6)
    data = bytearray(stce_case(config, Tile(Dataflow.OS, NM(2, 8), 3, 2, 5), "random", rng))
    data[-4 * 8] ^= 1  # the eighth output from the end of 3 x 5, number 7, is [1, 2]
    with pytest.raises(ExportError, match=r"case\[0\] OS out\[1, 2\]: got 0x\w+ \(.*\), expected 0x\w+ \("):
        check("stce", config, bytes(data))


# -- other machines, other compilers ---------------------------------------------------------------------------------

slow = pytest.mark.slow


@slow
@pytest.mark.parametrize("size", [8, 16, 32])
def test_all_cores_of_larger_arrays(check: Check, size: int) -> None:
    check_blocks(check, small(size, *RATIOS), tiles=150)


@slow
@pytest.mark.parametrize(
    "overrides",
    [
        {"array__interleave_depth": 3},  # fewer lanes than the accumulator has stages
        {"array__interleave_depth": 32},
        {"optimizations__interleave": False},
        {"array__rows": 3, "array__cols": 7},
        {"array__activation_port_bits": 16},
        {"array__activation_port_bits": 256},  # 16 values: a beat may hold eight groups
        {"array__weight_registers": 16},
        {"array__dataflows": ["ws"]},
    ],
    ids=lambda overrides: next(iter(overrides.items()))[0] + "=" + str(next(iter(overrides.values()))),
)
def test_array_and_sorter_of_other_machines(check: Check, overrides: dict[str, object]) -> None:
    config = small(4, "1:2", *RATIOS, **overrides)
    files = golden(config, seed=1, tiles=100)
    for block in ("sore", "stce"):
        check(block, config, files[f"{block}.bin"])


@slow
def test_no_memory_error_and_no_undefined_behaviour(check: Check) -> None:
    check_blocks(check, small(8, *RATIOS), tiles=60, tools=Toolchain("g++", sanitize=True))


@slow
def test_another_compiler_gives_the_same(check: Check) -> None:
    found = [name for name in ("clang++", "clang++-16", "clang++-14") if shutil.which(name)]
    if not found:
        pytest.skip("needs clang++")
    check_blocks(check, small(8, *RATIOS), tiles=60, tools=Toolchain(found[0]))


# -- as Vitis sees it ------------------------------------------------------------------------------------------------

UNBOUNDED = """#include <queue>
#include <string>
namespace hls {
template <typename T> class stream {
 public:
  stream(const char* = "") {}
  void write(const T& value) { values_.push(value); }
  T read() { T value = values_.front(); values_.pop(); return value; }
 private:
  std::queue<T> values_;
};
}
"""


def copy_of_sources(folder: Path) -> Path:
    for room in ROOMS:
        shutil.copytree(HLS / room, folder / room)
    return folder


@slow
def test_plain_calls_over_unbounded_streams_give_the_same(check: Check, tmp_path: Path) -> None:
    """That is C-simulation with AMD's own headers."""
    root = copy_of_sources(tmp_path / "hls")
    (root / "csim" / "hls_stream.h").write_text("#pragma once\n" + UNBOUNDED)
    config = small(4, *RATIOS)
    check("stce", config, golden(config, seed=7, tiles=100)["stce.bin"], root=root)


# -- the tests catch faults ----------------------------------------------------------------------------------------

FAULTS = {
    "wrong index": ("stce", "uspe", "index % MAX_M", "(index ^ 1) % MAX_M"),
    "product rounded to FP16": (
        "stce",
        "uspe",
        "sum + product(weight, group.value[index % MAX_M]);",
        "sum + widen(narrow(product(weight, group.value[index % MAX_M])));",
    ),
    "sums of an OS pass not cleared": (
        "stce",
        "uspe",
        "(plan.ws || window == 0);",
        "(plan.ws || pass == 0);",
    ),
    "weights not held": ("stce", "uspe", "(!plan.ws || window == 0))", "true)"),
    "too few weights passed on": ("stce", "uspe", "group > 0 : row + 1 < ROWS", "group > 1 : row + 1 < ROWS"),
    "halves of the window buffer mixed up": ("stce", "uspe", "buffer[!played][lane]", "buffer[played][lane]"),
    "small groups of a beat mixed up": ("stce", "uspe", "(p + PORT - offset) % PORT", "p"),
    "rows without a group compute": (
        "stce",
        "plan",
        "pass * ROWS + row >= groups",
        "pass * ROWS + row > groups",
    ),
    "weights beyond k": ("stce", "stce", "if (q < plan.groups)", "if (true)"),
    "products of a group in another order": (
        "stce",
        "stce",
        "* plan.n + kept;",
        "* plan.n + plan.n - 1 - kept;",
    ),
    "rows drain in another order": ("stce", "stce", "ROWS - 1 - source", "source"),
    "runs not added": ("stce", "stce", "(starts ? 0.0f : total)", "(starts ? total : 0.0f)"),
    "clear ignored": ("stce", "stce", "plan.clear && (", "true && ("),
    "rows beyond i": ("stce", "stce", "i < plan.rows_i && ", ""),
    "columns beyond j": ("stce", "stce", " && strip * COLS + c < plan.cols_j", ""),
    "last of equals kept": ("sore", "sore", "} else if (rank > sorter", "} else if (rank >= sorter"),
    "first of equals moves down": (
        "sore",
        "sore",
        "rank > sorter.rank[e - 1])",
        "rank >= sorter.rank[e - 1])",
    ),
    "NaNs ranked by payload": ("sore", "sore", "0x7C01u", "0x7FFFu"),
    "zeros not kept": ("sore", "sore", "0x7C01u) + 1", "0x7C01u)"),
    "sign in the key": ("sore", "sore", "0x7FFFu, 0x7C01u", "0xFFFFu, 0x7C01u"),
    "kept by magnitude": ("sore", "sore", "sorter.place[other] < sorter.place[e]", "other < e"),
    "always decays": ("wuve", "wuve", "if (flags & DECAYS) ", ""),
    "velocity not stored": ("wuve", "wuve", "g = velocity = momentum", "g = momentum"),
    "gradient not unscaled": ("wuve", "wuve", "gradient[lane] * rule.unscale", "gradient[lane]"),
    "copy of the old weight": ("wuve", "wuve", "return narrow(weight)", "return narrow(weight - step * g)"),
    "ties away from zero": ("numbers", "types", "(rest == tie && (quotient & 1))", "rest == tie"),
    "NaN with payload": ("numbers", "types", "uint16_t(0x7E00)", "uint16_t(sign | 0x7E01)"),
    "subnormals an exponent too low": ("numbers", "types", "exponent = 113,", "exponent = 112,"),
    "product of an infinity": ("numbers", "types", " || p == 0 || q == 0;", ";"),
    "carry of the product lost": ("numbers", "types", "significand << (3 - carry)", "significand << 3"),
    "small subnormals lost": ("numbers", "types", "exponent < 101", "exponent < 103"),
}


@slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(check: Check, fault: str, tmp_path: Path) -> None:
    block, header, original, faulty = FAULTS[fault]
    root = copy_of_sources(tmp_path / "hls")
    source = root / "kernels" / f"{header}.hpp"
    text = source.read_text()
    assert text.count(original) == 1
    source.write_text(text.replace(original, faulty))
    config = small(4, "1:2", *RATIOS)
    with pytest.raises(
        ExportError, match=r"_tb-\w+ ended with status 1: (case|widened|narrowed|product|C-sim)"
    ):
        check(block, config, golden(config, seed=8, tiles=60)[f"{block}.bin"], root=root)
