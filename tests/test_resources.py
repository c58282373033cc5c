"""The FPGA resource model: hand arithmetic, published arrays, conservation, monotonicity, devices."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from codesign.errors import SpecError
from codesign.resources import (
    Range,
    Resources,
    Status,
    Usage,
    Verdict,
    device_names,
    estimate,
    fit,
    load_device,
)
from codesign.resources.array import Component, Stce
from codesign.resources.devices import FILE as DEVICES
from codesign.resources.devices import Capacity
from codesign.resources.estimate import DEFAULT_OPERATORS
from codesign.resources.operators import Operators
from codesign.resources.primitives import block_memory, delay_line, multiplexer, small_memory
from codesign.resources.tables import FILE as OPERATORS
from codesign.resources.tables import Curve, Row, tables
from codesign.resources.usage import RESOURCES, total
from codesign.strict_yaml import load
from codesign.validate.resources import AUTOSA, AUTOSA_ARRAY
from hw_models.arch import load_arch

SAT = load_arch("sat")
ZYNQ = load_arch("sat-zynq")
IMPLEMENTATIONS = tuple(tables().implementations)


def _resources(**amounts: tuple[float, float]) -> Resources:
    """A design of one component."""
    usage = Usage(**{name: Range(*pair) for name, pair in amounts.items()})
    return Resources("design", "dsp", {"all": Component("all", 1, "everything", usage)})


# --- Buffers: what the comments of the packaged architectures state ---------------------------------------------

SAT_BUFFERS = {
    "activation": (128, 0),
    "weight": (64, 0),
    "output": (128, 0),
    "vector": (0, 128),
    "update": (0, 256),
}
ZYNQ_BUFFERS = {
    "activation": (0, 128),
    "weight": (0, 64),
    "output": (0, 256),
    "vector": (0, 32),
    "update": (0, 32),
}
U280_BUFFERS = {
    "activation": (128, 0),
    "weight": (64, 0),
    "output": (128, 0),
    "vector": (0, 256),
    "update": (0, 512),
}


@pytest.mark.parametrize(
    ("name", "uram", "expected"),
    [("sat", True, SAT_BUFFERS), ("sat-zynq", False, ZYNQ_BUFFERS), ("sat-u280", True, U280_BUFFERS)],
)
def test_buffers_map_to_the_blocks_that_the_files_state(
    name: str, uram: bool, expected: dict[str, tuple[int, int]]
) -> None:
    components = estimate(load_arch(name), uram=uram).components
    for buffer, (uram288, bram36) in expected.items():
        used = components[f"buffer.{buffer}"].total
        assert (used.uram288, used.bram36) == (Range.exactly(uram288), Range.exactly(bram36)), buffer


def test_double_buffering_takes_no_further_blocks_since_a_block_reads_and_writes_at_once() -> None:
    single = SAT.with_overrides({"buffers.update.double_buffered": False})
    assert estimate(single).components["buffer.update"] == estimate(SAT).components["buffer.update"]


@pytest.mark.parametrize(
    ("depth", "width", "bram36"),
    [
        (512, 72, 1),
        (513, 72, 2),
        (512, 36, 0.5),
        (512, 37, 1),
        (1024, 36, 1),
        (1024, 18, 0.5),
        (2048, 9, 0.5),
        (2048, 18, 1),
        (4096, 9, 1),
        (32768, 1, 1),
        (100, 144, 2),
        (1, 1, 0.5),
        (512, 96, 1.5),  # 72 + 24 bits: three halves of 36, not two whole blocks
        (5000, 10, 2.5),  # five pairs of halves 1024 x 18 deep: 5 halves; 3 x 2048 x 18 would be 3
    ],
)
def test_block_ram_takes_the_best_aspect_ratio(depth: int, width: int, bram36: float) -> None:
    assert block_memory(depth, width).bram36 == Range.exactly(bram36)


@given(st.integers(1, 20_000), st.integers(1, 200))
def test_block_ram_holds_what_it_is_for(depth: int, width: int) -> None:
    bits = block_memory(depth, width).bram36.low * 36 * 1024
    assert bits >= depth * width
    assert bits <= -(-depth // 512) * -(-width // 36) * 18 * 1024  # never more than halves of 512 x 36


# --- Hand arithmetic --------------------------------------------------------------------------------------------


def test_a_processing_element_of_sat_by_hand() -> None:
    """16 bits an operand, 32 a sum, vectors of 16, indices of 4 bits, 8 weights in two sets, F = 8."""
    each = {name: c.each for name, c in estimate(SAT).components.items()}
    # Multiplier: fp16_mul 36-42 LUT, 29-73 FF, 1 DSP, and fp16_to_fp32 4-15 LUT, 19-32 FF.
    assert each["uspe.multiplier"].lut == Range(40, 57)
    assert each["uspe.multiplier"].ff == Range(48, 105)
    # Adder: the row holds to latency 7, SAT has 8: at most 320 * 8 / 7 = 365.7 FF.
    assert each["uspe.adder"].lut == Range(200, 230)
    assert each["uspe.adder"].ff == Range(205, 366)
    assert each["uspe.multiplier"].dsp + each["uspe.adder"].dsp == Range.exactly(3)
    # Selector: 16:1 of 16 bits is 4 LUT6 a bit (Yosys: 94); registers 16 * 16 passed on and 16 picked.
    assert each["uspe.selector"].lut == Range(64, 94)
    assert each["uspe.selector"].ff == Range.exactly(272)
    # Weights: 20 bits move down. Held, 16 x 20: RAM 10 LUT + 2 for the write address and 20 FF; or 320 FF and a
    # 16:1 of 20 bits, which Yosys makes 94 * 20 / 16 = 117.5.
    assert each["uspe.weights"].lut == Range(12, 118)
    assert each["uspe.weights"].ff == Range(20 + 20, 20 + 320)
    # Sums: two RAMs of 8 x 32 (16 + 3 LUT, whole slices 24; 32 FF), 3:1 of 32 bits (32), drain 2:1 (16-32) with
    # its register and 3-bit counter.
    assert each["uspe.sums"].lut == Range(2 * 19 + 32 + 16 + 3, 2 * 24 + 32 + 32 + 3)
    assert each["uspe.sums"].ff == Range.exactly(2 * 32 + 32 + 3)
    # Control: 5 flags, 3 round and 3 lane bits; 8 of them 3 + 8 cycles long: a shift register and a flip-flop each.
    assert each["uspe.control"].lut == Range.exactly(8)
    assert each["uspe.control"].ff == Range.exactly(11 + 8)


def test_dsp_and_bram_of_sat_by_hand() -> None:
    used = estimate(SAT).total
    # 3 a PE; an adder (2) a column; 3 multiply-adds of 2 + 2 a WUVE lane and a vector lane.
    assert used.dsp == Range.exactly(1024 * 3 + 32 * 2 + 32 * 12 + 32 * 12)
    # Buffers 384; function tables 512 x 96 are 1.5 a lane; DMA queues 512 x 512 are 7.5, two an engine; controller.
    assert used.bram36 == Range(384 + 32 * 1.5 + 4 * 15 + 4, 384 + 32 * 1.5 + 4 * 15 + 8)
    assert used.uram288 == Range.exactly(320)


def test_a_sorter_lane_by_hand() -> None:
    """Largest N 4, M 16: slots of 16 + 4 bits and a valid bit; two sorters; comparators one or half a LUT a bit."""
    each = estimate(SAT).components["sore"].each
    assert each.ff == Range.exactly(2 * 4 * 21 + 4)
    # Slots: 2:1 of 21 bits (11-21) and a comparator of 16 (8-16) or 5 (3-5); NaN clamp of 15 twice (8-15); counter 4.
    assert each.lut == Range(4 * (11 + 8) + 4 * (11 + 3) + 16 + 4, 4 * (21 + 16) + 4 * (21 + 5) + 30 + 4)


@pytest.mark.parametrize(
    ("depth", "lut", "ff"),
    [
        (1, (0, 0), 32),
        (2, (19, 24), 32),
        (32, (19, 24), 32),
        (33, (37, 40), 32),
        (128, (2 * 37 + 16, 2 * 40 + 32), 32),
    ],
)
def test_small_memories(depth: int, lut: tuple[int, int], ff: int) -> None:
    """32 bits: 16 LUT hold 32 words, 32 hold 64; one more for the write address of 7; deeper ones a multiplexer."""
    used = small_memory(depth, 32)
    assert (used.lut, used.ff) == (Range(*lut), Range.exactly(ff))


@pytest.mark.parametrize(("cycles", "lut", "ff"), [(0, 0, 0), (1, 0, 8), (2, 8, 8), (33, 8, 8), (34, 16, 8)])
def test_delay_lines_are_shift_registers_of_32_and_a_flip_flop(cycles: int, lut: int, ff: int) -> None:
    used = delay_line(cycles, 8)
    assert (used.lut, used.ff) == (Range.exactly(lut), Range.exactly(ff))


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (1, (0, 0)),
        (2, (8, 16)),
        (3, (16, 16)),
        (4, (16, 16)),
        (6, (32, 32)),
        (8, (32, 48)),
        (12, (48, 71)),
        (16, (64, 94)),
    ],
)
def test_multiplexers_lie_between_the_fabrics_best_and_the_measured(
    inputs: int, expected: tuple[int, int]
) -> None:
    assert multiplexer(inputs, 16).lut == Range(*expected)


# --- Independent validation: published post-route arrays of another generator ------------------------------------


@pytest.mark.parametrize(
    ("rows", "cols", "lut", "ff", "dsp"),
    [(*size, *used) for size, used in AUTOSA.items()],
    ids=["mm, 1664 MACs", "cnn, 1792 MACs"],
)
def test_arrays_of_autosa(rows: int, cols: int, lut: int, ff: int, dsp: int) -> None:
    """AutoSA (docs/examples mm_large.rst, cnn_large.rst): FP32 output-stationary arrays of Vitis operators on a U250.

    Their LUTs lie within the interval. Their flip-flops do not: 1.23 to 1.53 times the model's, since AutoSA has
    queues between elements and, for 300 MHz, registers between SLRs, which a model of the array leaves out.
    """
    arch = SAT.with_overrides({"array.rows": rows, "array.cols": cols, **AUTOSA_ARRAY})
    assert arch.peak_macs_per_cycle in (1664, 1792)
    model = total(part.total for part in Stce(arch, Operators("vitis")).components())
    assert model.dsp == Range.exactly(dsp)
    assert model.lut.low < lut < model.lut.high
    assert 1.1 < ff / model.ff.high < 1.3
    assert 1.4 < ff / model.ff.low < 1.6


# --- Properties -------------------------------------------------------------------------------------------------

GROWTH: dict[str, Any] = {
    "array.rows": st.integers(1, 64),
    "array.cols": st.integers(1, 64),
    "array.weight_registers": st.integers(8, 64),
    "array.interleave_depth": st.integers(1, 200),
    "array.multiplier_latency_cycles": st.integers(1, 40),
    "array.accumulator_latency_cycles": st.integers(1, 40),
    "array.double_weights": st.booleans(),
    "array.double_accumulators": st.booleans(),
    "array.sparsity": st.integers(1, 6).map(lambda count: ["1:2", "2:4", "2:8", "4:16", "8:16", "2:40"][:count]),
    "array.dataflows": st.sampled_from((["ws"], ["ws", "os"])),
    "sore.lanes": st.integers(1, 64),
    "wuve.lanes": st.integers(1, 64),
    "wuve.latency_cycles": st.integers(1, 100),
    "vector_unit.lanes": st.integers(1, 64),
    "vector_unit.latency_cycles": st.integers(1, 100),
    "dma.engines": st.integers(1, 32),
    "dma.port_bits": st.sampled_from((64, 128, 256, 512, 1024)),
}  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(GROWTH)),
    st.fixed_dictionaries(GROWTH),
    st.data(),
    st.sampled_from(IMPLEMENTATIONS),
    st.booleans(),
)
def test_more_never_needs_less(
    key: str, base: dict[str, Any], data: st.DataObject, ops: str, uram: bool
) -> None:
    first, second = base[key], data.draw(GROWTH[key])
    small, large = sorted((first, second), key=len) if isinstance(first, list) else sorted((first, second))
    less = estimate(SAT.with_overrides(base | {key: small}), operators=ops, uram=uram).total
    more = estimate(SAT.with_overrides(base | {key: large}), operators=ops, uram=uram).total
    for resource in RESOURCES:
        assert less[resource].low <= more[resource].low, resource
        assert less[resource].high <= more[resource].high, resource


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from(IMPLEMENTATIONS))
def test_components_sum_to_the_total(rows: int, cols: int, implementation: str) -> None:
    resources = estimate(
        SAT.with_overrides({"array.rows": rows, "array.cols": cols}), operators=implementation
    )
    for resource in RESOURCES:
        low = high = 0.0
        for part in resources.components.values():
            low += part.count * part.each[resource].low
            high += part.count * part.each[resource].high
        assert resources.total[resource] == Range(low, high)
    assert resources.components["uspe.adder"].count == rows * cols


def test_every_interval_is_ordered_and_every_component_says_what_it_rests_on() -> None:
    for implementation in IMPLEMENTATIONS:
        for name, part in estimate(SAT, operators=implementation).components.items():
            assert all(0 <= part.each[r].low <= part.each[r].high for r in RESOURCES), name
            assert part.each.basis, name
    assert estimate(SAT).components["uspe.adder"].each.basis == {Status.MEMORY}
    assert estimate(SAT, operators="fabric").components["uspe.adder"].each.basis == {Status.MEASURED}
    assert Status.MEMORY not in estimate(SAT, operators="fabric").total.basis


def test_a_dense_array_has_no_sorter_selector_or_indices() -> None:
    dense, sparse = estimate(load_arch("dense")), estimate(SAT)
    assert dense.components["sore"].count == 0
    assert dense.components["uspe.selector"].each.lut == Range()
    assert dense.components["uspe.selector"].each.ff == Range.exactly(16)
    assert dense.components["uspe.weights"].each.ff.high == 16 + 16 * 16
    assert dense.total.dsp == sparse.total.dsp
    assert dense.total.lut.high < sparse.total.lut.high


def test_adders_in_fabric_trade_dsps_for_luts() -> None:
    dsp, fabric = estimate(SAT).total, estimate(SAT, operators="fabric").total
    adders = 1024 + 32 + 3 * 32 + 3 * 32
    assert dsp.dsp.low - fabric.dsp.low == 2 * adders
    assert fabric.lut.high - dsp.lut.high == adders * (610 - 230)


def test_unknown_operators() -> None:
    with pytest.raises(
        SpecError, match=r"^no operators 'dps', did you mean \"dsp\"; expected one of: fabric, dsp,"
    ):
        estimate(SAT, operators="dps")
    assert DEFAULT_OPERATORS in IMPLEMENTATIONS


# --- Constants --------------------------------------------------------------------------------------------------


def _constants(data: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The innermost mappings that state a number or a list of numbers."""
    if not isinstance(data, dict):
        return []
    inner = [found for key, value in data.items() for found in _constants(value, f"{path}.{key}")]
    numbers = any(isinstance(value, (int, float, list)) for value in data.values())
    return [*inner, (path, data)] if numbers else inner


