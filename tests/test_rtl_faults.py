"""The RTL tests catch faults: each of these, put into a copy of the RTL, makes the test named with it fail."""

import shutil
from pathlib import Path

import pytest
import test_rtl_array as array
import test_rtl_blocks as blocks

from codesign.errors import ExportError
from codesign.nm.format import NM
from hls import rtl_blocks, rtl_build
from hls.rtl_sim import Build

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not rtl_build.available(), reason="needs verilator, g++ and make"),
]

ARRAY_FAULTS = {
    "skew of OS rows off by one": ("row_edge", "delay #(WINDOW, 1)", "delay #(WINDOW, 2)"),
    "skew of WS rows off by one": (
        "row_edge",
        "delay #(WINDOW, ADD_LATENCY)",
        "delay #(WINDOW, ADD_LATENCY + 1)",
    ),
    "rounds do not wait for sums": ("row_edge", "lanes > TICK'(ADD_LATENCY)", "1'b1"),
    "wrong index": (
        "uspe",
        "activations_in[16*index+:16]",
        "activations_in[16*{index[INDEX-1:1], !index[0]}+:16]",
    ),
    "sum not cleared": ("uspe", "ws ? sum_in : 32'b0", "ws ? sum_in : sums[mac_address]"),
    "missing drain": ("stce", "drain_valid && lane", "1'b0 && lane"),
    "drain one short": ("stce_control", "R * 32'(drain_slots) - 1", "R * 32'(drain_slots) - 2"),
    "no second bank": ("stce_control", "bank && (ws", "1'b0 && (ws"),
    "weights load too early": ("stce_control", "bottom_start && bottom_first", "top_start && top_first"),
    "window played before it is complete": (
        "window_buffer",
        "32'(filled) * PORT >= 32'(ordered)",
        "filled != 0",
    ),
    "results of k tiles not added": ("column_buffer", "tile != 0 ? total", "1'b0 ? total"),
}

BLOCK_FAULTS = {
    "ties round up": ("fp_round", "guard && (sticky || kept[0])", "guard"),
    "bits shifted out are lost": ("fp_round", "W'(wide[W-1:0] != 0)", "W'(0)"),
    "sticky bit lost": ("fp32_add", "shifted[27:0] != 0", "1'b0"),
    "subnormals an exponent too low": ("fp_unpack", "normal ? field : EXPONENT'(1)", "field"),
    "infinities cancel to infinity": ("fp32_add", "infinity_l && infinity_s &&", "1'b0 &&"),
    "momentum without decay": ("wuve_lane", "m_late, g, m_sum", "m_late, gradient_single, m_sum"),
    "last of equals kept": ("sore_lane", "key(value) > weakest", "key(value) >= weakest"),
    "first of equals dropped": ("sore_lane", "<= weakest", "< weakest"),
    "NaNs ranked by payload": ("sore_lane", "15'h7c01", "bits[14:0]"),
}

CAUGHT_BY = {
    "ties round up": ["sum", "product", "tiny product", "half"],
    "bits shifted out are lost": ["tiny product", "half"],
    "sticky bit lost": ["sum"],
    "subnormals an exponent too low": ["sum", "product"],
    "infinities cancel to infinity": ["sum"],
    "momentum without decay": ["wuve"],
    "last of equals kept": ["sore"],
    "first of equals dropped": ["sore"],
    "NaNs ranked by payload": ["sore"],
}

BLOCK_TESTS = {
    "sum": lambda run: blocks.test_fp32_operator_rounds_as_ieee_754_says(run, "sum"),
    "product": lambda run: blocks.test_fp32_operator_rounds_as_ieee_754_says(run, "product"),
    "tiny product": blocks.test_fp32_product_rounds_into_the_subnormals,
    "half": blocks.test_fp32_to_fp16_around_every_rounding_boundary,
    "wuve": lambda run: blocks.test_wuve_rounds_each_operation_as_numpy_does(run, 1.0, 5e-4),
    "sore": lambda run: blocks.test_sore_keeps_what_the_format_says(run, NM(2, 4), 0.0),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulators")


def faulty_copy(folder: Path, module: str, original: str, fault: str) -> Path:
    """The RTL with one piece of text, which occurs once, replaced."""
    sources = folder / "rtl"
    shutil.copytree(rtl_build.RTL, sources)
    source = sources / f"{module}.sv"
    text = source.read_text()
    assert text.count(original) == 1
    source.write_text(text.replace(original, fault))
    return sources


@pytest.mark.parametrize("fault", ARRAY_FAULTS)
def test_a_faulty_array_is_caught(fault: str, cache: Path, tmp_path: Path) -> None:
    build = Build(2, 2, multiplier_latency_cycles=1, accumulator_latency_cycles=2)
    program = build.program(cache, faulty_copy(tmp_path, *ARRAY_FAULTS[fault]))
    with pytest.raises((AssertionError, ExportError)):
        array.check_random_gemms(program, build, 60, step_oracle=False)


@pytest.mark.parametrize("fault", BLOCK_FAULTS)
def test_a_faulty_block_is_caught(fault: str, cache: Path, tmp_path: Path) -> None:
    run = blocks.bench(rtl_blocks.program(cache, faulty_copy(tmp_path, *BLOCK_FAULTS[fault])))
    for name in CAUGHT_BY[fault]:
        with pytest.raises(AssertionError):
            BLOCK_TESTS[name](run)
