"""The instruction format: bits by hand, text and words and back, rules of packets, and what the machine refuses."""

import struct
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hls_builds import small
from hypothesis import given
from hypothesis import strategies as st

from codesign.errors import SpecError
from hls.program.assembly import assemble, disassemble
from hls.program.encoding import MAGIC, Program, decode, encode, places
from hls.program.header import HEADER, header
from hls.program.instruction import INSTRUCTIONS, Gemm, Halt, LoadA, LoadB, Store, Update, Vector
from hls.program.machine import Machine
from hls.program.memory import MemoryMap

CONFIG = small(4, "2:4")
HASH = bytes(range(32))


@st.composite
def instructions(draw):
    kind = draw(st.sampled_from(list(INSTRUCTIONS.values())))
    values = {}
    for name, place in places(kind).items():
        low = -(1 << place.width - 1) if place.signed else 0
        integers = st.integers(low, low + (1 << place.width) - 1)
        values[name] = draw(st.floats(width=32, allow_nan=False) if place.real else integers)
    return kind(**values | {"end": 1})


# -- words and text ------------------------------------------------------------------------------------------------


def test_bits_by_hand():
    """Opcode 1 | end 1 << 8 | half 1 << 9 | transposed 1 << 10 = 0x701; pairs have the vertical half below."""
    load = LoadA(half=1, transposed=1, base=7, height=3, width=5, step_y=-1, step_x=2, origin_y=-2, m=8)
    lanes = struct.unpack("<16I", encode(load))
    assert lanes[:9] == (0x701, 7, 0, 0x0005_0003, 0, 0, 0x0002_FFFF, 0x0000_FFFE, 0)
    assert lanes[13] == 8
    assert sum(lanes[9:13]) + lanes[14] + lanes[15] == 0


def test_reals_are_fp32_patterns():
    assert struct.unpack("<16I", encode(Update(step=-0.5)))[9] == 0xBF00_0000


def test_header_by_hand():
    words = struct.unpack("<4I32s4I", Program(HASH, (Halt(),)).to_bytes()[:64])
    assert words == (0x50544153, 1, 1, 0, HASH, 0, 0, 0, 0)
    assert MAGIC.to_bytes(4, "little") == b"SATP"


@pytest.mark.parametrize("kind", INSTRUCTIONS.values(), ids=lambda kind: kind.__name__)
def test_no_two_fields_share_a_bit(kind):
    opcode = {(0, bit) for bit in range(8)}
    bits = [{(place.lane, place.low + bit) for bit in range(place.width)} for place in places(kind).values()]
    assert all(not a & b for a, b in combinations([opcode, *bits], 2))
    assert all(lane < 16 and bit < 32 for lane, bit in set().union(*bits))


@given(instructions())
def test_a_word_and_back(instruction):
    assert decode(encode(instruction)) == instruction


@given(st.lists(instructions(), max_size=5))
def test_a_program_as_words_and_as_text_and_back(body):
    program = Program(HASH, (*body, Halt()), {0: "first"})
    assert Program.from_bytes(program.to_bytes()) == program
    assert assemble(disassemble(program)) == program


def test_the_text():
    packet = (Gemm(n=2, m=4, rows=3, end=0), Store(half=1, rows=3))
    text = disassemble(Program(HASH, (*packet, Halt()), {0: "fc1 FF"}))
    assert text.splitlines()[1:] == ["", "# fc1 FF", "GEMM n=2 m=4 rows=3 &", "STORE half=1 rows=3", "HALT"]


def test_the_header_of_the_kernels_is_up_to_date():
    """If not: python -m hls.program.header."""
    assert HEADER.read_text("utf-8") == header()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line is ''"),
        (".program 2 00\nHALT", "expected .program 1 CONFIG"),
        (".program 1 xy\nHALT", "expected hexadecimal digits"),
        (f".program 1 {HASH.hex()}\nJUMP", "line 2: 'JUMP': expected one of: HALT, LOAD_A"),
        (f".program 1 {HASH.hex()}\n# x\nGEMM depth=1", "line 3: GEMM has no field 'depth'"),
        (f".program 1 {HASH.hex()}\nGEMM rows=many", "line 2: 'rows=many': expected a number"),
        (f".program 1 {HASH.hex()}\nGEMM rows=1", "the last instruction is no HALT"),
    ],
)
def test_bad_text_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        assemble(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SATP", "expected a multiple of 64"),
        (bytes(64), "magic 0x0"),
        (Program(HASH, (Halt(),)).to_bytes()[:64], "1 instructions in 64 bytes"),
        (Program(HASH, (Halt(),)).to_bytes()[:64] + b"\x09" + bytes(63), "opcode 9"),
        (Program(HASH, (Halt(),)).to_bytes()[:-1] + b"\x01", "bits are set that belong to no field"),
    ],
)
def test_bad_words_are_refused(data, message):
    with pytest.raises(SpecError, match=message):
        Program.from_bytes(data)


