"""The whole accelerator in C-simulation: random programs leave the interpreter's memory; faults are reported."""

import shutil

import numpy as np
import pytest
from hls_builds import CACHE, small
from hls_layers import DENSE, ROOMY, TIGHT, Case, cases, halves, plan_of, whole
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesign.compute import update_kernels
from codesign.compute.formats import Format
from codesign.compute.geometry import Geometry
from codesign.compute.optimizers import SGD
from codesign.compute.pack_kernels import pack
from codesign.errors import ExportError
from codesign.nm.format import NM
from hls.accelerator import testbench_files as files_of
from hls.golden import Golden
from hls.lower import Compact
from hls.program.builder import ProgramBuilder
from hls.program.capacity import config_header
from hls.program.instruction import Halt, Update
from hls.program.machine import Machine
from hls.toolchain import Toolchain, run
from hw_models.timing import Dataflow
from workloads.ops import Stage

GXX = Toolchain("g++")
UNITS = ("tb/sat_tb.cpp", "kernels/sat.cpp")
pytestmark = pytest.mark.skipif(not GXX.available, reason="needs g++")

CHECKED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def built(config, toolchain=GXX):
    return toolchain.build(UNITS, config_header(config), CACHE)


def write(golden, folder, **changed):
    """The testbench's files, some of them changed; `expected_bin` is what the interpreter leaves in memory."""
    program = golden.builder.build()
    machine = Machine(golden.builder.config, golden.image())
    machine.run(program)
    assert not any(golden.mismatches(machine.memory).values())
    for name, content in files_of(golden, program, machine.memory).items():
        change = changed.get(name.replace(".", "_"), bytes)
        (folder / name).write_bytes(change(content))
    return folder


def simulated(golden, folder, toolchain=GXX, **changed):
    """What the testbench prints."""
    return run(built(golden.builder.config, toolchain), write(golden, folder, **changed))


def a_product(config=TIGHT):
    case = Case(config, Geometry((2, 1), (1, 1)), (3, 3), (7, 6), 2, 8, 5)
    case.forward(*plan_of(case.layer, Stage.FF, NM(2, 4), Dataflow.WS, whole))
    return case


def updates_and_prunings(config, seed, count, decay, momentum):
    """A weight of `count` outputs is updated from FP16 and FP32 gradients, then pruned both ways."""
    generator = np.random.default_rng(seed)
    golden = Golden(ProgramBuilder(config))
    case = Case(config, Geometry(), (3, 1), (4, 4), 1, 16, count)
    rule = SGD(0.1, momentum, decay)
    decay, momentum, step = rule.constants()
    for wide in (0, 1):
        weight, velocity = (generator.standard_normal((count, 3, 16)).astype(np.float32) for _ in range(2))
        gradient = halves(generator, count, 3, 16)
        given_gradient = gradient.view(np.float16).astype(np.float32) if wide else gradient
        at = [
            golden.give(f"{name}{wide}", values.copy())
            for name, values in (("weight", weight), ("velocity", velocity), ("gradient", given_gradient))
        ]
        result = update_kernels.sgd(weight, velocity, given_gradient, rule, Format.FP16, 4.0)
        golden.expected |= {f"weight{wide}": weight, f"velocity{wide}": velocity}
        constants = {"decay": float(decay), "momentum": float(momentum), "step": float(step), "unscale": 0.25}
        switches = {"decays": int(bool(decay)), "moves": int(bool(momentum)), "wide": wide, "narrows": 1}
        places = dict(zip(("weight", "velocity", "gradient"), at, strict=True))
        to = golden.expect(f"result{wide}", result)
        golden.builder.packet(Update(**places, result=to, count=weight.size, **constants, **switches))
        w = result.transpose(0, 2, 1)[..., np.newaxis]  # (Cout, Cin, taps, 1)
        for stage, axis, nm in ((Stage.FF, 1, NM(2, 8)), (Stage.BP, 0, NM(2, 4))):
            packed = pack(np.ascontiguousarray(w), nm, axis, Format.FP16)
            values = golden.expect(f"{stage}{wide}/values", packed.values)
            indices = golden.expect(f"{stage}{wide}/indices", packed.index_stream)
            golden.builder.packet(case.layer.prune(stage, to, Compact(values, indices, nm)))
    return golden


@settings(CHECKED, max_examples=15)
@given(cases([TIGHT]))
def test_random_passes_match(tmp_path, case):
    assert "all match" in simulated(case.golden, tmp_path)


