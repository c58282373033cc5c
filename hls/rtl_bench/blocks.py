"""The RTL's operators and vector lanes, one word of operands a cycle: `hls/rtl/blocks_bench.sv`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.rtl_bench import build as rtl_build

MUL_LATENCY, ADD_LATENCY = 4, 8
"""Latencies of WUVE's multipliers and adders in the bench, in cycles."""

OPERANDS = np.dtype(
    [
        *((name, "<u4") for name in ("a", "b", "momentum", "learning_rate", "weight_decay")),
        ("value", "<u2"),  # into SORE if `valid`, and WUVE's gradient
        ("valid", "u1"),
        ("nm", "u1"),  # n + 16 * (m - 1); n is at most 8
    ]
)
"""What goes in each cycle, as bit patterns. `a` and `b` are the operators' operands, WUVE's weight and momentum."""

RESULTS = np.dtype(
    [
        *((name, "<u4") for name in ("half_product", "product", "sum", "weight", "momentum")),
        *((name, "<u2") for name in ("half", "weight_half")),
        ("values", "<u2", 8),
        ("indices", "<u4"),
        ("done", "<u4"),
    ]
)
"""What comes out: the operators' results in the same cycle, the lanes' later."""


def program(cache_folder: Path, sources: Path = rtl_build.RTL) -> Path:
    """The simulator of the bench. Raises ExportError."""
    parameters = {"MUL_LATENCY": MUL_LATENCY, "ADD_LATENCY": ADD_LATENCY}
    return rtl_build.build("blocks_bench", "blocks_harness.cpp", parameters, cache_folder, sources)


def run(simulator: Path, operands: NDArray[Any]) -> NDArray[Any]:
    """RESULTS of each cycle for OPERANDS of each cycle. Raises ExportError."""
    return np.frombuffer(rtl_build.run(simulator, operands.tobytes()), RESULTS)