def test_every_constant_has_status_and_source() -> None:
    found = _constants(load(OPERATORS).data) + _constants(load(DEVICES).data["devices"])
    assert len(found) > 30
    for path, constant in found:
        assert constant["status"] in list(Status), path
        assert len(constant["source"]) > 5, path


def test_rows_with_reversed_or_negative_pairs_are_refused() -> None:
    row = {"status": "assumed", "source": "test"}
    with pytest.raises(ValidationError, match=r"lut is \[2.0, 1.0\], expected \[low, high\]"):
        Row.model_validate_json('{"status": "assumed", "source": "test", "lut": [2, 1]}')
    with pytest.raises(ValidationError):
        Row.model_validate(row | {"ff": (-1.0, 1.0)})


def test_curves_are_linear_between_points_and_go_on_beyond_them() -> None:
    curve = Curve(points=((2, 10), (4, 20), (8, 60)), status=Status.MEASURED, source="test")
    assert [curve.at(x) for x in (2, 3, 4, 5, 8, 10)] == [10, 15, 20, 30, 60, 80]


# --- Devices ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "slrs", "expected"),
    [
        ("xcvu9p", 3, (1_182_240, 2_364_480, 6840, 2160, 960)),
        ("vcu1525", 3, (868_852, 1_775_861, 5847, 1602, 800)),
        ("u250", 4, (1_379_740, 2_814_332, 11_508, 2000, 1280)),
        ("u280", 3, (1_069_000, 2_150_000, 8490, 1487, 960)),
        ("zcu102", 1, (274_080, 548_160, 2520, 912, 0)),
    ],
)
def test_devices(name: str, slrs: int, expected: tuple[int, ...]) -> None:
    device = load_device(name)
    assert tuple(device.available(resource) for resource in RESOURCES) == expected
    assert len(device.slrs) == slrs
    assert set(Capacity.model_fields) == set(RESOURCES)


