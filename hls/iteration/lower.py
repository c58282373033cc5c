"""A whole BDWP training iteration of a network as one program, in the order and the tiles of the offline schedule.

FF of all layers, loss, BP, WU, updates, and the next compact weights: when the program ends, memory holds what the
next iteration needs, so that it is simply run again. Sums are those of `codesign.functional`; everything else is
`codesign.compute.vector_unit` and `codesign.compute.optimizers`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from codesign.compute.optimizers import SGD
from codesign.errors import ExportError
from codesign.nm.format import NM
from codesign.schedule.planner import Planner
from hls.config import KernelConfig
from hls.golden import STALE, Array, Pass
from hls.iteration.layers import AddSite, Context, LossSite, NormSite, PoolSite, ReluSite, Site, Tensors
from hls.iteration.network import (
    INPUT,
    LOSS,
    Add,
    BatchNorm,
    Conv,
    Flatten,
    Layer,
    Linear,
    Network,
    Pool,
    ReLU,
)
from hls.iteration.weights import WeightSite
from hls.program.builder import ProgramBuilder
from hls.program.encoding import Program
from hls.program.instruction import WORD_BYTES
from hls.program.memory import Bytes, MemoryMap, Tensor
from hw_models.arch import Arch
from workloads.graph import Node
from workloads.ops import GemmOp, Stage
from workloads.sparsity import apply_method
from workloads.trace import Trace
from workloads.training import training_trace
from workloads.vector_costs import COSTS

LABELS, MEAN_LOSS = f"{LOSS}/labels", f"{LOSS}/mean"
"""Tensors: classes (B,) in uint32, the loss (1,) in FP32."""

Parameters = Mapping[str, Mapping[str, Array]]
"""By layer, `weight` in torch's layout and `bias`, FP32; of a BatchNorm both too.