@pytest.mark.parametrize(("decay", "momentum"), [(0.0, 0.0), (1e-3, 0.9)])
def test_updates_and_pruning_match(tmp_path, decay, momentum):
    """44 x 48 parameters end within a word and, of 4 lanes, within a block."""
    golden = updates_and_prunings(TIGHT, 1, 44, decay, momentum)
    assert "14 tensors" in simulated(golden, tmp_path)


# -- faults are seen ---------------------------------------------------------------------------------------------


def test_the_first_wrong_element_is_named(tmp_path):
    """Element [1, 2, 3, 4] of out (2, 4, 6, 5): ((1 * 4 + 2) * 6 + 3) * 5 + 4 = 199, at byte 398 of the tensor."""
    case = a_product()
    first = case.golden.tensor("out").address * 64
    assert case.golden.tensor("out").shape == (2, 4, 6, 5)

    def change(expected):
        data = bytearray(expected)
        data[first + 398 : first + 400] = b"\x00\x3c"
        return bytes(data)

    with pytest.raises(ExportError, match=r"out\[1, 2, 3, 4\]: got 0x\w+ \(.*\), expected 0x3c00 \(1\)"):
        simulated(case.golden, tmp_path, expected_bin=change)


def test_a_write_beside_the_tensors_is_seen(tmp_path):
    case = a_product()

    def change(expected):
        return expected[:-1] + b"\x00"  # behind the end of the last tensor, where memory is stale

    with pytest.raises(ExportError, match=r"word \d+ was changed"):
        simulated(case.golden, tmp_path, expected_bin=change)


@pytest.mark.parametrize(
    ("place", "message"),
    [(0, "this is no program"), (4, "another version"), (16, "another configuration"), (47, "configuration")],
)
def test_the_kernel_refuses_what_was_not_made_for_it(tmp_path, place, message):
    def change(program):
        return program[:place] + bytes([program[place] ^ 1]) + program[place + 1 :]

    with pytest.raises(ExportError, match=message):
        simulated(a_product().golden, tmp_path, program_bin=change)


def test_an_early_halt_is_seen(tmp_path):
    golden = a_product().golden
    halt = ProgramBuilder(TIGHT)
    halt.packet(Halt())

    def change(program):
        return program[:64] + halt.build().to_bytes()[64:128] + program[128:]

    with pytest.raises(ExportError, match=r"ended after 1 of \d+ instructions"):
        simulated(golden, tmp_path, program_bin=change)


# -- other sizes, compilers and sanitizers --------------------------------------------------------------------------


@pytest.mark.slow
@settings(CHECKED, max_examples=150)
@given(cases([ROOMY, TIGHT]))
def test_many_random_passes_match(tmp_path, case):
    assert "all match" in simulated(case.golden, tmp_path)


@pytest.mark.slow
@settings(CHECKED, max_examples=30)
@given(cases([TIGHT]))
def test_random_passes_are_clean_under_sanitizers(tmp_path, case):
    assert "all match" in simulated(case.golden, tmp_path, toolchain=Toolchain("g++", sanitize=True))


@pytest.mark.slow
@given(st.integers(0, 99), st.integers(1, 20).map(lambda outputs: 4 * outputs), st.booleans())
@settings(CHECKED, max_examples=30)
def test_random_updates_and_prunings_match(tmp_path, seed, outputs, switches):
    golden = updates_and_prunings(TIGHT, seed, outputs, 1e-3 * switches, 0.9 * switches)
    assert "all match" in simulated(golden, tmp_path, toolchain=Toolchain("g++", sanitize=True))


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 16, 32])
def test_other_array_sizes_match(tmp_path, size):
    config = small(size, "1:4", "2:4", "2:8", "2:16")
    for number, (stage_pass, nm, flow) in enumerate(
        [
            (Case.forward, NM(2, 16), Dataflow.WS),
            (Case.forward, NM(1, 4), Dataflow.OS),
            (Case.weight_gradient, DENSE, Dataflow.WS),
            (Case.input_gradient, NM(2, 8), Dataflow.OS),
        ]
    ):
        case = Case(config, Geometry((2, 2), (1, 1)), (3, 3), (9, 9), 3, 32, 48)
        stage = (Stage.FF, Stage.FF, Stage.WU, Stage.BP)[number]
        stage_pass(case, *plan_of(case.layer, stage, nm, flow, whole, rows=size))
        assert "all match" in simulated(case.golden, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["clang++", "clang++-14", "clang++-16"])
def test_other_compilers_agree(tmp_path, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    assert "all match" in simulated(a_product().golden, tmp_path, toolchain=Toolchain(compiler))
