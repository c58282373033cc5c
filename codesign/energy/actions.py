"""Counts of everything that costs energy, from the tiles of a program: integers, nothing estimated.

A count is named `component.action`. The micro-architecture is that of `hw_models.timing`:

- **Arithmetic** works on real data only: a processing element (PE) whose slot is padding holds its operands.
  So multiplications and additions of the array are the multiply-accumulates of the program. Each of them picks
  one of the m values of its activation vector, dense groups too: a multiplexer of m - 1 two-way stages.
- **Registers** of the array move in every slot, padding included. In a slot each PE passes on an activation
  vector of m values, adds to one sum, and uses one weight: held (weight-stationary, WS; loading shifts the
  R * n values of a column as often) or moving down (output-stationary, OS). OS sums shift out through the PEs
  below. `activation_register` includes the window buffers at the left edge.
- **Buffers** are filled from DRAM once for each load. The array reads an A tile once for each strip of columns,
  a B tile once (WS) or once for each R * F rows of outputs (OS). Results go to the output buffer in accumulator
  precision, in WS once for each R * m of the reduction, where they are added to what is there. What goes to
  DRAM, or is taken up again by the next tile of a reduction, is read once more.
- **SORE** compares every value of a group with as many kept ones as its sorters hold, the array's largest N.
- **WUVE** does the multiplications and additions of `UPDATE_OPERATIONS` on each parameter.
- **DRAM** row activations are proportional to the bits moved: transfers are long and stream through whole rows.

Left out: clock and control, DMA and AXI, the pipelines of vector unit and WUVE, idle toggling.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from codesign.nm.format import NM
from codesign.units import bytes_to_bits
from hw_models.arch import Arch
from hw_models.program import Step, Tile, TileGemm, Unit
from hw_models.stce import Stce
from hw_models.timing import ArrayParams, Dataflow

Counts = Counter[str]

_BITS = ("read_bit", "write_bit")
_ADDITIONS = ("fp16_add", "fp32_add")
_MULTIPLICATIONS = ("fp16_multiply", "fp32_multiply")

ACTIONS = {
    "multiplier": _MULTIPLICATIONS,
    "accumulator": _ADDITIONS,
    "selector": ("mux_bit",),
    "activation_register": _BITS,
    "weight_register": _BITS,
    "sum_register": _BITS,
    "activation_buffer": _BITS,
    "weight_buffer": _BITS,
    "output_buffer": (*_BITS, *_ADDITIONS),
    "vector_buffer": _BITS,
    "update_buffer": _BITS,
    "vector_unit": ("operation",),
    "wuve": (*_MULTIPLICATIONS, *_ADDITIONS),
    "sore": ("compare_16", "compare_32"),
    "dram_access": _BITS,
    "dram_activation": ("streamed_bit",),
    "dram_background": ("leak",),
    "static": ("leak",),
}
"""Every action, by component."""

UPDATE_OPERATIONS = {1: (3, 3), 2: (7, 7)}
"""(multiplications, additions) of one parameter's update, by values of optimizer state.