`weight_velocity` and `bias_velocity` are 0 if they are missing; `running_mean` is 0, `running_var` 1.
"""


@dataclass(frozen=True)
class Training:
    """How the network is trained."""

    batch: int
    rule: SGD
    nm: NM
    loss_scale: float = 1.0
    smoothing: float = 0.0


@dataclass(frozen=True)
class Iteration:
    """The program and where its tensors are; the images, (B, H, W, C), are tensor `input`.

    `passes` are its products, `ratios` those of the weights that a pass multiplies compact.
    """

    program: Program
    memory: MemoryMap
    sites: Sequence[Site]
    passes: Sequence[Pass]
    ratios: Mapping[tuple[str, Stage], NM]

    def image(self, parameters: Parameters, images: Array, labels: Array) -> Bytes:
        """Memory before the first iteration: masters, what is pruned from them, velocities, and a batch.

        `images` (B, C, H, W) are rounded to FP16. Raises ExportError for a batch or parameter of another size.
        """
        memory = self.memory.image()
        memory[:] = STALE
        self.put_batch(memory, images, labels)
        for site in self.sites:
            for tensor, values in site.initial(parameters.get(site.name, {})).items():
                self._put(memory, f"{site.name}/{tensor}", values)
        return memory

    def put_batch(self, memory: Bytes, images: Array, labels: Array) -> None:
        """Replace the batch. Raises ExportError for one of another size."""
        self._put(memory, INPUT, images.astype(np.float16).transpose(0, 2, 3, 1))
        self._put(memory, LABELS, labels)

    def batch(self, memory: Bytes) -> Bytes:
        """A view of the batch, which memory begins with: whole words."""
        labels = self.memory.tensors[LABELS]
        return memory[: (labels.address + labels.words) * WORD_BYTES]

    def get(self, memory: Bytes, name: str) -> Array:
        """A view of a tensor."""
        return self.memory.tensors[name].of(memory)

    def _put(self, memory: Bytes, name: str, values: Array) -> None:
        place = self.get(memory, name)
        if values.size != place.size:
            raise ExportError(
                f"tensor {name!r} of shape {values.shape}, expected {place.shape}; the batch size is fixed"
            )
        place[...] = values.reshape(place.shape)


def lower_iteration(arch: Arch, network: Network, training: Training) -> Iteration:
    """Lower an iteration for the kernels of an architecture.

    Raises SpecError for a network that does not fit together, ExportError for one that the kernels have no room for,
    and for a ratio that they lack.
    """
    graph, nodes = network.graph(training.batch)
    trace, _ = apply_method(training_trace(graph, network.name), "bdwp", training.nm)
    config = KernelConfig.of(arch)
    builder = ProgramBuilder(config)
    context = Context(builder, Planner(arch), training.rule, training.loss_scale, _ratios(trace, config))
    sites = _sites(context, network, nodes, training.smoothing)
    passes = []
    for op in trace.ops:
        first = builder.count
        sites[op.layer].lower(op)
        if isinstance(op, GemmOp):
            plan = context.planner.plan(op)
            passes.append(Pass(op.layer, op.stage, plan, range(first, builder.count)))
    return Iteration(builder.build(), builder.memory, list(sites.values()), passes, context.ratios)


def _ratios(trace: Trace, config: KernelConfig) -> dict[tuple[str, Stage], NM]:
    ratios = {(op.layer, op.stage): op.sparsity.nm for op in trace.gemms() if op.sparsity}
    for (layer, stage), nm in ratios.items():
        if nm not in config.ratios:
            raise ExportError(
                f"layer {layer!r}: {nm} in {stage.upper()}, expected a ratio of array.sparsity; train with one"
            )
    return ratios


def _sites(
    context: Context, network: Network, nodes: Mapping[str, Node], smoothing: float
) -> dict[str, Site]:
    tensors = _tensors(context.builder.memory, network, nodes)
    sites = {layer.name: _site(context, layer, tensors[layer.name]) for layer in network.layers}
    return sites | {LOSS: LossSite(context, LOSS, tensors[LOSS], smoothing)}


def _tensors(memory: MemoryMap, network: Network, nodes: Mapping[str, Node]) -> dict[str, Tensors]:
    """Tensors of all layers and the loss.

    Gradients are placed from the loss back, since some layers send back what arrives at them, as it is.
    """
    sources = network.sources()
    y = _activations(memory, nodes, sources)
    sent: defaultdict[str, list[int]] = defaultdict(list)
    tensors = {}
    for name, inputs in reversed(sources.items()):
        arrivals = sent[name]
        dy = arrivals[0] if len(arrivals) == 1 else None
        if len(arrivals) > 1:
            dy = memory.add(f"{name}/dy", y[name].shape).address
        dx = dy if _passes_gradient(nodes[name]) else None
        if dx is None and nodes[inputs[0]].trains:
            dx = memory.add(f"{name}/dx", y[inputs[0]].shape).address
        for source in inputs:
            if dx is not None and nodes[source].trains:
                sent[source].append(dx)
        tensors[name] = Tensors([y[source] for source in inputs], y[name], dx, dy, arrivals)
    return tensors


def _activations(
    memory: MemoryMap, nodes: Mapping[str, Node], sources: Mapping[str, Sequence[str]]
) -> dict[str, Tensor]:
    """Outputs of all nodes. Views are other shapes of the same memory; so is the loss, which makes no tensor."""
    y = {INPUT: memory.add(INPUT, _channels_last(nodes[INPUT]))}
    memory.add(LABELS, nodes[INPUT].shape[:1], "uint32")  # next to the images: a batch is one piece
    for name, (source, *_) in sources.items():
        shape = _channels_last(nodes[name])
        shared = nodes[name].kind in ("view", "loss")
        y[name] = replace(y[source], shape=shape) if shared else memory.add(f"{name}/y", shape)
    return y


def _passes_gradient(node: Node) -> bool:
    return node.kind in COSTS and COSTS[node.kind].passes_gradient


def _site(context: Context, layer: Layer, tensors: Tensors) -> Site:
    match layer:
        case Conv() | Linear():
            return WeightSite(context, layer, tensors)
        case BatchNorm():
            return NormSite(context, layer, tensors)
        case Pool():
            return PoolSite(context, layer, tensors)
        case ReLU():
            return ReluSite(context, layer.name, tensors)
        case Add():
            return AddSite(context, layer.name, tensors)
        case Flatten():
            return Site(context, layer.name, tensors)
    raise ExportError(f"layer {layer.name!r}: {type(layer).__name__} is no layer of hls.iteration.network")


def _channels_last(node: Node) -> tuple[int, ...]:
    batch, channels, *pixels = node.shape
    return batch, *pixels, channels
