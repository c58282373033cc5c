"""The tiles of a tiled product in execution order, as runs and repeated blocks."""

from __future__ import annotations

from dataclasses import dataclass

from codesign.schedule.product import Product
from codesign.schedule.tiling import Pieces, Tiling
from hw_models.program import Block, Run, Tile, TileGemm

SMALL_PRODUCT_TILES = 64
"""Up to so many tiles, the tiles of one product form one block that repeats for all products of an operation."""


def product_blocks(product: Product, tiling: Tiling) -> list[Block]:
    """All `count` products one after the other. An operand tile is loaded when it differs from the one before."""
    nest = _Nest(product, tiling)
    if tiling.whole:
        return nest.whole_products()
    if tiling.k.parts > 1:
        blocks = nest.accumulating()
    elif nest.inner.parts == 1:
        blocks = nest.inner_stationary()
    else:
        blocks = nest.outer_stationary()
    return _repeat(blocks, product.gemm.count)


@dataclass(frozen=True, slots=True)
class _Nest:
    """The loop nest of a tiling: outer and inner are i and j in its order, k is innermost."""

    product: Product
    tiling: Tiling

    @property
    def outer(self) -> Pieces:
        return self.tiling.i if self.tiling.order == "ij" else self.tiling.j

    @property
    def inner(self) -> Pieces:
        return self.tiling.j if self.tiling.order == "ij" else self.tiling.i

    def tile(
        self,
        outer: int,
        inner: int,
        k: int,
        *,
        load_outer: bool,
        load_inner: bool,
        store: bool = True,
        count: int = 1,
    ) -> Tile:
        product = self.product
        i, j, load_a, load_b = outer, inner, load_outer, load_inner
        if self.tiling.order == "ji":
            i, j, load_a, load_b = inner, outer, load_inner, load_outer
        return Tile(
            load_a_bytes=count * product.a_bytes(i, k) if load_a else 0,
            load_b_bytes=count * product.b_bytes(k, j) if load_b else 0,
            store_bytes=count * product.y_bytes(i, j) if store else 0,
            gemm=TileGemm(i, k, j, count),
            sort_before_groups=count * product.sort_groups(k, j) if load_b else 0,
        )

    def whole_products(self) -> list[Block]:
        """Nothing is cut: `together` products to a tile."""

        def tile(count: int) -> Tile:
            i, k, j = self.product.i, self.product.k, self.product.j
            return self.tile(i, j, k, load_outer=True, load_inner=True, count=count)

        products = Pieces.cut(self.product.gemm.count, self.tiling.together)
        return [Block(tuple(Run(tile(size), n) for size, n in products.kinds()))]

    def outer_stationary(self) -> list[Block]:
        """k is whole: the outer operand stays while the tiles of the inner one pass."""
        k = self.product.k
        blocks = []
        for outer, repeats in self.outer.kinds():
            first = self.tile(outer, self.inner.size, k, load_outer=True, load_inner=True)
            rest = [
                (self.tile(outer, size, k, load_outer=False, load_inner=True), n)
                for size, n in self.inner.kinds()
            ]
            blocks.append(Block(_led_by(first, rest), repeats))
        return blocks

    def inner_stationary(self) -> list[Block]:
        """k and the inner axis are whole: the inner operand is loaded once, the tiles of the outer one pass."""
        inner, k = self.inner.size, self.product.k
        first = self.tile(self.outer.size, inner, k, load_outer=True, load_inner=True)
        rest = [
            (self.tile(size, inner, k, load_outer=True, load_inner=False), n)
            for size, n in self.outer.kinds()
        ]
        return [Block(_led_by(first, rest))]

    def accumulating(self) -> list[Block]:
        """k is cut: both operands change with every tile, the result is stored after the last of a reduction."""
        blocks: list[Block] = []
        for outer, repeats in self.outer.kinds():
            row = [Block(self._reduction(outer, size), n) for size, n in self.inner.kinds()]
            if len(row) == 1:
                blocks.append(Block(row[0].runs, row[0].repeats * repeats))
            else:
                blocks += row * repeats
        return blocks

    def _reduction(self, outer: int, inner: int) -> tuple[Run, ...]:
        steps = [
            (self.tile(outer, inner, k, load_outer=True, load_inner=True, store=False), n)
            for k, n in self.tiling.k.kinds()
        ]
        last_k = self.tiling.k.tail or self.tiling.k.size
        last = self.tile(outer, inner, last_k, load_outer=True, load_inner=True)
        return _runs([*steps[:-1], (steps[-1][0], steps[-1][1] - 1), (last, 1)])


def _led_by(first: Tile, rest: list[tuple[Tile, int]]) -> tuple[Run, ...]:
    """The runs of `rest`, the very first tile replaced by `first`."""
    (tile, count), *others = rest
    return _runs([(first, 1), (tile, count - 1), *others])


def _runs(counted: list[tuple[Tile, int]]) -> tuple[Run, ...]:
    return tuple(Run(tile, count) for tile, count in counted if count)


def _repeat(blocks: list[Block], count: int) -> list[Block]:
    """`count` times the same blocks, as one repeated block where that stays small."""
    if count == 1:
        return blocks
    if len(blocks) == 1 and blocks[0].repeats == 1:
        return [Block(blocks[0].runs, count)]
    if sum(block.body_tiles * block.repeats for block in blocks) <= SMALL_PRODUCT_TILES:
        runs = tuple(run for block in blocks for _ in range(block.repeats) for run in block.runs)
        return [Block(runs, count)]
    return blocks * count
