"""Tilings of a product under the buffer limits, and their closed-form cost."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from codesign.schedule.product import Product
from codesign.units import bits_to_bytes, bytes_to_bits, transfer_cycles
from hw_models.arch import Arch
from hw_models.timing import ArrayParams, Dataflow, gemm_cycles

I_SPLITS = (1, 2, 4)
LEAST_TILES = 8


class Pieces(NamedTuple):
    """An axis cut into `full` (at least one) pieces of `size` and perhaps one smaller `tail` (0: none)."""

    size: int
    full: int
    tail: int

    @classmethod
    def cut(cls, length: int, size: int) -> Pieces:
        """Cut `length` into pieces of `size`."""
        full, tail = divmod(length, size)
        return cls(size, full, tail)

    @property
    def parts(self) -> int:
        """Pieces in all."""
        return self.full + (self.tail > 0)

    def kinds(self) -> list[tuple[int, int]]:
        """(size, how often) of the full pieces and of the tail."""
        full = [(self.size, self.full)]
        return [*full, (self.tail, 1)] if self.tail else full


class Tiling(NamedTuple):
    """Buffer-tile sizes and the order of the two outer loops (`ij`: i outermost); k is always innermost.

    `together` whole products share a tile if they are small; it is 1 if a product is cut.
    """

    i: Pieces
    k: Pieces
    j: Pieces
    order: str
    together: int = 1

    @property
    def whole(self) -> bool:
        """One tile holds a whole product."""
        return self.i.parts == self.k.parts == self.j.parts == 1

    @property
    def a_resident(self) -> bool:
        """Every element of A is read once: its tile only changes with the outer loop, or never."""
        return self.j.parts == 1 or (self.k.parts == 1 and (self.order == "ij" or self.i.parts == 1))

    @property
    def b_resident(self) -> bool:
        """Every element of B is read once."""
        return self.i.parts == 1 or (self.k.parts == 1 and (self.order == "ji" or self.j.parts == 1))


class Cost(NamedTuple):
    """Closed-form prediction for all equal products of an operation, in cycles."""

    total: int
    array: int
    dram: int


def candidates(product: Product, target: Target) -> Iterator[Tiling]:
    """Legal tilings worth comparing; none if not even the smallest tile fits the buffers.

    For each width of B that is loaded at once: the longest reductions that fit, then the most rows that fit
    (and fractions of it, since shorter tiles start and end sooner). Loops run in order `ij`.
    """
    for j in _halvings(product.j, target.j_granule(product)):
        for k in _fitting(product, target, j):
            rows = _largest_i(product, target, k, j)
            if rows == 0:
                continue
            for i in sorted({_round(min(rows, product.i), part, product.i_unit) for part in I_SPLITS}):
                cut = Pieces.cut(product.i, i), Pieces.cut(product.k, k), Pieces.cut(product.j, j)
                tiling = Tiling(*cut, "ij")
                yield tiling._replace(together=_together(product, target)) if tiling.whole else tiling


def _together(product: Product, target: Target) -> int:
    """Whole products that fit in one tile, few enough that the operation still has tiles to overlap."""
    i, k, j = product.i, product.k, product.j
    fits = min(
        target.activation_bytes // product.a_bytes(i, k),
        target.weight_bytes // product.b_buffer_bytes(k, j),
        target.output_bytes // target.psum_bytes(i, j),
    )
    return min(fits, -(-product.gemm.count // LEAST_TILES))


class Target(NamedTuple):
    """What a tiling must fit and what it costs: the part of an architecture that matters here.

    The byte limits are those of one tile (half of a double-buffered buffer).
    """

    activation_bytes: int
    weight_bytes: int
    output_bytes: int
    accumulator_bits: int
    array: ArrayParams
    dma_bytes_per_cycle: int
    dram_cycles_per_byte: Fraction

    @classmethod
    def of(cls, arch: Arch) -> Target:
        """The target that `arch` is."""
        buffers = arch.buffers
        return cls(
            buffers.activation.tile_bytes,
            buffers.weight.tile_bytes,
            buffers.output.tile_bytes,
            arch.precision.accumulator_bits,
            arch.array_params,
            arch.dma_bytes_per_cycle,
            arch.dram_cycles_per_byte,
        )

    def memory_cycles(self, read_bytes: int, write_bytes: int) -> int:
        """Cycles that traffic takes: ports are separate for reads and writes, the DRAM is shared."""
        port = -(-max(read_bytes, write_bytes) // self.dma_bytes_per_cycle)
        return max(port, transfer_cycles(read_bytes + write_bytes, self.dram_cycles_per_byte))

    def j_granule(self, product: Product) -> int:
        """Granule of j: whole stored pixels that span the array's columns."""
        return product.j_unit * -(-self.array.cols // product.j_unit)

    def psum_bytes(self, i: int, j: int) -> int:
        """Output-buffer bytes of an i x j tile of partial sums."""
        return bits_to_bytes(i * j * self.accumulator_bits)

    def explain(self, product: Product) -> str:
        """Which buffer cannot hold the smallest tile that is tried."""
        i, k, j = (
            _least(product.i, product.i_unit),
            _least(product.k, product.k_unit),
            _least(product.j, self.j_granule(product)),
        )
        needs = {
            "activation": (product.a_bytes(i, k), self.activation_bytes),
            "weight": (product.b_buffer_bytes(k, j), self.weight_bytes),
            "output": (self.psum_bytes(i, j), self.output_bytes),
        }
        short = [
            f"buffers.{name} holds {has} B a tile, needs {need} B"
            for name, (need, has) in needs.items()
            if need > has
        ]
        return (
            f"the smallest tile ({i} x {k} x {j}) does not fit: "
            f"{'; '.join(short)}; enlarge the buffer or turn double buffering off"
        )


def in_best_order(product: Product, tiling: Tiling) -> Tiling:
    """The tiling in the loop order that reads fewer bytes; the array does the same work in either."""
    if tiling.k.parts > 1 or tiling.i.parts == 1 or tiling.j.parts == 1:
        return tiling  # no operand stays longer in one order than in the other
    volume = Volume.of(product, tiling)
    again_b, again_a = volume.b_bytes * (tiling.i.parts - 1), volume.a_bytes * (tiling.j.parts - 1)
    return tiling._replace(order="ji") if again_a < again_b else tiling


def costs(product: Product, tiling: Tiling, dataflows: Sequence[Dataflow], target: Target) -> list[Cost]:
    """Predict all products under each dataflow: array and memory overlap, save the first load and last store."""
    products, together = product.gemm.count, tiling.together
    read, write = traffic(product, tiling)
    memory = target.memory_cycles(products * read, products * write)
    i, k, j = tiling.i.size, tiling.k.size, tiling.j.size
    edges = target.memory_cycles(together * (product.a_bytes(i, k) + product.b_bytes(k, j)), 0)
    edges += target.memory_cycles(0, together * product.y_bytes(i, j))
    shapes = tile_shapes(tiling)
    predicted = []
    for dataflow in dataflows:
        array = 0
        for shape, count in shapes:
            cycles = gemm_cycles(target.array, dataflow, *shape, product.nm.n, product.nm.m).total
            array += products * count * cycles
        predicted.append(Cost(max(array, memory) + edges, array, memory))
    return predicted


def tile_shapes(tiling: Tiling) -> list[tuple[tuple[int, int, int], int]]:
    """Every distinct (i, k, j) tile with how often it occurs."""
    return [
        ((i, k, j), i_count * k_count * j_count)
        for i, i_count in tiling.i.kinds()
        for k, k_count in tiling.k.kinds()
        for j, j_count in tiling.j.kinds()
    ]


class Volume(NamedTuple):
    """Bytes of all tiles of each operand and of the result, each tile once."""

    a_bytes: int
    b_bytes: int
    y_bytes: int

    @classmethod
    def of(cls, product: Product, tiling: Tiling) -> Volume:
        """Volume of one product."""
        i_kinds, k_kinds, j_kinds = tiling.i.kinds(), tiling.k.kinds(), tiling.j.kinds()
        a = b = y = 0
        for k, k_count in k_kinds:
            for i, i_count in i_kinds:
                a += i_count * k_count * product.a_bytes(i, k)
            for j, j_count in j_kinds:
                b += k_count * j_count * product.b_bytes(k, j)
        for i, i_count in i_kinds:
            for j, j_count in j_kinds:
                y += i_count * j_count * product.y_bytes(i, j)
        return cls(a, b, y)


def traffic(product: Product, tiling: Tiling) -> tuple[int, int]:
    """(read, written) DRAM bytes of a product: an operand passes once, or once for each tile of the other axis."""
    volume = Volume.of(product, tiling)
    a_times = 1 if tiling.a_resident else tiling.j.parts
    b_times = 1 if tiling.b_resident else tiling.i.parts
    return a_times * volume.a_bytes + b_times * volume.b_bytes, volume.y_bytes


def _fitting(product: Product, target: Target, j: int) -> list[int]:
    """The reductions to try: the two longest whose B tile fits with one granule of A.

    Outside WU, where the reduction is long, a whole one needs no alternative: cutting it reloads both operands.
    """
    i = _least(product.i, product.i_unit)
    fits: list[int] = []
    for k in _halvings(product.k, product.k_unit):
        b_fits = product.b_buffer_bytes(k, j) <= target.weight_bytes
        if b_fits and product.a_bytes(i, k) <= target.activation_bytes:
            fits.append(k)
        if len(fits) == 2 or (fits == [product.k] and product.pixel_axis == "i"):
            break
    return fits


def _largest_i(product: Product, target: Target, k: int, j: int) -> int:
    """The most rows, in whole granules, whose A tile and partial sums fit; 0 if not even one granule does."""

    def rows(granules: int) -> int:
        return min(product.i, granules * product.i_unit)

    everything = -(-product.i // product.i_unit)
    with_room_for_sums = bytes_to_bits(target.output_bytes) // (j * target.accumulator_bits)
    high = everything if with_room_for_sums >= product.i else with_room_for_sums // product.i_unit
    if product.a_bytes(rows(high), k) <= target.activation_bytes:
        return rows(high)
    granules = (
        bisect_right(range(high), target.activation_bytes, key=lambda count: product.a_bytes(rows(count), k))
        - 1
    )
    return rows(granules)


def _halvings(length: int, granule: int) -> Iterator[int]:
    """Distinct piece sizes of an axis in whole granules: all of it, a half, a quarter, down to one granule."""
    parts, last = 1, 0
    while last != min(length, granule):
        size = _round(length, parts, granule)
        if size != last:
            yield size
        last, parts = size, 2 * parts


def _round(length: int, parts: int, unit: int) -> int:
    """A `parts`-th of `length`, rounded up to whole units, at most `length`."""
    return min(length, -(-length // (parts * unit)) * unit)


def _least(length: int, unit: int) -> int:
    return min(length, unit)
