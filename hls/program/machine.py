"""Interpreter of programs: memory as a numpy array, arithmetic as in `codesign.compute`. The functional simulator.

It has no banks, lanes or cycles. What it computes is what the kernels must compute, bit for bit; what it refuses,
they need not check.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatchmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.compute import update_kernels
from codesign.compute.formats import Bits, Float32, Format
from codesign.compute.gemm import gemm
from codesign.compute.half_kernels import narrow, widen
from codesign.compute.optimizers import SGD
from codesign.compute.order import Order
from codesign.compute.sore_kernels import sore
from codesign.compute.stream_kernels import encode
from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.nm.reference import Compact
from hls.config import KernelConfig
from hls.program.capacity import DATAFLOWS, fits, supports
from hls.program.encoding import Program
from hls.program.instruction import (
    WORD_BYTES,
    Gemm,
    Halt,
    Instruction,
    LoadA,
    LoadB,
    Prune,
    Store,
    Update,
    Vector,
)
from hls.program.memory import Bytes, view
from hw_models.timing import Dataflow

Places = NDArray[np.int64]
Execute = Callable[[Vector, Bytes], None]


class TileA(NamedTuple):
    """A half of the activation buffer: rows x (groups * m), spread over the banks for `dataflow`."""

    values: Float32
    dataflow: Dataflow
    m: int


class TileB(NamedTuple):
    """A half of the weight buffer: FP16 bit patterns and indices in their groups, (columns, groups, n)."""

    values: Bits
    indices: NDArray[np.uint8]
    nm: NM

    def operand(self) -> Float32 | Compact:
        """B as `codesign.compute.gemm` takes it."""
        values = widen(self.values, Format.FP16)
        columns, groups, _ = values.shape
        if self.nm.dense:
            return values.reshape(columns, -1).T
        return Compact(values, encode(self.indices, self.nm), (columns, groups * self.nm.m), 1, self.nm)


class Machine:
    """Memory and buffers. `vector` executes VECTOR instructions; a machine without it refuses them.

    All methods raise SpecError for a program that reads what was not loaded, overflows a buffer or leaves memory.
    """

    def __init__(self, config: KernelConfig, memory: Bytes, vector: Execute | None = None) -> None:
        self.config, self.memory = config, memory
        self._vector = vector
        self._a: dict[int, TileA] = {}
        self._b: dict[int, TileB] = {}
        self._out: dict[int, Float32] = {}

    def run(self, program: Program) -> None:
        """Execute all instructions. The order within a packet does not matter."""
        for instruction in program.instructions:
            self.execute(instruction)

    @singledispatchmethod
    def execute(self, instruction: Instruction) -> None:
        """Execute one instruction."""
        raise SpecError(f"{instruction}: expected an instruction with an opcode")

    @execute.register
    def _(self, _: Halt) -> None:
        """Nothing is left to be done."""

    @execute.register
    def _(self, load: LoadA) -> None:
        address, inside = _image_places(load)
        stored = self._elements(load.base, address[inside], np.uint16)
        values = np.zeros(inside.shape, np.uint16)
        values[inside] = stored
        rows = values.reshape(load.pixels, -1)
        a = rows.T if load.transposed else rows
        padded = np.zeros((len(a), NM(load.m, load.m).padded(a.shape[1])), np.uint16)
        padded[:, : a.shape[1]] = a
        self._a[load.half] = TileA(widen(padded, Format.FP16), DATAFLOWS[load.dataflow], load.m)

    @execute.register
    def _(self, load: LoadB) -> None:
        nm, units = NM(load.n, load.m), _unit_places(load)
        if load.stride0 != 1 and (load.column_stride != 1 or not nm.dense):
            raise SpecError(f"{load}: expected stride0 or, of a dense tile, column_stride to be 1")
        if nm.dense:
            values = np.zeros((load.columns, nm.padded(units.shape[1])), np.uint16)
            values[:, : units.shape[1]] = self._elements(load.values, units, np.uint16)
            grouped = values.reshape(load.columns, -1, nm.m)
            indices = np.broadcast_to(np.arange(nm.m, dtype=np.uint8), grouped.shape)
        else:
            kept = units[..., np.newaxis] * nm.n + np.arange(nm.n)
            grouped = self._elements(load.values, kept, np.uint16)
            indices = self._indices(load.indices, kept, nm.index_bits)
        self._b[load.half] = TileB(grouped, indices, nm)

    @execute.register
    def _(self, step: Gemm) -> None:
        a, b = self._operands(step)
        order = Order.os() if step.dataflow else Order.ws(self.config.rows, step.m)
        onto = None if step.clear else self._sums(step.half_out, step.rows, step.columns)
        self._out[step.half_out] = np.ascontiguousarray(gemm(a.values, b.operand(), order, onto))

    @execute.register
    def _(self, store: Store) -> None:
        whole = store.stride0 == 1 and store.row_first % store.count0 == store.rows % store.count0 == 0
        if store.column_stride != 1 and not whole:
            raise SpecError(f"{store}: expected column_stride to be 1, or else stride0, with whole rows r0")
        if store.zero:
            sums = np.zeros((store.rows, store.columns), np.float32)
        else:
            sums = self._sums(store.half, store.rows, store.columns)
        if store.biased:
            wanted = store.bias_first + np.arange(store.columns)
            sums = sums + self._elements(store.bias, wanted, np.float32)
        results = sums if store.wide else narrow(sums, Format.FP16)
        self._put(store.base, _result_places(store), results)

    @execute.register
    def _(self, update: Update) -> None:
        weight = self._view(update.weight, update.count, np.float32)
        moves, decays = bool(update.moves), bool(update.decays)
        velocity = self._view(update.velocity, update.count, np.float32) if moves else np.zeros_like(weight)
        gradient = self._view(update.gradient, update.count, np.float32 if update.wide else np.uint16)
        rule = SGD(-update.step, update.momentum if moves else 0.0, update.decay if decays else 0.0)
        result = update_kernels.sgd(weight, velocity, gradient, rule, Format.FP16, 1 / update.unscale)
        if update.narrows:
            self._view(update.result, update.count, np.uint16)[:] = result

    @execute.register
    def _(self, prune: Prune) -> None:
        nm = NM(prune.n, prune.m)
        source = self._elements(prune.source, _group_places(prune), np.uint16)
        values, indices = sore(source.reshape(-1, nm.m), nm, Format.FP16)
        for address, stream in (
            (prune.values, values.reshape(-1).view(np.uint8)),
            (prune.indices, encode(indices.astype(np.uint8), nm)),
        ):
            words = self._view(address, -(-stream.size // WORD_BYTES) * WORD_BYTES, np.uint8)
            words[:] = np.append(stream, np.zeros(words.size - stream.size, np.uint8))

    @execute.register
    def _(self, vector: Vector) -> None:
        if self._vector is None:
            raise SpecError("VECTOR: this machine has no vector unit")
        self._vector(vector, self.memory)

    def _operands(self, step: Gemm) -> tuple[TileA, TileB]:
        """What a GEMM multiplies, which must be what it was told."""
        a, b = self._a.get(step.half_a), self._b.get(step.half_b)
        if not supports(self.config, step):
            raise SpecError(f"{step}: the array lacks this dataflow or ratio; expected one of {self.config}")
        if not fits(self.config, step):
            raise SpecError(f"{step}: does not fit the buffers of {self.config}; cut it into smaller tiles")
        told = (step.rows, step.groups * step.m), DATAFLOWS[step.dataflow], step.m
        if a is None or (a.values.shape, a.dataflow, a.m) != told:
            raise SpecError(
                f"{step}: A was loaded as {a and (a.values.shape, a.dataflow, a.m)}, expected {told}"
            )
        expected = (step.columns, step.groups, step.n), NM(step.n, step.m)
        if b is None or (b.values.shape, b.nm) != expected:
            raise SpecError(f"{step}: B was loaded as {b and (b.values.shape, b.nm)}, expected {expected}")
        return a, b

    def _sums(self, half: int, rows: int, columns: int) -> Float32:
        out = self._out.get(half)
        if out is None or out.shape != (rows, columns):
            raise SpecError(f"half {half} of the output buffer: expected sums of {rows} x {columns}")
        return out

    def _view(self, address: int, count: int, dtype: Any) -> NDArray[Any]:
        return view(self.memory, address, count, np.dtype(dtype).name)

    def _from(self, address: int, dtype: Any) -> NDArray[Any]:
        """All elements from a word address on."""
        return self.memory[address * WORD_BYTES :].view(dtype)

    def _elements(self, address: int, places: Places, dtype: Any) -> NDArray[Any]:
        stored = self._from(address, dtype)
        _check_places(places, stored)
        return stored[places]

    def _put(self, address: int, places: Places, values: NDArray[Any]) -> None:
        stored = self._from(address, values.dtype)
        _check_places(places, stored)
        stored[places] = values

    def _indices(self, address: int, entries: Places, bits: int) -> NDArray[np.uint8]:
        """Entries of an index stream."""
        first = entries[..., np.newaxis] * bits + np.arange(bits)
        stream = self._elements(address, first >> 3, np.uint8)
        indices: NDArray[np.uint8] = ((stream >> (first & 7) & 1) << np.arange(bits)).sum(-1).astype(np.uint8)
        return indices


def _check_places(places: Places, stored: NDArray[Any]) -> None:
    if places.size and not 0 <= places.min() <= places.max() < stored.size:
        raise SpecError(
            f"access to elements {places.min()} to {places.max()} of {stored.size} up to the end of memory"
        )


def _image_places(load: LoadA) -> tuple[Places, NDArray[np.bool_]]:
    """Elements of the image that a tile of A is made of, (pixels, taps, channels), and which of them exist."""
    pixel = load.pixel_first + np.arange(load.pixels)
    sample, within = np.divmod(pixel, load.grid_h * load.grid_w)
    tap_y, tap_x = np.divmod(np.arange(load.taps_h * load.taps_w), load.taps_w)
    y, x = (
        (place * stride + origin)[:, np.newaxis] + tap * step
        for place, stride, origin, tap, step in (
            (within // load.grid_w, load.stride_y, load.origin_y, tap_y, load.step_y),
            (within % load.grid_w, load.stride_x, load.origin_x, tap_x, load.step_x),
        )
    )
    inside = (y >= 0) & (y < load.height) & (x >= 0) & (x < load.width)
    place = (sample[:, np.newaxis] * load.height + y) * load.width + x
    channel = load.channel_first + np.arange(load.channels)
    address: Places = place[..., np.newaxis] * load.stored_channels + channel
    return address, np.broadcast_to(inside[..., np.newaxis], address.shape)


def _unit_places(load: LoadB) -> Places:
    """Units of a tile of B, (columns, units)."""
    k = _lattice((load.count2, load.stride2), (load.count1, load.stride1), (load.count0, load.stride0))
    return load.offset + _lattice((load.columns, load.column_stride))[:, np.newaxis] + k


def _result_places(store: Store) -> Places:
    """Where a tile of sums goes, (rows, columns)."""
    outer, r0 = np.divmod(store.row_first + np.arange(store.rows), store.count0)
    r2, r1 = np.divmod(outer, store.count1)
    row: Places = r2 * store.stride2 + r1 * store.stride1 + r0 * store.stride0
    return store.offset + row[:, np.newaxis] + _lattice((store.columns, store.column_stride))


def _group_places(prune: Prune) -> Places:
    """Members of all groups, in the order of the streams."""
    return _lattice(
        (prune.outer, prune.outer_stride),
        (prune.inner, prune.inner_stride),
        (prune.groups * prune.m, prune.member_stride),
    )


def _lattice(*axes: tuple[int, int]) -> Places:
    """Every sum of a multiple of each stride, (count, stride), the last axis innermost."""
    places = np.zeros(1, np.int64)
    for count, stride in axes:
        places = np.add.outer(places, np.arange(count) * stride).reshape(-1)
    return places
