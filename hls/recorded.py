"""A recorded training step as a program: FF, BP, WU, update and pruning of every recorded layer, with golden data.

Every pass starts from the operands that PyTorch had, as in `codesign.verify`, so that each layer stands for itself.
The results expected are computed by `codesign.functional`, not by the interpreter of programs. Biases are added, but
not updated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute import update_kernels
from codesign.compute.formats import Bits, Float32, Format
from codesign.compute.half_kernels import narrow, widen
from codesign.compute.optimizers import SGD
from codesign.compute.order import Order
from codesign.compute.pack_kernels import pack
from codesign.compute.stream_kernels import unpack
from codesign.errors import ExportError
from codesign.functional import Products, ScheduledOrders, products_of
from codesign.nm import reference
from codesign.nm.format import NM
from codesign.schedule.planner import Plan
from codesign.verify import loss_scale, recorded_iteration
from hls.config import KernelConfig
from hls.golden import Golden, Pass
from hls.lower import Compact, Weight, WeightLayer
from hls.program.builder import ProgramBuilder
from hls.program.instruction import Update
from hls.program.tiles import TiledProduct
from hw_models.arch import Arch
from workloads.ops import Stage
from workloads.recording import LayerGeometry, Recording
from workloads.run_trace import RunTrace

Array = NDArray[Any]


def recorded_step(arch: Arch, trace: RunTrace, recording: Recording) -> Golden:
    """Lower every recorded layer for the kernels of an architecture.

    Raises ExportError for what the kernels lack, TraceError if trace and recording do not belong together.
    """
    rule, scale = _rule(recording), loss_scale(recording, Format.FP16)
    orders = ScheduledOrders.of(arch, recorded_iteration(arch, trace, recording.header.step))
    golden = Golden(ProgramBuilder(KernelConfig.of(arch)))
    for name, tensors in recording.layers.items():
        layer = RecordedLayer(name, recording.header.layers[name], tensors, orders, golden, scale)
        layer.forward()
        layer.input_gradient()
        layer.update(rule, *layer.weight_gradient())
    return golden


def _rule(recording: Recording) -> SGD:
    """The optimizer. Raises ExportError for number formats and optimizers that the kernels lack."""
    header = recording.header
    options = header.hyperparameters
    if header.dtype == "bfloat16":
        raise ExportError("recorded in bfloat16: the kernels compute in FP16; train without --amp bf16")
    if header.optimizer != "sgd" or options.get("nesterov"):
        raise ExportError(
            f"recorded with optimizer {header.optimizer!r}: the kernels have SGD with momentum; train with "
            "--optimizer sgd"
        )
    return SGD(header.lr, options["momentum"], options["weight_decay"])


@dataclass
class RecordedLayer:
    """Lowers the passes of one layer into a program; `scale` is the loss scale. Methods raise ExportError."""

    name: str
    geometry: LayerGeometry
    tensors: Mapping[str, Array]
    orders: ScheduledOrders
    golden: Golden
    scale: float

    def __post_init__(self) -> None:
        x, w = self.tensors["input"].shape, self.tensors["weight"].shape
        self._layer = WeightLayer.of(self.name, self.geometry, x, w)
        self._multiply: Products = products_of(self.geometry, x, w)
        self._master = self.tensors["weight"].astype(np.float32)
        self._x = self._narrowed("input")
        self._g = self._narrowed("output_gradient", self.scale)
        self._weight = narrow(self._master, Format.FP16)
        self._x_at = self._give("x", self._pixels(self._x))
        self._g_at = self._give("dy", self._pixels(self._g))
        self._weight_at = self._give("weight16", _filters(self._weight))

    def forward(self) -> None:
        """FF, after its weight was pruned."""
        plan = self._plan(Stage.FF)
        w, operand = self._operand(plan, Stage.FF)
        sums = self._multiply.forward(_wide(self._x), operand, self._orders(Stage.FF))
        bias_at = None
        if "bias" in self.tensors:
            bias = self.tensors["bias"].astype(np.float32)
            sums = sums + (bias.reshape(-1, 1, 1) if self.geometry.kind == "conv" else bias)
            bias_at = self._give("bias", bias)
        y_at = self._expect("y", self._pixels(narrow(sums, Format.FP16)))
        self._emit(Stage.FF, plan, [self._layer.forward(plan, self._x_at, w, y_at, bias_at)])

    def input_gradient(self) -> None:
        """BP, after its weight was pruned, if the layer's input has a gradient."""
        if "input_gradient" not in self.tensors:
            return
        plan = self._plan(Stage.BP)
        w, operand = self._operand(plan, Stage.BP)
        sums = self._multiply.input_gradient(_wide(self._g), operand, self._orders(Stage.BP))
        dx_at = self._expect("dx", self._pixels(narrow(sums, Format.FP16)))
        self._emit(Stage.BP, plan, self._layer.input_gradient(plan, self._g_at, w, dx_at))
        for zeros in self._layer.untouched(dx_at):
            self._builder.packet(zeros)

    def weight_gradient(self) -> tuple[int, Bits]:
        """WU; returns the gradient, where it lies and in FP16."""
        plan = self._plan(Stage.WU)
        sums = self._multiply.weight_gradient(_wide(self._x), _wide(self._g), self._orders(Stage.WU))
        dw = narrow(sums, Format.FP16)
        dw_at = self._expect("dw", _filters(dw))
        self._emit(Stage.WU, plan, [self._layer.weight_gradient(plan, self._x_at, self._g_at, dw_at)])
        return dw_at, dw

    def update(self, rule: SGD, dw_at: int, dw: Bits) -> None:
        """The update, and pruning for the next step."""
        if not np.array_equal(self.tensors["weight_gradient"], self.tensors["weight_gradient_used"]):
            raise ExportError(
                f"layer {self.name!r}: its gradient was changed before the update, by clipping or the method's "
                "decay; the kernels do neither, train without"
            )
        weight, velocity = self._master.copy(), self._velocity()
        weight_at = self._give("weight", _filters(weight))
        velocity_at = self._give("momentum", _filters(velocity))
        next16 = update_kernels.sgd(weight, velocity, dw, rule, Format.FP16, self.scale)
        self.golden.expected[f"{self.name}/weight"] = _filters(weight)
        self.golden.expected[f"{self.name}/momentum"] = _filters(velocity)
        decay, momentum, step = rule.constants()
        update = Update(
            decays=int(bool(decay)),
            moves=int(bool(momentum)),
            narrows=1,
            weight=weight_at,
            velocity=velocity_at,
            gradient=dw_at,
            result=self._expect("next_weight16", _filters(next16)),
            count=weight.size,
            unscale=1 / self.scale,
            decay=float(decay),
            momentum=float(momentum),
            step=float(step),
        )
        self._builder.note(f"{self.name} update")
        self._builder.packet(update)
        for stage, nm in ((Stage.FF, self.geometry.nm_ff), (Stage.BP, self.geometry.nm_bp)):
            if nm is not None:
                self._prune(stage, f"next_weight_{stage}", update.result, next16, NM.parse(nm))

    @property
    def _builder(self) -> ProgramBuilder:
        return self.golden.builder

    def _plan(self, stage: Stage) -> Plan:
        """What the schedule chose for a pass. Raises ExportError if the kernels cannot do it."""
        op = self.orders.op(self.name, stage)
        recorded = {Stage.FF: self.geometry.nm_ff, Stage.BP: self.geometry.nm_bp}.get(stage)
        sparsity = op.sparsity
        if sparsity and (sparsity.operand == "a" or stage is Stage.WU):
            raise ExportError(
                f"layer {self.name!r}: the method prunes its gradient in {stage.upper()}, the kernels prune weights; "
                "train with another method"
            )
        if recorded and (sparsity is None or sparsity.nm != NM.parse(recorded)):
            raise ExportError(
                f"layer {self.name!r}: {recorded} in {stage.upper()}, expected a ratio of array.sparsity; "
                "add it to the architecture"
            )
        return self.orders.planner.plan(op)

    def _operand(self, plan: Plan, stage: Stage) -> tuple[Weight, Float32 | reference.Compact]:
        """The weight of a pass, in memory and for `codesign.functional`; a sparse one is pruned by the program."""
        nm = plan.products[0].nm if plan.products[0].sparse else None
        at, source = self._source(stage, nm)
        if nm is None:
            return at, _wide(source)
        compact = self._prune(stage, f"weight_{stage}", at, source, nm)
        return compact, pack(_wide(source), nm, _axis(stage))

    def _source(self, stage: Stage, nm: NM | None) -> tuple[int, Bits]:
        """The dense weight if PyTorch's operand is nothing but that, pruned if it is sparse; else that operand."""
        used = self.tensors[f"weight_{stage}"].astype(np.float32)
        alike = self._master if nm is None else unpack(pack(self._master, nm, _axis(stage)))
        if np.array_equal(alike, used):
            return self._weight_at, self._weight
        source = narrow(used, Format.FP16)
        return self._give(f"weight_{stage}_source", _filters(source)), source

    def _prune(self, stage: Stage, name: str, source_at: int, source: Bits, nm: NM) -> Compact:
        """Prune a dense weight in the program."""
        packed = pack(source, nm, _axis(stage), Format.FP16)
        compact = Compact(
            self._expect(f"{name}_values", packed.values),
            self._expect(f"{name}_indices", packed.index_stream),
            nm,
        )
        self._builder.note(f"{self.name} {name}: {nm}")
        self._builder.packet(self._layer.prune(stage, source_at, compact))
        return compact

    def _velocity(self) -> Float32:
        found = self.tensors.get("momentum_before")
        return np.zeros_like(self._master) if found is None else found.astype(np.float32, order="C")

    def _orders(self, stage: Stage) -> list[Order]:
        return self.orders.orders(self.name, stage)

    def _emit(self, stage: Stage, plan: Plan, products: Iterable[TiledProduct]) -> None:
        name = f"{self.name} {stage.upper()}"
        ratio = f", {plan.products[0].nm}" if plan.products[0].sparse else ""
        first = self._builder.count
        self._builder.note(f"{name}: {plan.dataflow}{ratio}")
        for product in products:
            self._builder.product(product, name)
        self.golden.passes.append(Pass(self.name, stage, plan, range(first, self._builder.count)))

    def _narrowed(self, tensor: str, scale: float = 1.0) -> Bits:
        return narrow(self.tensors[tensor].astype(np.float32) * np.float32(scale), Format.FP16)

    def _pixels(self, x: Bits) -> Bits:
        """An activation as memory holds it."""
        if self.geometry.kind == "conv":
            return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        return np.ascontiguousarray(x.reshape(-1, x.shape[-1]))

    def _give(self, name: str, values: Array) -> int:
        return self.golden.give(f"{self.name}/{name}", values)

    def _expect(self, name: str, values: Array) -> int:
        return self.golden.expect(f"{self.name}/{name}", values)


def _filters(w: Array) -> Array:
    """A copy of a weight as memory holds it, (Cout, taps, Cin)."""
    return w.reshape(*w.shape[:2], -1).transpose(0, 2, 1).copy()


def _wide(bits: Bits) -> Float32:
    return widen(bits, Format.FP16)


def _axis(stage: Stage) -> int:
    """The axis of a weight in torch's layout that a pass sums over."""
    return 1 if stage is Stage.FF else 0
