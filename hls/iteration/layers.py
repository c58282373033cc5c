"""How the layers of a network take part in an iteration: their tensors in memory, instructions for their operations.

A method that lowers an operation has the last part of that operation's name in the trace (`workloads.training`): ff,
bp, wu, bias, update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from codesign.compute.optimizers import SGD
from codesign.compute.vector_loss import LossConstants
from codesign.compute.vector_norm import NormConstants
from codesign.errors import ExportError
from codesign.nm.format import NM
from codesign.schedule.planner import Planner
from hls.golden import Array
from hls.iteration.network import BatchNorm, Pool
from hls.program.builder import ProgramBuilder
from hls.program.instruction import WORD_BYTES, Update, Vector
from hls.program.memory import Tensor
from hls.program.vector_capacity import check_vector
from hls.program.vector_operations import VectorOp, real_parameters, window_parameters
from workloads.ops import Op, Stage


@dataclass(frozen=True)
class Context:
    """What all layers share. `ratios`: of the weights that a pass multiplies compact."""

    builder: ProgramBuilder
    planner: Planner
    rule: SGD
    loss_scale: float
    ratios: Mapping[tuple[str, Stage], NM]


@dataclass(frozen=True)
class Tensors:
    """A layer's tensors in memory: activations channels last, gradients as addresses, None where nobody wants one.

    `x`: inputs; `y`: output; `dx`, `dy`: gradients of the first input and of the output; `arrivals`: what the layers
    that use the output send back. If there are several, their sum is `dy`.
    """

    x: Sequence[Tensor]
    y: Tensor
    dx: int | None
    dy: int | None
    arrivals: Sequence[int]


@dataclass(frozen=True)
class Parameter:
    """FP32 master and velocity of a parameter, and its FP16 gradient."""

    master: Tensor
    velocity: Tensor
    gradient: Tensor

    def update(self, context: Context, copy: Tensor | None = None) -> Update:
        """The SGD step, which may also store the new values in FP16. Weights decay; biases and norms do not."""
        decay, momentum, step = context.rule.constants()
        return Update(
            decays=int(bool(decay) and len(self.master.shape) > 1),
            moves=int(bool(momentum)),
            narrows=int(copy is not None),
            weight=self.master.address,
            velocity=self.velocity.address,
            gradient=self.gradient.address,
            result=copy.address if copy else 0,
            count=prod(self.master.shape),
            unscale=1 / context.loss_scale,
            decay=float(decay),
            momentum=float(momentum),
            step=float(step),
        )


class Site:
    """A layer at its place in the network. `lower` raises ExportError for what the kernels have no room for."""

    def __init__(self, context: Context, name: str, tensors: Tensors) -> None:
        self.context, self.name, self.tensors = context, name, tensors
        self.x, self.y = tensors.x[0], tensors.y

    def initial(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Tensors before the first iteration, by the end of their names, from the parameters of the layer.

        Raises ExportError for a parameter that is missing or has another size.
        """
        return {}

    def given(self, values: Mapping[str, Array], name: str, shape: tuple[int, ...]) -> dict[str, Array]:
        """A parameter that is among `values`, and its velocity, zero if it is not."""
        found = {name: values.get(name, np.zeros(0))}
        velocity = f"{name}_velocity"
        found[velocity] = values.get(velocity, np.zeros(shape))
        for part, tensor in found.items():
            if tensor.size != prod(shape):
                raise ExportError(
                    f"layer {self.name!r}: parameter {part!r} of shape {tensor.shape}, expected {shape}; "
                    "initialise it"
                )
        return {part: tensor.reshape(shape).astype(np.float32) for part, tensor in found.items()}

    def lower(self, op: Op) -> None:
        """Append the instructions of an operation to the program."""
        self.context.builder.note(op.name)
        getattr(self, op.name.rpartition(".")[2])(op)

    def grad(self, _: Op) -> None:
        """Adds up the gradients that several layers send back."""
        total, *others = self.tensors.arrivals
        for other in others:
            self.vector(VectorOp.ADD, rows_of(self.y), x=total, y=other, out=self.dy)
            total = self.dy

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        """Make room for a tensor of this layer."""
        return self.context.builder.memory.add(f"{self.name}/{name}", shape, dtype)

    def parameter(self, name: str, shape: tuple[int, ...]) -> Parameter:
        """Make room for a parameter."""
        dtypes = {name: "float32", f"{name}_velocity": "float32", f"{name}_gradient": "float16"}
        return Parameter(*(self.tensor(part, shape, dtype) for part, dtype in dtypes.items()))

    def vector(self, op: VectorOp, shape: tuple[int, int], **fields: int) -> None:
        """Append a VECTOR instruction on so many rows and channels."""
        rows, channels = shape
        v = Vector(op=op, rows=rows, channels=channels, **fields)
        check_vector(self.context.builder.config, v, self.name)
        self.context.builder.packet(v)

    @property
    def dx(self) -> int:
        """Address of the gradient of the first input."""
        return _wanted(self.tensors.dx)

    @property
    def dy(self) -> int:
        """Address of the gradient of the output."""
        return _wanted(self.tensors.dy)


