"""Which operand of which GEMM is N:M sparse under a training method, and why the others stay dense.

Groups of M lie along the reduction axis: along Cin for the forward weight, along Cout for the weight or the
output gradient of the backward pass, along samples x pixels for the output gradient of WU (the last group padded).
Products of two activations are always dense.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from codesign.errors import SpecError, TraceError
from codesign.nm.format import NM
from codesign.spec_errors import nearest
from workloads.ops import GemmOp, Op, Record, Role, Sparsity, Stage, UpdateOp
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
    # Hubara et al., NeurIPS 2021: one mask, N:M along both axes, serves both passes.
    "transposable": {Stage.FF: Role.WEIGHT, Stage.BP: Role.WEIGHT},
    # Zhang et al., ICML 2023: the backward weight is the forward weight pruned once more, along permuted Cout.
    "bimask": {Stage.FF: Role.WEIGHT, Stage.BP: Role.WEIGHT},
    # Hu et al., NeurIPS 2024: soft thresholds; both passes use the forward weight.
    "sste": {Stage.FF: Role.WEIGHT},
    # Bambhaniya et al., 2024: pruned weights fade; the forward weight is N:M from when they are gone.
    "progressive": {Stage.FF: Role.WEIGHT},
    # Mishra et al., 2021: a trained network is pruned once; both passes use the forward weight.
    "asp": {Stage.FF: Role.WEIGHT},
    # Huang et al., AAAI 2025: masks follow the weights; both passes use the forward weight.
    "ast": {Stage.FF: Role.WEIGHT},
    # Huang et al., 2025: training is dense; the forward weight is N:M from the last step on.
    "cast": {Stage.FF: Role.WEIGHT},
}
"""What each method prunes, by stage, once its goal is reached."""

COUPLED = frozenset({"transposable", "bimask"})
"""Methods that prune a layer in both passes or not at all."""

FIRST_LAYER = "first layer"
"""Why the stem stays dense."""


@dataclass(frozen=True, slots=True)
class LayerSparsity(Record):
    """What is done to one weight layer in one stage: `pruned` at `nm`, or dense (None) for a `reason`."""

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
    """`decide`, then `mark`: the trace under `method`, and what was done to each layer and pass."""
    decisions = decide(trace, method, nm, first_dense)
    return mark(trace, decisions, method), decisions


def decide(trace: Trace, method: str, nm: NM | None, first_dense: bool = True) -> tuple[LayerSparsity, ...]:
    """What `method` does to every weight layer of `trace` in FF and BP, and why, in the order of the operations.

    The first layer, depthwise convolutions and channels that do not divide by M stay dense, each in the pass
    concerned (`first_dense=False` treats the first layer like the others); a method that couples the passes then
    leaves the other one dense, too. `nm` is ignored by `dense`. Raises SpecError for an unknown method or a missing
    ratio.
    """
    check_method(method)
    if METHODS[method] and nm is None:
        raise SpecError(f"method {method!r} needs an N:M ratio, such as 2:8")
    owners = _owners(trace)
    passes = [(owners[op.layer], op.stage) for op in trace.gemms() if op.layer in owners]
    return tuple(
        _decision(layer, stage, method, nm, first_dense)
        for layer, stage in dict.fromkeys(passes)
        if stage is not Stage.WU
    )


def mark(trace: Trace, decisions: Sequence[LayerSparsity], method: str) -> Trace:
    """`trace` with exactly those operands sparse that `decisions` name, and `method` as the name of its method.

    Decisions may concern FF, BP and WU; what they do not mention is dense, and the first layer has no BP. A repeated
    use of a shared weight, layer `NAME#2` tied to `NAME`, follows the decisions on `NAME`. Raises TraceError for an
    unknown layer and for a sparse operand that the trace does not have or that cannot be N:M.
    """
    owners = _owners(trace)
    gemms = {(owners[op.layer].name, op.stage): op for op in trace.gemms() if op.layer in owners}
    for decision in decisions:
        if problem := _problem(decision, owners, gemms):
            raise TraceError(f"trace {trace.name!r}: {problem}; record it again")
    needed = [row for row in decisions if row.stage is not Stage.BP or not owners[row.layer].first]
    found = {(decision.layer, decision.stage): decision for decision in needed}
    followed = {name: owner.name for name, owner in owners.items()}
    prunes = _prunes(needed, owners)
    ops = (_mark(op, found.get((followed.get(op.layer, op.layer), op.stage)), prunes) for op in trace.ops)
    return replace(trace, ops=tuple(ops), method=method)


def shape_reason(cin: int, cout: int, groups: int, stage: Stage, nm: NM) -> str:
    """Why a layer of this shape stays dense in a stage at `nm`, or nothing; channels are those of one group."""
    channels, axis = (cin, "Cin") if stage is Stage.FF else (cout, "Cout")
    if nm.dense:
        return f"{nm} keeps everything"
    if stage is Stage.WU:
        return ""
    if groups > 1 and cin == 1:
        return "depthwise convolution"
    if channels % nm.m:
        group = " of a group" if groups > 1 else ""
        return f"{axis}{group} is {channels}, not a multiple of {nm.m}"
    return ""


def no_prune_reason(method: str) -> str:
    """Why a layer stays dense in a pass that `method` leaves alone."""
    return f"{method} does not prune this pass"


def coupled_reasons(reasons: Mapping[Stage, str]) -> dict[Stage, str]:
    """Why each pass stays dense if all do as soon as one does; nothing for a pass that may be sparse."""
    blocking = next(filter(None, reasons.values()), "")
    return {stage: reason or blocking for stage, reason in reasons.items()}


def _owners(trace: Trace) -> dict[str, Layer]:
    """By name of a layer, the layer whose decisions it follows: itself, unless it repeats another one."""
    layers = {layer.name: layer for layer in trace.layers}
    return {
        name: layers.get(layer.tied_to, layer) if name.startswith(f"{layer.tied_to}#") else layer
        for name, layer in layers.items()
    }


def _decision(layer: Layer, stage: Stage, method: str, nm: NM | None, first_dense: bool) -> LayerSparsity:
    reasons = {of: _reason(layer, of, method, nm, first_dense) for of in (Stage.FF, Stage.BP)}
    if method in COUPLED:
        reasons = coupled_reasons(reasons)
    if reasons[stage]:
        return LayerSparsity(layer.name, stage, reason=reasons[stage])
    return LayerSparsity(layer.name, stage, METHODS[method][stage], nm)


def _reason(layer: Layer, stage: Stage, method: str, nm: NM | None, first_dense: bool) -> str:
    """Why a layer stays dense in FF or BP, or nothing."""
    if stage not in METHODS[method] or nm is None:
        return no_prune_reason(method)
    if layer.first and first_dense and not nm.dense:
        return FIRST_LAYER
    return shape_reason(layer.cin, layer.cout, layer.groups, stage, nm)


def _problem(
    decision: LayerSparsity, owners: Mapping[str, Layer], gemms: Mapping[tuple[str, Stage], GemmOp]
) -> str:
    """Why a decision does not fit the trace, or nothing; `gemms` has an operation of each layer and stage."""
    name, nm = decision.layer, decision.nm
    if name not in owners:
        return f"a decision names layer {name!r}, which does not exist{nearest(name, owners)}"
    if nm is None:
        return ""
    where = f"layer {name!r} has a sparse {decision.pruned} in {decision.stage}"
    op, layer = gemms.get((name, decision.stage)), owners[name]
    if layer.first and decision.stage is Stage.BP:
        return ""
    if op is None or decision.pruned not in (op.a, op.b):
        return f"{where}, but no operation with one"
    reason = shape_reason(layer.cin, layer.cout, layer.groups, decision.stage, nm)
    return f"{where}, but {reason}" if reason else ""


def _prunes(decisions: Iterable[LayerSparsity], owners: Mapping[str, Layer]) -> dict[str, tuple[NM, ...]]:
    """N:M ratios at which each layer's update must deliver its weight; a tied weight is updated by its owner."""
    prunes: defaultdict[str, tuple[NM, ...]] = defaultdict(tuple)
    for decision in decisions:
        if decision.nm and decision.pruned is Role.WEIGHT:
            prunes[owners[decision.layer].tied_to or decision.layer] += (decision.nm,)
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
