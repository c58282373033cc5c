"""A product cut into buffer tiles, and its tiles overlapped into packets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from codesign.errors import ExportError
from codesign.nm.format import NM
from hls.config import KernelConfig
from hls.program.capacity import fits
from hls.program.instruction import Gemm, Instruction, LoadA, LoadB, Store


class Tile(NamedTuple):
    """One GEMM with what it needs; the last tile along k stores its sums. Buffer halves are not yet chosen."""

    a: LoadA
    b: LoadB
    gemm: Gemm
    store: Store | None


@dataclass(frozen=True, slots=True)
class TiledProduct:
    """A product: instructions that load and store all of it, and how long its tiles are.

    Rows count pixels of A, k its channels; if A is transposed, the other way round. In order `ij` the loop over rows
    is outermost, in `ji` that over columns.
    """

    a: LoadA
    b: LoadB
    store: Store
    rows: int
    k: int
    columns: int
    order: str

    @property
    def taps(self) -> int:
        """Kernel positions."""
        return self.a.taps_h * self.a.taps_w

    def fitted(self, config: KernelConfig, name: str) -> TiledProduct:
        """The same with fewer rows and columns in a tile, so that it fits: the order of sums depends on neither.

        Raises ExportError, with `name`, if not even the smallest tile fits.
        """
        for columns in _shrinking(self.columns, config.cols):
            for rows in _shrinking(self.rows, config.rows):
                if fits(config, self._gemm(rows, self.k, columns)):
                    return replace(self, rows=rows, columns=columns)
        least = self._gemm(1, self.k, 1)
        raise ExportError(
            f"{name}: its smallest tile, {least.rows} x {least.groups} groups of {least.m} x 1, does not fit banks "
            f"of {config.act_depth} activations, {config.weight_depth} weights and {config.out_depth} sums; "
            "enlarge buffers or train with a smaller batch"
        )

    def tiles(self) -> Iterator[Tile]:
        """All tiles, k innermost."""
        all_rows, all_k = self._extents()
        rows, columns = _cut(all_rows, self.rows), _cut(self.b.columns, self.columns)
        pairs = [(r, c) for r in rows for c in columns]
        if self.order == "ji":
            pairs = [(r, c) for c in columns for r in rows]
        blocks = _cut(all_k, self.k)
        for r, c in pairs:
            for block in blocks:
                gemm = replace(self._gemm(len(r), len(block), len(c)), clear=int(block is blocks[0]))
                store = self._store(r, c) if block is blocks[-1] else None
                yield Tile(self._a(r, block), self._b(block, c), gemm, store)

    def _extents(self) -> tuple[int, int]:
        """Units of rows and k in all."""
        pixels, channels = self.a.pixels, self.a.channels
        return (channels, pixels) if self.a.transposed else (pixels, channels)

    def _groups(self, k: int) -> int:
        length = k if self.a.transposed else k * self.taps
        return -(-length // self.a.m)

    def _gemm(self, rows: int, k: int, columns: int) -> Gemm:
        return Gemm(
            dataflow=self.a.dataflow,
            n=self.b.n,
            m=self.b.m,
            rows=rows * self.taps if self.a.transposed else rows,
            groups=self._groups(k),
            columns=columns,
        )

    def _a(self, rows: range, k: range) -> LoadA:
        pixels, channels = (k, rows) if self.a.transposed else (rows, k)
        return replace(
            self.a,
            pixel_first=pixels.start,
            pixels=len(pixels),
            channel_first=channels.start,
            channels=len(channels),
        )

    def _b(self, k: range, columns: range) -> LoadB:
        unit = 1 if NM(self.b.n, self.b.m).dense else self.b.m
        offset = self.b.offset + columns.start * self.b.column_stride + k.start // unit * self.b.stride0
        return replace(self.b, offset=offset, count0=len(k) // unit, columns=len(columns))

    def _store(self, rows: range, columns: range) -> Store:
        store = replace(
            self.store,
            offset=self.store.offset + columns.start * self.store.column_stride,
            bias_first=columns.start if self.store.biased else 0,
            columns=len(columns),
        )
        if not self.a.transposed:
            return replace(store, row_first=rows.start, rows=len(rows))
        offset = store.offset + rows.start * store.stride0
        return replace(store, offset=offset, rows=len(rows) * self.taps, count0=len(rows))


def overlapped(tiles: Sequence[Tile]) -> Iterator[list[Instruction]]:
    """Packets: while a tile is multiplied, the next one is loaded and the sums before are stored.

    An operand that is still in the buffer from the tile before is not loaded again.
    """
    placed = list(_placed(tiles))
    idle = _Placed([], None, None)
    for at in range(len(placed) + 2):
        loading, multiplying, storing = (
            placed[at - behind] if 0 <= at - behind < len(placed) else idle for behind in range(3)
        )
        packet = [*loading.loads, multiplying.gemm, storing.store]
        if instructions := [each for each in packet if each is not None]:
            yield instructions


class _Placed(NamedTuple):
    """A tile with its buffer halves chosen."""

    loads: list[Instruction]
    gemm: Instruction | None
    store: Instruction | None


def _placed(tiles: Sequence[Tile]) -> Iterator[_Placed]:
    half_a = half_b = half_out = 0
    a: LoadA | None = None
    b: LoadB | None = None
    for tile in tiles:
        loads: list[Instruction] = []
        if tile.a != a:
            a, half_a = tile.a, 1 - half_a
            loads.append(replace(tile.a, half=half_a))
        if tile.b != b:
            b, half_b = tile.b, 1 - half_b
            loads.append(replace(tile.b, half=half_b))
        half_out ^= tile.gemm.clear
        gemm = replace(tile.gemm, half_a=half_a, half_b=half_b, half_out=half_out)
        yield _Placed(loads, gemm, tile.store and replace(tile.store, half=half_out))


def _cut(length: int, size: int) -> list[range]:
    return [range(begin, min(length, begin + size)) for begin in range(0, length, size)]


def _shrinking(size: int, granule: int) -> Iterator[int]:
    """`size`, then fewer, down to 1: whole granules while there are some."""
    yield size
    yield from range((size - 1) // granule * granule, 0, -granule)
    yield from range(min(size, granule) - 1, 0, -1)