def _wanted(gradient: int | None) -> int:
    assert gradient is not None, "the trace has no operation that makes or uses a gradient that nobody wants"
    return gradient


def rows_of(tensor: Tensor) -> tuple[int, int]:
    """Rows (samples and pixels) and channels of an activation."""
    *rows, channels = tensor.shape
    return prod(rows), channels


class ReluSite(Site):
    """ReLU."""

    def ff(self, _: Op) -> None:
        self.vector(VectorOp.RELU, rows_of(self.x), x=self.x.address, out=self.y.address)

    def bp(self, _: Op) -> None:
        addresses = {"x": self.dy, "y": self.y.address, "out": self.dx}
        self.vector(VectorOp.RELU_BACKWARD, rows_of(self.x), **addresses)


class AddSite(Site):
    """Residual connection; both inputs get the gradient as it is."""

    def ff(self, _: Op) -> None:
        x, other = self.tensors.x
        self.vector(VectorOp.ADD, rows_of(x), x=x.address, y=other.address, out=self.y.address)


class PoolSite(Site):
    """Pooling; the positions of maxima are kept from FF to BP."""

    def __init__(self, context: Context, layer: Pool, tensors: Tensors) -> None:
        super().__init__(context, layer.name, tensors)
        self._largest = layer.kind == "maxpool"
        self._positions = self.tensor("positions", self.y.shape, "uint16").address if self._largest else 0
        samples, *image, channels = self.x.shape
        out = self.y.shape[1], self.y.shape[2]
        self._shape = samples, channels
        self._forward = window_parameters(layer.window, (image[0], image[1]), out)
        self._backward = window_parameters(layer.window, out, (image[0], image[1]))

    def ff(self, _: Op) -> None:
        op = VectorOp.MAX_POOL if self._largest else VectorOp.AVG_POOL
        addresses = {"x": self.x.address, "out": self.y.address, "out2": self._positions}
        self.vector(op, self._shape, **addresses, **self._forward)

    def bp(self, _: Op) -> None:
        op = VectorOp.MAX_POOL_BACKWARD if self._largest else VectorOp.AVG_POOL_BACKWARD
        addresses = {"x": self.dy, "y": self._positions, "out": self.dx}
        self.vector(op, self._shape, **addresses, **self._backward)


class NormSite(Site):
    """Batch normalisation; statistics of the batch are kept from FF to BP."""

    def __init__(self, context: Context, layer: BatchNorm, tensors: Tensors) -> None:
        super().__init__(context, layer.name, tensors)
        rows, self._channels = rows_of(self.x)
        self._constants = NormConstants.of(rows, layer.eps, layer.momentum)
        self._scale, self._shift = (self.parameter(name, (self._channels,)) for name in ("weight", "bias"))
        padded = -(-4 * self._channels // WORD_BYTES) * WORD_BYTES // 4  # each statistic starts at a word
        self._statistics = self.tensor("statistics", (4, padded), "float32")

    def initial(self, values: Mapping[str, Array]) -> dict[str, Array]:
        statistics = np.zeros(self._statistics.shape, np.float32)
        statistics[2, : self._channels] = values.get("running_mean", 0)
        statistics[3, : self._channels] = values.get("running_var", 1)
        scale, shift = (self.given(values, name, (self._channels,)) for name in ("weight", "bias"))
        return {"statistics": statistics} | scale | shift

    def ff(self, _: Op) -> None:
        addresses = {
            "x": self.x.address,
            "y": self._scale.master.address,
            "z": self._shift.master.address,
            "out": self.y.address,
            "out2": self._statistics.address,
        }
        self.vector(VectorOp.BATCH_NORM, rows_of(self.x), **addresses, **real_parameters(self._constants))

    def bp(self, _: Op) -> None:
        addresses = {
            "x": self.x.address,
            "y": self.dy,
            "z": self._scale.master.address,
            "out": self.dx,
            "out2": self._statistics.address,
            "p1": self._scale.gradient.address,
            "p2": self._shift.gradient.address,
        }
        inverse = real_parameters([self._constants.inverse])
        self.vector(VectorOp.BATCH_NORM_BACKWARD, rows_of(self.x), **addresses, **inverse)

    def update(self, _: Op) -> None:
        for parameter in (self._scale, self._shift):
            self.context.builder.packet(parameter.update(self.context))


class LossSite(Site):
    """Softmax cross-entropy; the gradient of the logits comes with it."""

    def __init__(self, context: Context, name: str, tensors: Tensors, smoothing: float) -> None:
        super().__init__(context, name, tensors)
        rows, classes = rows_of(self.x)
        self._labels = context.builder.memory.tensors[f"{name}/labels"]
        self._loss = self.tensor("mean", (1,), "float32")
        self._constants = LossConstants.of(rows, classes, context.loss_scale, smoothing)

    def ff(self, _: Op) -> None:
        addresses = {
            "x": self.x.address,
            "y": self._labels.address,
            "out": self.dx,
            "out2": self._loss.address,
        }
        self.vector(VectorOp.CROSS_ENTROPY, rows_of(self.x), **addresses, **real_parameters(self._constants))

    def bp(self, _: Op) -> None:
        """Done in FF."""
