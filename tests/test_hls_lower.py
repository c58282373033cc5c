"""Passes of weight layers as tiled products: the machine computes what `codesign.compute.conv` does, bit for bit."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hls_layers import DENSE, PASSES, ROOMY, TIGHT, Case, cases, filters, plan_of, whole
from hypothesis import given, settings

from codesign.compute.formats import Format
from codesign.compute.geometry import Geometry
from codesign.compute.pack_kernels import pack
from codesign.errors import ExportError
from codesign.nm.format import NM
from hls.lower import Compact, WeightLayer
from hls.program.builder import ProgramBuilder
from hls.program.encoding import packets
from hls.program.instruction import Gemm, Halt, LoadA, LoadB, Store
from hw_models.timing import Dataflow
from workloads.ops import Stage
from workloads.recording import LayerGeometry


@settings(max_examples=100, deadline=None)
@given(cases([ROOMY, TIGHT]))
def test_every_pass_equals_the_compiled_convolution(case):
    assert case.holds()


@pytest.mark.parametrize(("stage", "flow"), list(product(PASSES, Dataflow)))
def test_the_order_within_packets_does_not_matter(stage, flow):
    """Tiles overlap: there are packets with loads, a GEMM and a store, and each runs forwards and backwards alike."""
    shape = (Geometry(padding=(1, 1)), (3, 3), (6, 6), 2, 8, 16)
    case = Case(TIGHT, *shape)
    plan = plan_of(case.layer, stage, DENSE, flow, lambda length, unit: max(unit, length // 3))
    PASSES[stage](case, *plan)
    kinds = [{type(each) for each in packet} for packet in packets(case.builder.build().instructions)]
    assert any(each >= {LoadA, Gemm, Store} for each in kinds)
    assert case.holds()
    assert case.holds(backwards=True)


def test_an_operand_that_stays_is_loaded_once():
    """Rows outermost: three tiles of rows, two of columns, k whole. A is loaded 3 times, B 6 times; in ji 6 and 2."""
    for order, loads in (("ij", (3, 6)), ("ji", (6, 2))):
        case = Case(ROOMY, Geometry(), (1, 1), (3, 3), 1, 8, 16)
        plan, orders = plan_of(
            case.layer, Stage.FF, DENSE, Dataflow.OS, lambda n, unit: {9: 3, 16: 8}.get(n, n), order
        )
        case.forward(plan, orders)
        kinds = [type(each) for each in case.builder.build().instructions]
        assert (kinds.count(LoadA), kinds.count(LoadB)) == loads
        assert kinds.count(Gemm) == kinds.count(Store) == 6


def test_tiles_shrink_until_they_fit_and_sums_stay():
    case = Case(TIGHT, Geometry(padding=(1, 1)), (3, 3), (8, 8), 4, 8, 16)
    plan, orders = plan_of(case.layer, Stage.FF, NM(2, 8), Dataflow.WS, whole)
    case.forward(plan, orders)
    gemms = [each for each in case.builder.build().instructions if isinstance(each, Gemm)]
    assert len(gemms) > 1
    assert case.holds()


def test_a_reduction_that_no_bank_holds_is_refused():
    """OS keeps all of k of a row in one bank: 8 x 9 x 8 = 576 values of the 512 there are."""
    case = Case(TIGHT, Geometry(padding=(1, 1)), (3, 3), (4, 4), 1, 64, 4)
    plan, orders = plan_of(case.layer, Stage.FF, DENSE, Dataflow.OS, whole)
    with pytest.raises(ExportError, match="conv FF: its smallest tile, 1 x 72 groups of 8 x 1, does not fit"):
        case.forward(plan, orders)


def test_pixels_that_no_tap_reaches_become_zero():
    """A 1 x 1 kernel with stride 2 reaches a quarter of the pixels; the program itself zeroes the others."""
    case = Case(ROOMY, Geometry((2, 2)), (1, 1), (4, 4), 1, 8, 8)
    plan, orders = plan_of(case.layer, Stage.BP, DENSE, Dataflow.OS, whole)
    case.input_gradient(plan, orders)
    assert np.count_nonzero(case.golden.expected["out"].any(-1)) == 4
    assert sum(isinstance(each, Store) and each.zero for each in case.builder.build().instructions) == 3
    assert case.holds()


def test_grouped_convolutions_are_refused_by_name():
    geometry = LayerGeometry(kind="conv", stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=4)
    with pytest.raises(ExportError, match="layer 'dw': a convolution in 4 groups"):
        WeightLayer.of("dw", geometry, (1, 4, 8, 8), (4, 1, 3, 3))


def test_a_linear_layer_is_a_convolution_of_single_pixels():
    layer = WeightLayer.of("fc", LayerGeometry(kind="linear"), (2, 5, 12), (7, 12))
    assert layer == WeightLayer("fc", 10, 12, 7, (1, 1), (1, 1), Geometry())


@pytest.mark.parametrize("stage", [Stage.FF, Stage.BP])
def test_pruning_equals_pack(stage):
    """Both orientations, in the streams of the format; behind the indices the last word is zero."""
    case = Case(ROOMY, Geometry(), (3, 2), (4, 4), 1, 8, 16)
    nm, axis = NM(2, 4), 1 if stage is Stage.FF else 0
    packed = pack(case.w, nm, axis, Format.FP16)
    source = case.golden.give("w", filters(case.w))
    values = case.golden.expect("values", packed.values)
    indices = case.golden.expect("indices", packed.index_stream)
    case.builder.packet(case.layer.prune(stage, source, Compact(values, indices, nm)))
    after = case.memory_after(case.builder.build())
    assert not any(case.golden.mismatches(after).values())
    tail = after[indices * 64 + packed.index_stream.size : case.builder.memory.words * 64]
    assert tail.size and not tail.any()


def test_a_program_ends_with_one_halt():
    builder = ProgramBuilder(ROOMY)
    builder.packet(LoadA(), LoadB())
    program = builder.build()
    assert [each.end for each in program.instructions] == [0, 1, 1]
    assert program.instructions[-1] == Halt()
    assert replace(program.instructions[0], end=1) == LoadA()
