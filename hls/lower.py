"""A weight layer's passes as products of the accelerator: what to load, multiply and store, in the schedule's tiles.

Activations lie in memory as (B, H, W, C), weights as (Cout, taps, Cin), a compact one as the streams of
`codesign.nm.format` along Cin or Cout. A linear layer is a convolution of images of one pixel. Sums are those of
`codesign.functional`, whose orders depend on the dataflow and on how k is cut, and on nothing else here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from codesign.compute.geometry import Geometry, Pair, Phase
from codesign.errors import ExportError
from codesign.nm.format import NM
from codesign.schedule.planner import Plan
from codesign.schedule.tiling import Tiling
from hls.program.capacity import DATAFLOWS
from hls.program.instruction import LoadA, LoadB, Prune, Store
from hls.program.tiles import TiledProduct
from workloads.ops import Stage
from workloads.recording import LayerGeometry


@dataclass(frozen=True, slots=True)
class Compact:
    """Word addresses of a pruned weight's two streams."""

    values: int
    indices: int
    nm: NM


Weight = int | Compact
"""A dense weight's word address, or a compact one."""


@dataclass(frozen=True, slots=True)
class WeightLayer:
    """A convolution of `samples` images. Methods take word addresses and a plan of the pass."""

    name: str
    samples: int
    cin: int
    cout: int
    image: Pair
    kernel: Pair
    geometry: Geometry

    @classmethod
    def of(
        cls, name: str, geometry: LayerGeometry, x_shape: Sequence[int], w_shape: Sequence[int]
    ) -> WeightLayer:
        """A recorded layer. Raises ExportError for groups, which the kernels lack."""
        if geometry.groups > 1:
            raise ExportError(
                f"layer {name!r}: a convolution in {geometry.groups} groups, expected 1; leave the layer out"
            )
        if geometry.kind == "linear":
            return cls(name, prod(x_shape[:-1]), w_shape[1], w_shape[0], (1, 1), (1, 1), Geometry())
        slides = (geometry.stride, geometry.padding, geometry.dilation)
        stride, padding, dilation = ((sizes[0], sizes[1]) for sizes in slides)
        image, kernel = (x_shape[2], x_shape[3]), (w_shape[2], w_shape[3])
        slide = Geometry(stride, padding, dilation)
        return cls(name, x_shape[0], w_shape[1], w_shape[0], image, kernel, slide)

    @property
    def taps(self) -> int:
        """Kernel positions."""
        return self.kernel[0] * self.kernel[1]

    @property
    def out(self) -> Pair:
        """Output pixels of a sample."""
        return self.geometry.out_size(self.image, self.kernel)

    def forward(self, plan: Plan, x: int, w: Weight, y: int, bias: int | None) -> TiledProduct:
        """FF: y = x . w + bias."""
        (tiling,), nm = plan.tilings, plan.products[0].nm
        load = self._window(plan, x, nm.m)
        taps = (self.kernel, (self.kernel[1], 1), 0)
        b = self._weight(w, nm, self.cin, self.cout, taps, along_cin=True)
        store = Store(
            base=y,
            bias=bias or 0,
            biased=int(bias is not None),
            count0=load.pixels,
            stride0=self.cout,
            count1=1,
            columns=self.cout,
            column_stride=1,
        )
        return _tiled(load, b, store, tiling, tiling.i.size, tiling.k.size // self.taps)

    def input_gradient(self, plan: Plan, dy: int, w: Weight, dx: int) -> Iterator[TiledProduct]:
        """BP: dx from dy, a product for each stride phase that has taps and pixels."""
        for phase, shape, tiling in zip(
            self.geometry.phases(self.kernel), plan.products, plan.tilings, strict=True
        ):
            pixels = self._phase_pixels(phase.offset)
            if pixels.count:
                load = self._reach(plan, phase, pixels, dy, shape.nm.m)
                b = self._weight(
                    w, shape.nm, self.cout, self.cin, _steps(phase, self.kernel), along_cin=False
                )
                store = self._phase_store(dx, pixels)
                taps = len(phase.taps)
                yield _tiled(load, b, store, tiling, tiling.i.size, tiling.k.size // taps)

    def untouched(self, dx: int) -> Iterator[Store]:
        """BP: zeros for the pixels that no tap reaches."""
        reached = {phase.offset for phase in self.geometry.phases(self.kernel)}
        for offset in product(range(self.geometry.stride[0]), range(self.geometry.stride[1])):
            pixels = self._phase_pixels(offset)
            if offset not in reached and pixels.count:
                store = self._phase_store(dx, pixels)
                yield replace(store, zero=1, rows=self.samples * pixels.count)

    def weight_gradient(self, plan: Plan, x: int, dy: int, dw: int) -> TiledProduct:
        """WU: dw = x, transposed, times dy."""
        (tiling,), nm = plan.tilings, plan.products[0].nm
        load = replace(self._window(plan, x, nm.m), transposed=1)
        b = LoadB(
            values=dy,
            n=nm.n,
            m=nm.m,
            count0=load.pixels,
            stride0=self.cout,
            count1=1,
            count2=1,
            columns=self.cout,
            column_stride=1,
        )
        store = Store(
            base=dw,
            count0=self.cin,
            stride0=1,
            count1=self.taps,
            stride1=self.cin,
            columns=self.cout,
            column_stride=self.taps * self.cin,
        )
        return _tiled(load, b, store, tiling, max(1, tiling.i.size // self.taps), tiling.k.size)

    def prune(self, stage: Stage, source: int, to: Compact) -> Prune:
        """Prune a dense FP16 weight for FF or BP."""
        row = self.taps * self.cin
        if stage is Stage.FF:
            outer, outer_stride, length, member_stride = self.cout, row, self.cin, 1
        else:
            outer, outer_stride, length, member_stride = self.cin, 1, self.cout, row
        return Prune(
            source=source,
            values=to.values,
            indices=to.indices,
            n=to.nm.n,
            m=to.nm.m,
            outer=outer,
            outer_stride=outer_stride,
            inner=self.taps,
            inner_stride=self.cin,
            groups=to.nm.groups(length),
            member_stride=member_stride,
        )

    def _window(self, plan: Plan, x: int, m: int) -> LoadA:
        """The input as the kernel sees it."""
        geometry, (grid_h, grid_w) = self.geometry, self.out
        return LoadA(
            dataflow=DATAFLOWS.index(plan.dataflow),
            base=x,
            stored_channels=self.cin,
            height=self.image[0],
            width=self.image[1],
            grid_h=grid_h,
            grid_w=grid_w,
            taps_h=self.kernel[0],
            taps_w=self.kernel[1],
            step_y=geometry.dilation[0],
            step_x=geometry.dilation[1],
            origin_y=-geometry.padding[0],
            origin_x=-geometry.padding[1],
            stride_y=geometry.stride[0],
            stride_x=geometry.stride[1],
            pixels=self.samples * grid_h * grid_w,
            channels=self.cin,
            m=m,
        )

    def _reach(self, plan: Plan, phase: Phase, pixels: _Pixels, dy: int, m: int) -> LoadA:
        """The output gradient as the input pixels of a phase see it."""
        counts, _, _ = _steps(phase, self.kernel)
        nearest, farthest = phase.reach[0], phase.reach[-1]
        step = [(farthest[d] - nearest[d]) // max(1, counts[d] - 1) for d in (0, 1)]
        return LoadA(
            dataflow=DATAFLOWS.index(plan.dataflow),
            base=dy,
            stored_channels=self.cout,
            height=self.out[0],
            width=self.out[1],
            grid_h=pixels.size[0],
            grid_w=pixels.size[1],
            taps_h=counts[0],
            taps_w=counts[1],
            step_y=-step[0],
            step_x=-step[1],
            origin_y=pixels.output[0] - nearest[0],
            origin_x=pixels.output[1] - nearest[1],
            stride_y=1,
            stride_x=1,
            pixels=self.samples * pixels.count,
            channels=self.cout,
            m=m,
        )

    def _weight(self, w: Weight, nm: NM, length: int, columns: int, taps: _Taps, *, along_cin: bool) -> LoadB:
        """B made of some taps of a weight, summed over `length` channels, Cin or Cout."""
        counts, steps, first = taps
        if isinstance(w, Compact):
            values, indices, groups = w.values, w.indices, w.nm.groups(length)
            channel, tap, column = 1, groups, self.taps * groups
        else:
            values, indices, groups = w, 0, length
            row = self.taps * self.cin
            channel, tap, column = (1, self.cin, row) if along_cin else (row, self.cin, 1)
        return LoadB(
            values=values,
            indices=indices,
            offset=first * tap,
            n=nm.n,
            m=nm.m,
            count0=groups,
            stride0=channel,
            count1=counts[1],
            stride1=steps[1] * tap,
            count2=counts[0],
            stride2=steps[0] * tap,
            columns=columns,
            column_stride=column,
        )

    def _phase_pixels(self, offset: Pair) -> _Pixels:
        """Input pixels at `offset` modulo the stride, padding counted."""
        stride, padding = self.geometry.stride, self.geometry.padding
        output = [-(-(padding[d] - offset[d]) // stride[d]) for d in (0, 1)]
        first = [offset[d] + output[d] * stride[d] - padding[d] for d in (0, 1)]
        size = [len(range(first[d], self.image[d], stride[d])) for d in (0, 1)]
        return _Pixels((output[0], output[1]), (first[0], first[1]), (size[0], size[1]))

    def _phase_store(self, dx: int, pixels: _Pixels) -> Store:
        stride, (height, width) = self.geometry.stride, self.image
        return Store(
            base=dx,
            offset=(pixels.first[0] * width + pixels.first[1]) * self.cin,
            count0=pixels.size[1],
            stride0=stride[1] * self.cin,
            count1=pixels.size[0],
            stride1=stride[0] * width * self.cin,
            stride2=height * width * self.cin,
            columns=self.cin,
            column_stride=1,
        )


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Input pixels of a stride phase: the output that the first one lies on, its place, and how many there are."""

    output: Pair
    first: Pair
    size: Pair

    @property
    def count(self) -> int:
        return self.size[0] * self.size[1]


_Taps = tuple[Pair, Pair, int]
"""Taps of a regular subset of the kernel: how many (vertical, horizontal), their distance in taps, the first one."""


def _steps(phase: Phase, kernel: Pair) -> _Taps:
    """Stride phases are regular: their places modulo the stride repeat."""
    places = [divmod(tap, kernel[1]) for tap in phase.taps]
    rows, columns = (sorted({place[d] for place in places}) for d in (0, 1))
    step_y, step_x = (each[1] - each[0] if len(each) > 1 else 0 for each in (rows, columns))
    return (len(rows), len(columns)), (step_y * kernel[1], step_x), phase.taps[0]


def _tiled(load: LoadA, b: LoadB, store: Store, tiling: Tiling, rows: int, k: int) -> TiledProduct:
    all_rows, all_k = (load.channels, load.pixels) if load.transposed else (load.pixels, load.channels)
    columns = min(tiling.j.size, b.columns)
    return TiledProduct(load, b, store, min(rows, all_rows), min(k, all_k), columns, tiling.order)
