"""The checks of the RTL catch faults: each, put into a copy of the RTL, makes the checks named with it fail."""

from pathlib import Path

import pytest
from rtl_order import in_order

from hls.rtl_bench import build as rtl_build
from hls.rtl_bench import faults as rtl_faults

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not rtl_build.available(), reason="needs verilator, g++ and make"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulators")


@pytest.mark.parametrize("name", rtl_faults.ARRAY)
def test_a_faulty_array_is_caught(name: str, cache: Path, tmp_path: Path) -> None:
    assert rtl_faults.array_catches(rtl_faults.ARRAY[name], cache, tmp_path, in_order)


@pytest.mark.parametrize("name", rtl_faults.BLOCKS)
def test_a_faulty_block_is_caught(name: str, cache: Path, tmp_path: Path) -> None:
    assert rtl_faults.BLOCKS[name].caught_by
    assert rtl_faults.blocks_catch(rtl_faults.BLOCKS[name], cache, tmp_path)
