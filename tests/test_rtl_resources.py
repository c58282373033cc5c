"""The measured resources of the RTL: the table is complete, and measuring again gives the same."""

import csv
import shutil
import subprocess

import pytest

from hls.rtl_bench import synthesis as rtl_resources
from hls.rtl_bench.build import RTL

TABLE = list(csv.DictReader((RTL / "resources.csv").read_text().splitlines()))


def row_of(case: rtl_resources.Case) -> dict[str, str]:
    (row,) = (r for r in TABLE if (r["block"], r["parameters"]) == (case.block, rtl_resources.settings(case)))
    return row


def test_the_table_has_every_case() -> None:
    assert [row["block"] for row in TABLE] == [case.block for case in rtl_resources.cases()]
    for case in rtl_resources.cases():
        row = row_of(case)
        assert int(row["lut"]) == sum(int(row[f"lut_{kind}"]) for kind in ("logic", "memory", "shift")) > 0
        assert row["command"] == rtl_resources.SYNTHESIS


def test_a_larger_element_costs_more() -> None:
    elements = {row["parameters"]: row for row in TABLE if row["block"] == "uspe"}
    activations = [int(elements[f"M={m} N=4 F=8"]["ff"]) for m in (4, 8, 16)]
    assert (
        activations[0] + 4 * 16 <= activations[1] <= activations[2] - 8 * 16
    )  # a vector of M values moves right
    assert {row["dsp"] for row in elements.values()} == {"1"}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("yosys"), reason="needs yosys")
@pytest.mark.parametrize("block", ["fp32_to_fp16", "fp32_add", "row_edge"])
def test_measuring_again_gives_the_same(block: str) -> None:
    case = next(case for case in rtl_resources.cases() if case.block == block)
    row = row_of(case)
    version = subprocess.run(["yosys", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    if version != row["tool"]:
        pytest.skip(f"the table was made with {row['tool']}")
    assert {name: str(count) for name, count in rtl_resources.measure(case).items()}.items() <= row.items()