def test_unknown_device() -> None:
    with pytest.raises(
        SpecError, match=r"^no device 'vcu152', did you mean \"vcu1525\"; expected one of: xcvu9p,"
    ):
        load_device("vcu152")
    assert "zcu102" in device_names()


@pytest.mark.parametrize(
    ("lut", "fits", "closes"),
    [
        ((100_000, 608_000), Verdict.YES, Verdict.YES),  # 70 % of 868,852 is 608,196.4
        ((100_000, 609_000), Verdict.YES, Verdict.PERHAPS),
        ((609_000, 868_852), Verdict.YES, Verdict.NO),
        ((609_000, 868_853), Verdict.PERHAPS, Verdict.NO),
        ((868_853, 900_000), Verdict.NO, Verdict.NO),
    ],
)
def test_verdicts(lut: tuple[int, int], fits: Verdict, closes: Verdict) -> None:
    fitting = fit(_resources(lut=lut), load_device("vcu1525"))
    assert (fitting.fits, fitting.closes, fitting.fullest) == (fits, closes, "lut")
    assert fitting.utilization["lut"] == Range(lut[0] / 868_852, lut[1] / 868_852)


def test_what_certainly_exceeds_its_limit_binds_before_what_may() -> None:
    fitting = fit(_resources(ff=(1000, 1_700_000), dsp=(5000, 5000)), load_device("vcu1525"))
    assert fitting.fullest == "ff"  # 96 % of the device against 86 %
    assert fitting.binding == "dsp"  # over its 80 % for certain
    assert fitting.closes is Verdict.NO