SGD: weight decay, momentum and step, a multiply-add each. AdamW: first moment 1 and 2, second moment 2 and 2, square
root 1, epsilon 0 and 1, division 1, learning rate 1, step 0 and 1, weight decay 1 and 1; square root and division
count as multiplications.
"""


class ActionCounter:
    """Counts the actions of steps executed on one architecture."""

    def __init__(self, arch: Arch) -> None:
        self._array = arch.array_params
        self._stce = Stce(arch)
        self._channels = arch.dram.channels
        self._operand_bits = arch.precision.operand_bits
        self._sum_bits = arch.precision.accumulator_bits
        self._master_bits = arch.precision.master_bits
        self._sorter_depth = max((nm.n for nm in arch.array.sparsity), default=1)

    def count(self, step: Step, counts: Counts) -> None:
        """Add the actions of `step` to `counts`."""
        counts["dram_access.read_bit"] += bytes_to_bits(step.read_bytes)
        counts["dram_access.write_bit"] += bytes_to_bits(step.write_bytes)
        counts["dram_activation.streamed_bit"] += bytes_to_bits(step.read_bytes + step.write_bytes)
        if step.sort_m:
            groups = sum(
                (tile.sort_before_groups + tile.sort_after_groups) * times
                for tile, times in step.tile_counts()
            )
            compares = groups * step.sort_m * self._sorter_depth
            counts[f"sore.compare_{self._operand_bits}"] += compares
        if step.unit is Unit.STCE:
            self._count_product(step, counts)
        else:
            self._count_stream(step, counts)

    def count_background(self, cycles: int, counts: Counts) -> None:
        """Add what `cycles` cost whatever the machine does: all DRAM channels and the chip itself."""
        counts["dram_background.leak"] += self._channels * cycles
        counts["static.leak"] += cycles

    def _count_stream(self, step: Step, counts: Counts) -> None:
        """Work of the vector unit or of WUVE: everything passes their buffer once."""
        work = sum(tile.work * times for tile, times in step.tile_counts())
        buffer = "vector_buffer" if step.unit is Unit.VECTOR else "update_buffer"
        moved_bits = bytes_to_bits(step.read_bytes + step.write_bytes)
        counts[f"{buffer}.write_bit"] += moved_bits
        counts[f"{buffer}.read_bit"] += moved_bits
        if step.unit is Unit.VECTOR:
            counts["vector_unit.operation"] += work
        elif work:
            multiplications, additions = UPDATE_OPERATIONS[self._optimizer_states(step, work)]
            counts[f"wuve.fp{self._master_bits}_multiply"] += multiplications * work
            counts[f"wuve.fp{self._master_bits}_add"] += additions * work

    def _optimizer_states(self, step: Step, parameters: int) -> int:
        """Values of optimizer state a parameter: it is read with its gradient and its master weight."""
        bits = bytes_to_bits(step.read_bytes) // parameters
        return (bits - self._operand_bits) // self._master_bits - 1

    def _count_product(self, step: Step, counts: Counts) -> None:
        """A GEMM on the array."""
        assert step.choice is not None, f"step {step.name} has no dataflow"
        counts[f"multiplier.fp{self._operand_bits}_multiply"] += step.macs
        counts[f"accumulator.fp{self._sum_bits}_add"] += step.macs
        counts["selector.mux_bit"] += step.macs * (step.m - 1) * self._operand_bits
        nm = NM(step.n, step.m)
        for tile, times in step.tile_counts():
            slots = times * self._stce.breakdown(step, tile).mac * self._array.rows * self._array.cols
            motion = _Motion.of(self._array, step.choice.dataflow, _gemm(tile), nm)
            self._count_registers(slots, times * _gemm(tile).count, motion, nm, counts)
            self._count_buffers(tile, times, motion, nm, counts)

    def _count_registers(self, slots: int, products: int, motion: _Motion, nm: NM, counts: Counts) -> None:
        vector_bits = nm.m * self._operand_bits
        weight_bits = self._operand_bits + (0 if nm.dense else nm.index_bits)
        windows_bits = products * motion.a_values * self._operand_bits
        shifts = products * motion.weight_shifts
        sums = slots + products * motion.sum_shifts
        counts["activation_register.write_bit"] += windows_bits + slots * vector_bits
        counts["activation_register.read_bit"] += (slots // self._array.cols + slots) * vector_bits
        counts["weight_register.write_bit"] += (shifts + (slots if motion.weights_move else 0)) * weight_bits
        counts["weight_register.read_bit"] += (shifts + slots) * weight_bits
        counts["sum_register.write_bit"] += sums * self._sum_bits
        counts["sum_register.read_bit"] += sums * self._sum_bits

    def _count_buffers(self, tile: Tile, times: int, motion: _Motion, nm: NM, counts: Counts) -> None:
        gemm = _gemm(tile)
        products = times * gemm.count
        b_bits = gemm.k * gemm.j * self._operand_bits
        if not nm.dense:
            b_bits = nm.compact_bits(nm.padded(gemm.k), gemm.j, self._operand_bits)
        pruned_bits = tile.sort_before_groups * nm.group_bits(self._operand_bits)
        partial_results = products * gemm.i * gemm.j * motion.result_writes
        # The first partial result of a sum is only written; a tile that does not store leaves its sums to the next.
        additions = partial_results - (products * gemm.i * gemm.j if tile.store_bytes else 0)
        counts["activation_buffer.write_bit"] += times * bytes_to_bits(tile.load_a_bytes)
        counts["activation_buffer.read_bit"] += products * motion.a_values * self._operand_bits
        counts["weight_buffer.write_bit"] += times * (pruned_bits or bytes_to_bits(tile.load_b_bytes))
        counts["weight_buffer.read_bit"] += products * motion.b_passes * b_bits
        counts["output_buffer.write_bit"] += partial_results * self._sum_bits
        counts["output_buffer.read_bit"] += partial_results * self._sum_bits
        counts[f"output_buffer.fp{self._sum_bits}_add"] += additions


def _gemm(tile: Tile) -> TileGemm:
    assert tile.gemm is not None, "tile of a GEMM step without a GEMM"
    return tile.gemm


class _Motion(NamedTuple):
    """What moves while the array computes one product.

    `a_values` leave the activation buffer; each value of B leaves the weight buffer `b_passes` times; each result
    is written to the output buffer `result_writes` times. `weight_shifts` and `sum_shifts` are moves from PE to PE
    outside the slots; `weights_move` says that weights move in every slot too.
    """

    a_values: int
    b_passes: int
    result_writes: int
    weights_move: bool
    weight_shifts: int
    sum_shifts: int

    @classmethod
    def of(cls, array: ArrayParams, dataflow: Dataflow, gemm: TileGemm, nm: NM) -> _Motion:
        strips = -(-gemm.j // array.cols)
        a_values = strips * gemm.i * gemm.k
        if dataflow is Dataflow.WS:
            blocks = -(-gemm.k // (array.rows * nm.m))
            shifts = strips * blocks * array.cols * (array.rows * nm.n) ** 2
            return cls(a_values, 1, blocks, False, shifts, 0)
        full, rest = divmod(gemm.i, array.rows * array.interleave_depth)
        ragged = -(-rest // array.rows)  # lanes of the last tile
        lanes = full * array.interleave_depth + ragged
        # A PE's sums, one for each lane, shift on as often as there are sums in it and above it.
        shifts = (array.rows + 1) * array.rows // 2 * (full * array.interleave_depth**2 + ragged**2)
        copies = array.rows * lanes if array.double_accumulators else 0
        b_passes = full + bool(rest)
        return cls(a_values, b_passes, 1, True, 0, strips * array.cols * (shifts + copies))
