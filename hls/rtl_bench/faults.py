"""Seeded faults: small changes of the RTL that its checks must catch.

Each is a piece of text that occurs once in a module, and what replaces it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from codesign.errors import ExportError
from hls.rtl_bench import blocks as rtl_blocks
from hls.rtl_bench.build import RTL
from hls.rtl_bench.checks import CHECKS, bench
from hls.rtl_bench.sim import Build
from hls.rtl_bench.stimuli import Product, random_gemms, wrong


class Fault(NamedTuple):
    """`caught_by`: the checks of `hls.rtl_bench.checks` that find a block's fault; the array's are found by GEMMs."""

    module: str
    original: str
    replacement: str
    caught_by: tuple[str, ...] = ()


ARRAY = {
    "skew of OS rows off by one": Fault("row_edge", "delay #(WINDOW, 1)", "delay #(WINDOW, 2)"),
    "skew of WS rows off by one": Fault(
        "row_edge", "delay #(WINDOW, ADD_LATENCY)", "delay #(WINDOW, ADD_LATENCY + 1)"
    ),
    "rounds do not wait for sums": Fault("row_edge", "lanes > TICK'(ADD_LATENCY)", "1'b1"),
    "wrong index": Fault(
        "uspe", "activations_in[16*index+:16]", "activations_in[16*{index[INDEX-1:1], !index[0]}+:16]"
    ),
    "sum not cleared": Fault("uspe", "ws ? sum_in : 32'b0", "ws ? sum_in : sums[mac_address]"),
    "missing drain": Fault("stce", "drain_valid && lane", "1'b0 && lane"),
    "drain one short": Fault("stce_control", "R * 32'(drain_slots) - 1", "R * 32'(drain_slots) - 2"),
    "no second bank": Fault("stce_control", "bank && (ws", "1'b0 && (ws"),
    "weights load too early": Fault("stce_control", "bottom_start && bottom_first", "top_start && top_first"),
    "window played before it is complete": Fault(
        "window_buffer", "32'(filled) * PORT >= 32'(ordered)", "filled != 0"
    ),
    "results of k tiles not added": Fault("column_buffer", "tile != 0 ? total", "1'b0 ? total"),
}

BLOCKS = {
    "ties round up": Fault(
        "fp_round", "guard && (sticky || kept[0])", "guard", ("sum", "product", "tiny product", "half")
    ),
    "bits shifted out are lost": Fault("fp_round", "W'(wide[W-1:0] != 0)", "W'(0)", ("tiny product", "half")),
    "sticky bit lost": Fault("fp32_add", "shifted[27:0] != 0", "1'b0", ("sum",)),
    "subnormals an exponent too low": Fault(
        "fp_unpack", "normal ? field : EXPONENT'(1)", "field", ("sum", "product")
    ),
    "infinities cancel to infinity": Fault("fp32_add", "infinity_l && infinity_s &&", "1'b0 &&", ("sum",)),
    "momentum without decay": Fault(
        "wuve_lane", "m_late, g, m_sum", "m_late, gradient_single, m_sum", ("wuve",)
    ),
    "last of equals kept": Fault("sore_lane", "key(value) > weakest", "key(value) >= weakest", ("sore",)),
    "first of equals dropped": Fault("sore_lane", "<= weakest", "< weakest", ("sore",)),
    "NaNs ranked by payload": Fault("sore_lane", "15'h7c01", "bits[14:0]", ("sore",)),
}

ARRAY_BUILD = Build(2, 2, multiplier_latency_cycles=1, accumulator_latency_cycles=2)
GEMMS = 60


def array_catches(fault: Fault, cache_folder: Path, scratch: Path, product: Product) -> bool:
    """Whether random GEMMs on the faulty array take other cycles, give other results, or never end."""
    program = ARRAY_BUILD.program(cache_folder, faulty_copy(scratch, fault))
    try:
        return bool(wrong(program, ARRAY_BUILD, random_gemms(ARRAY_BUILD, GEMMS), product))
    except ExportError:
        return True


def blocks_catch(fault: Fault, cache_folder: Path, scratch: Path) -> bool:
    """Whether every check that should find the fault does."""
    run = bench(rtl_blocks.program(cache_folder, faulty_copy(scratch, fault)))
    return all(CHECKS[name](run) for name in fault.caught_by)


def faulty_copy(scratch: Path, fault: Fault) -> Path:
    """The RTL with the fault, in a new folder of `scratch`. Raises ExportError if the text is not there once."""
    sources = scratch / "rtl"
    shutil.copytree(RTL, sources)
    source = sources / f"{fault.module}.sv"
    text = source.read_text()
    if text.count(fault.original) != 1:
        raise ExportError(
            f"seeded fault: {fault.original!r} occurs {text.count(fault.original)} times in {source}"
        )
    source.write_text(text.replace(fault.original, fault.replacement))
    return sources
