"""Which operand of which GEMM is N:M sparse under a training method, and why the others stay dense.

Groups of M lie along the reduction axis: along Cin for the forward weight, along Cout for the weight or the
output gradient of the backward pass. WU and products of two activations are dense under every method here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.spec_errors import nearest
from workloads.ops import GemmOp, Op, Role, Sparsity, Stage, UpdateOp
from workloads.trace import Layer, Trace

METHODS: dict[str, dict[Stage, Role]] = {
    "dense": {},
    # Fang et al., TCAD 2023: each pass has its own N:M weight, both from the dense one.
    "bdwp": {Stage.FF: Role.WEIGHT, Stage.BP: Role.WEIGHT},
    # Zhou et al., ICLR 2021: the backward pass uses the forward weight, which is not N:M along Cout.
    "srste": {Stage.FF: Role.WEIGHT},
    # McDanel et al., 2022: the output gradient is pruned, online, for the input gradient only.
    "sdgp": {Stage.BP: Role.GRADIENT},
    # The backward half of BDWP.
    "sdwp": {Stage.BP: Role.WEIGHT},
}
"""What each method prunes, by stage."""

FIRST_LAYER = "first layer"
"""Why the stem stays dense."""


@dataclass(frozen=True, slots=True)
class LayerSparsity:
    """What a method does to one weight layer in one pass: `pruned` at `nm`, or dense (None) for a `reason`."""

    layer: str
    stage: Stage
    pruned: Role | None = None
    nm: NM | None = None
    reason: str = ""


def check_method(method: str) -> None:
    """Raise SpecError for an unknown method."""
    if method not in METHODS:
        raise SpecError(
            f"unknown method {method!r}{nearest(method, METHODS)}; expected one of: {', '.join(METHODS)}"
        )


def apply_method(
    trace: Trace, method: str, nm: NM | None, first_dense: bool = True
) -> tuple[Trace, tuple[LayerSparsity, ...]]:
    """Mark the sparse operands of `trace` under `method`; also say for each layer and pass what was done and why.

    The first layer, depthwise convolutions and channels that do not divide by M stay dense, each in the pass
    concerned (`first_dense=False` treats the first layer like the others). `nm` is ignored by `dense`. Raises
    SpecError for an unknown method or a missing ratio.
    """
    check_method(method)
    if METHODS[method] and nm is None:
        raise SpecError(f"method {method!r} needs an N:M ratio, such as 2:8")
    layers = {layer.name: layer for layer in trace.layers}
    decisions = {
        op.name: _decide(op, layers[op.layer], method, nm, first_dense)
        for op in trace.gemms()
        if op.layer in layers and op.stage is not Stage.WU
    }
    prunes = _prunes(decisions.values(), layers)
    ops = tuple(_mark(op, decisions.get(op.name), prunes) for op in trace.ops)
    return replace(trace, ops=ops, method=method), tuple(decisions.values())


def shape_reason(cin: int, cout: int, groups: int, stage: Stage, nm: NM) -> str:
    """Why a layer of this shape stays dense in FF or BP at `nm`, or nothing; channels are those of one group."""
    channels, axis = (cin, "Cin") if stage is Stage.FF else (cout, "Cout")
    if nm.dense:
        return f"{nm} keeps everything"
    if groups > 1 and cin == 1:
        return "depthwise convolution"
    if channels % nm.m:
        group = " of a group" if groups > 1 else ""
        return f"{axis}{group} is {channels}, not a multiple of {nm.m}"
    return ""


def no_prune_reason(method: str) -> str:
    """Why a layer stays dense in a pass that `method` leaves alone."""
    return f"{method} does not prune this pass"


def _decide(op: GemmOp, layer: Layer, method: str, nm: NM | None, first_dense: bool) -> LayerSparsity:
    pruned = METHODS[method].get(op.stage)
    if pruned is None or nm is None:
        reason = no_prune_reason(method)
    elif layer.first and first_dense and not nm.dense:
        reason = FIRST_LAYER
    else:
        reason = shape_reason(layer.cin, layer.cout, layer.groups, op.stage, nm)
    if reason:
        return LayerSparsity(layer.name, op.stage, reason=reason)
    return LayerSparsity(layer.name, op.stage, pruned, nm)


def _prunes(decisions: Iterable[LayerSparsity], layers: dict[str, Layer]) -> dict[str, tuple[NM, ...]]:
    """N:M ratios at which each layer's update must deliver its weight; a tied weight is updated by its owner."""
    prunes: defaultdict[str, tuple[NM, ...]] = defaultdict(tuple)
    for decision in decisions:
        if decision.nm and decision.pruned is Role.WEIGHT:
            prunes[layers[decision.layer].tied_to or decision.layer] += (decision.nm,)
    return prunes


def _mark(op: Op, decision: LayerSparsity | None, prunes: dict[str, tuple[NM, ...]]) -> Op:
    if isinstance(op, UpdateOp):
        return replace(op, prunes=prunes.get(op.layer, ()))
    if isinstance(op, GemmOp):
        sparsity = None
        if decision and decision.nm:
            sparsity = Sparsity("a" if op.a is decision.pruned else "b", decision.nm)
        return replace(op, sparsity=sparsity)
    return op
