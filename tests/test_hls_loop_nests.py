"""Estimated cycles of the array's loops against the kernels themselves, run with streams that keep time, and against
`hw_models.timing`."""

import shutil
import subprocess
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hls_builds import CACHE, RATIOS, small

from codesign.nm.format import NM
from hls.block_golden import random_tiles
from hls.config import KernelConfig, Tile
from hls.loop_nests import FIFO_CYCLES, cycles, nests
from hls.toolchain import HLS, ROOMS, Toolchain
from hw_models.arch import load_arch
from hw_models.timing import Dataflow, gemm_cycles

GPP = Toolchain.default()
HERE = Path(__file__).parent
WS, OS = Dataflow.WS, Dataflow.OS


class Timed(NamedTuple):
    """Time of the last iteration, and the iterations of each process, the most of all rows."""

    end: int
    trips: dict[str, int]


def run_timed(config: KernelConfig, tiles: list[Tile], root: Path) -> list[Timed]:
    """The kernels' own loops: every iteration is a cycle of its process, streams pass on when a value is there."""
    for room in ROOMS:
        shutil.copytree(HLS / room, root / room)
    mac_cycles = config.multiplier_latency + config.accumulator_latency
    constants = f"constexpr long FIFO_CYCLES = {FIFO_CYCLES}, MAC_CYCLES = {mac_cycles};\n"
    streams = (
        (HERE / "hls_timed_stream.h").read_text().replace("#pragma once\n", "#pragma once\n" + constants)
    )
    (root / "csim" / "hls_stream.h").write_text(streams)
    for header in (root / "kernels" / "uspe.hpp", root / "kernels" / "stce.hpp"):
        header.write_text(header.read_text().replace("#pragma HLS PIPELINE II=1", "csim::tick();"))
    shutil.copy(HERE / "hls_timed_tb.cpp", root / "tb")
    program = GPP.build(["tb/hls_timed_tb.cpp"], config.header(), CACHE, root)
    fields = [
        (int(flow is OS), nm.n, nm.m, rows_i, groups, cols_j) for flow, nm, rows_i, groups, cols_j, _ in tiles
    ]
    text = "\n".join(" ".join(map(str, each)) for each in fields)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [Timed(int(row[0]), dict(zip(row[1::2], map(int, row[2::2]), strict=True))) for row in rows]


@pytest.mark.slow
@pytest.mark.skipif(not GPP.available, reason="needs a C++ compiler")
@pytest.mark.parametrize("size", [4, 16])
def test_trips_are_those_of_the_kernels_and_cycles_are_close(size: int, tmp_path: Path) -> None:
    """The estimate leaves out some waits of short passes, and counts others twice: most tiles are within 1 %."""
    config, rng = small(size, "1:2", *RATIOS), np.random.default_rng(9)
    tiles = list(islice(random_tiles(config, rng), 300))
    errors = []
    for tile, timed in zip(tiles, run_timed(config, tiles, tmp_path / "hls"), strict=True):
        loops = nests(tile, config)
        assert {nest.process: nest.trips for nest in loops if nest.trips} == timed.trips, tile
        last = timed.end + loops[-1].depth
        errors.append((cycles(tile, config) - last) / last)
    assert (np.quantile(np.abs(errors), [0.5, 0.9, 1]) < [0.01, 0.05, 0.25]).all()


# -- against the model ---------------------------------------------------------------------------------------------

ARCH = load_arch("sat.yaml")
CONFIG = KernelConfig.of(ARCH)
ROW = CONFIG.multiplier_latency + FIFO_CYCLES
"""Cycles by which each row of WS is later than in the model."""


def difference(tile: Tile) -> int:
    """Estimated cycles of the kernels less those of the model."""
    model = gemm_cycles(
        *(ARCH.array_params, tile.dataflow, tile.rows_i, tile.groups * tile.nm.m, tile.cols_j),
        *(tile.nm.n, tile.nm.m),
    )
    return cycles(tile, CONFIG) - model.total


@pytest.mark.parametrize(
    ("tile", "expected"),
    [
        # 31 rows x 5 - 31 columns - 64 for the weights, which come while the first window is fetched, + 16 for that,
        # + 27 - 10 for pipelines: 2 + 13 + 12 against 3 + 8 - 1
        (Tile(WS, NM(2, 8), 4096, 32, 32), 31 * ROW - 31 - 64 + 16 + 27 - 10),
        # the same, but here the 256 cycles for the weights are longer than fetching
        (Tile(WS, NM(8, 8), 4096, 32, 32), 31 * ROW - 31 - 256 + 16 + 27 - 10),
        # first window: 31 x 2 for the weights' way down - 15 for its activations; - 31 rows - 31 columns;
        # drain: 31 x 8 + 2 - 32 x 8; pipelines as above
        (Tile(OS, NM(2, 8), 4096, 32, 32), 31 * 2 - 15 - 31 - 31 + 31 * 8 + 2 - 32 * 8 + 27 - 10),
        (Tile(OS, NM(8, 8), 4096, 64, 32), 31 * 2 - 15 - 31 - 31 + 31 * 8 + 2 - 32 * 8 + 27 - 10),
    ],
    ids=str,
)
def test_what_differs_from_the_model_in_a_long_tile(tile: Tile, expected: int) -> None:
    assert difference(tile) == expected


def test_weights_that_wait_in_streams_keep_short_ws_passes_going() -> None:
    """16 passes of 64 rows of i, 2 MACs each: the model's next pass waits for the bottom row to start this one.

    There, a pass costs 31 rows x 16 + 64 to load = 560 cycles; in the kernels 64 x 2 = 128, except the skew of one.
    """
    tile = Tile(WS, NM(2, 8), 64, 16 * 32, 32)
    single = Tile(WS, NM(2, 8), 64, 32, 32)
    assert cycles(tile, CONFIG) - cycles(single, CONFIG) == 15 * 128
    assert difference(tile) - difference(single) == 15 * (128 - 560)
