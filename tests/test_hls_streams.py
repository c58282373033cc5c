"""Bounded streams and dataflow regions: C-simulation with the stand-ins of `hls/csim`, and what Vitis HLS sees."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hls_builds import CACHE, small

from codesign.errors import ExportError
from hls import toolchain
from hls.pragmas import check_pragmas
from hls.toolchain import HLS, ROOMS, Toolchain

GPP = Toolchain.default()

pytestmark = pytest.mark.skipif(not GPP.available, reason="needs a C++ compiler")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the regions of this test."""
    root = tmp_path_factory.mktemp("sources")
    for room in ROOMS:
        shutil.copytree(HLS / room, root / room)
    shutil.copy(Path(__file__).parent / "hls_streams_tb.cpp", root / "tb" / "hls_streams_tb.cpp")
    return root


def run(sources: Path, region: str, depth: int, tools: Toolchain = GPP) -> list[int]:
    program = tools.build(["tb/hls_streams_tb.cpp"], "", CACHE, sources)
    return [int(line) for line in toolchain.run(program, region, str(depth)).split()]


@pytest.mark.parametrize("depth", [1, 2, 7, 1000])
def test_results_do_not_depend_on_the_depth(sources: Path, depth: int) -> None:
    assert run(sources, "chain", depth) == [99 * 100 // 2 + 2 * 100] * 3
    assert run(sources, "nested", depth) == [99 * 100 // 2 + 20 * 100] * 3


def test_a_depth_that_is_too_small_is_a_deadlock(sources: Path) -> None:
    assert run(sources, "reconvergence", 8) == [2 * 28] * 3
    with pytest.raises(ExportError, match="deadlock") as caught:
        run(sources, "reconvergence", 6)
    message = str(caught.value)
    assert "both waits to write long_way" in message
    assert "sum_in_turn waits to read short_way" in message


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("too few", "deadlock +sum waits to read numbers"),
        ("too many", "numbers is left with 1 values that nobody read"),
        ("outside", "outside of a dataflow region nobody will ever let it write numbers"),
        ("two readers", "two processes, sum and sum, read numbers"),
        ("expectation", "depth of one"),
    ],
)
def test_wrong_use_is_reported_with_the_name_of_the_stream(sources: Path, region: str, message: str) -> None:
    with pytest.raises(ExportError, match=f"status 1: C-simulation: {message}"):
        run(sources, region, 1)


@pytest.mark.slow
def test_coroutines_and_sanitizers_get_on_with_each_other(sources: Path) -> None:
    tools = Toolchain("g++", sanitize=True)
    assert run(sources, "nested", 3, tools) == [99 * 100 // 2 + 20 * 100] * 3


# -- what Vitis HLS sees --------------------------------------------------------------------------------------------

VENDOR_STREAM = (
    "namespace hls { template <typename T> struct stream { stream(const char*) {} stream() {} }; }\n"
)
CORES = ("types", "plan", "uspe", "stce", "sore", "wuve", "streams", "dataflow")


def test_without_the_stand_ins_a_region_is_plain_calls_and_pragmas(tmp_path: Path) -> None:
    (tmp_path / "hls_stream.h").write_text(VENDOR_STREAM)
    (tmp_path / "config.hpp").write_text(small(4, "2:4").header())
    folders = [f"-I{folder}" for folder in (tmp_path, HLS / "kernels", HLS / "csim")]
    command = [
        GPP.compiler,
        "-std=c++14",
        "-E",
        "-P",
        *folders,
        "-x",
        "c++",
        str(HLS / "kernels" / "stce.hpp"),
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "SAT_" not in text
    assert "row_macs(plan, activations[r], own[r], flowing[r], flowing[r + 1], done[r]);" in text
    streams = dict(re.findall(r"hls::stream<\w+> (\w+)\[[^]]+\];\s*#pragma HLS STREAM variable=(\w+)", text))
    assert set(streams) == {"weights", "flowing", "draining", "activations", "own", "done"}
    assert all(name == variable for name, variable in streams.items())
    assert text.count("depth=FIFO_DEPTH") == len(streams)
    (tmp_path / "seen.cpp").write_text(text)
    assert check_pragmas(tmp_path / "seen.cpp") == []


@pytest.mark.parametrize("core", CORES)
def test_pragmas_are_those_of_vitis_hls(core: str) -> None:
    assert check_pragmas(HLS / "kernels" / f"{core}.hpp") == []