@pytest.mark.parametrize("instruction", [LoadA(height=1 << 16), LoadA(step_y=-(1 << 15) - 1), Gemm(rows=-1)])
def test_a_value_that_its_field_cannot_hold_is_refused(instruction):
    with pytest.raises(SpecError, match="too large for the program's format"):
        encode(instruction)


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        ((Gemm(), LoadA()), "expected some of LOAD_A, LOAD_B, GEMM, STORE, in this order"),
        ((LoadA(), LoadA()), "expected some of LOAD_A"),
        ((Gemm(), Update()), "expected some of LOAD_A"),
        ((LoadA(half=1), Gemm(half_a=1)), "loads the half that its GEMM reads"),
        ((LoadB(half=0), Gemm(half_b=0)), "loads the half that its GEMM reads"),
        ((Gemm(half_out=1), Store(half=1)), "stores the half that its GEMM writes"),
    ],
)
def test_packets_that_break_a_rule_are_refused(packet, message):
    with pytest.raises(SpecError, match=message):
        Program(HASH, (replace(packet[0], end=0), packet[1], Halt()))


# -- the machine ---------------------------------------------------------------------------------------------------


def machine_with(**tensors):
    memory_map = MemoryMap()
    for name, values in tensors.items():
        memory_map.add(name, values.shape, values.dtype.name)
    memory = memory_map.image()
    for name, values in tensors.items():
        memory_map.tensors[name].of(memory)[...] = values
    return Machine(CONFIG, memory), memory_map


PLAIN = {"height": 1, "width": 1, "grid_h": 1, "grid_w": 1, "taps_h": 1, "taps_w": 1, "m": 8}
LOAD_A = LoadA(stored_channels=8, pixels=3, channels=8, **PLAIN)
LOAD_B = LoadB(n=8, m=8, count0=8, stride0=1, count1=1, count2=1, columns=2, column_stride=8)


def small_product():
    """x (3, 8) times the transpose of w (2, 8), whole numbers, so that the sums are exact."""
    generator = np.random.default_rng(3)
    x, w = (generator.integers(-3, 4, shape).astype(np.float16) for shape in ((3, 8), (2, 8)))
    y, bias = np.zeros((3, 2), np.float16), np.array([0, 0.5, -2], np.float32)
    return machine_with(x=x, w=w, y=y, bias=bias), x, w


@pytest.mark.parametrize("dataflow", [0, 1])
def test_a_product_with_a_bias_equals_numpy(dataflow):
    (machine, where), x, w = small_product()
    at = {name: tensor.address for name, tensor in where.tensors.items()}
    machine.execute(replace(LOAD_A, base=at["x"], dataflow=dataflow))
    machine.execute(replace(LOAD_B, values=at["w"]))
    for clear in (1, 0):  # twice the sums
        machine.execute(Gemm(dataflow=dataflow, clear=clear, n=8, m=8, rows=3, groups=1, columns=2))
    rows = {"rows": 3, "count0": 3, "stride0": 2, "count1": 1, "columns": 2, "column_stride": 1}
    machine.execute(Store(base=at["y"], biased=1, bias=at["bias"], bias_first=1, **rows))
    y = where.tensors["y"].of(machine.memory)
    assert np.array_equal(y, 2 * x.astype(float) @ w.T.astype(float) + [0.5, -2])
    machine.execute(Store(base=at["y"], zero=1, **rows))
    assert not y.any()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([Gemm(clear=1, n=8, m=8, rows=3, groups=1, columns=2)], "A was loaded as None"),
        ([LOAD_A, Gemm(clear=1, n=8, m=8, rows=3, groups=1, columns=2)], "B was loaded as None"),
        ([LOAD_A, LOAD_B, Gemm(clear=1, n=8, m=8, rows=4, groups=1, columns=2)], "A was loaded as"),
        ([LOAD_A, LOAD_B, Gemm(dataflow=1, n=8, m=8, rows=3, groups=1, columns=2)], "A was loaded as"),
        ([LOAD_A, LOAD_B, Gemm(n=8, m=8, rows=3, groups=1, columns=2)], "expected sums of 3 x 2"),
        ([Gemm(n=3, m=8, rows=1, groups=1, columns=1)], "lacks this dataflow or ratio"),
        ([Gemm(n=8, m=8, rows=1 << 20, groups=1, columns=1)], "does not fit the buffers"),
        ([LoadA(stored_channels=8, pixels=999, channels=8, **PLAIN)], "access to elements 0 to 7991"),
        ([LoadB(n=8, m=8, count0=8, stride0=2, count1=1, count2=1, columns=2, column_stride=2)], "stride0"),
        ([Store(rows=1, count0=1, count1=1, columns=1, column_stride=1)], "expected sums of 1 x 1"),
        ([Store(zero=1, rows=3, count0=2, stride0=1, count1=1, columns=1, column_stride=9)], "whole rows"),
        ([Update(weight=2, count=999, unscale=1.0)], "access to bytes"),
        ([Vector()], "no vector unit"),
    ],
)
def test_the_machine_refuses(steps, message):
    (machine, _), _, _ = small_product()
    with pytest.raises(SpecError, match=message):
        for step in steps:
            machine.execute(step)


def test_memory_refuses_a_name_twice_and_an_access_beyond_its_end():
    (machine, where), _, _ = small_product()
    with pytest.raises(SpecError, match="no place for tensor 'x'"):
        where.add("x", (1,))
    late = where.add("late", (4,))
    with pytest.raises(SpecError, match="expected one inside"):
        late.of(machine.memory)