@pytest.mark.parametrize(
    ("lut", "slrs"), [(354_934, 1), (354_935, 2), (709_764, 2), (709_765, 3), (868_853, None)]
)
def test_slrs_are_counted_largest_first(lut: int, slrs: int | None) -> None:
    assert fit(_resources(lut=(0, lut)), load_device("vcu1525")).slrs == slrs


def test_uram_on_a_device_without_it() -> None:
    with pytest.raises(SpecError, match=r"got 320 URAM288, but xczu9eg.* has none; estimate with uram=False"):
        fit(estimate(SAT), load_device("zcu102"))
    fitting = fit(estimate(ZYNQ, uram=False), load_device("zcu102"))
    assert "uram288" not in fitting.utilization


def test_sat_fits_its_card_but_perhaps_not_its_practical_limits() -> None:
    """What the README may say; a change of constants or structure that alters it should be noticed."""
    card = load_device("vcu1525")
    fitting = fit(estimate(SAT), card)
    assert (fitting.fits, fitting.closes) == (Verdict.YES, Verdict.PERHAPS)
    assert (fitting.fullest, fitting.binding, fitting.slrs) == ("lut", "ff", 3)
    assert fit(estimate(SAT, operators="fabric"), card).fits is Verdict.PERHAPS
    u280, hbm_card = load_arch("sat-u280"), load_device("u280")
    assert fit(estimate(u280), hbm_card).fits is Verdict.YES
    assert fit(estimate(u280.with_overrides({"array.cols": 64})), hbm_card).fits is Verdict.NO
