"""Statistics of single steps: how sparse the operands really are, and how fast the choice of weights changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from codesign.nm.format import NM
from codesign.train.layers import SparseLayer
from codesign.train.observe import observed
from codesign.train.session import Session
from workloads.ops import Role, Stage
from workloads.run_trace import LayerStatistics, RecordedStep

_PASSES = {Stage.FF: "ff", Stage.BP: "bp"}


class StatisticsRecorder:
    """Records every so many steps: `with recorder.listening(step)` around forward and backward, then `measure`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layers = session.weight_layers
        self._zeros: defaultdict[tuple[str, str], _Share] = defaultdict(_Share)
        self.kept: dict[str, Tensor] = {}
        """What each pass of each layer kept when it was last recorded, bool, by `LAYER.ff` and `LAYER.bp`."""

    def due(self, step: int) -> bool:
        """Whether a step is recorded."""
        every = self._session.record_every
        return every > 0 and step % every == 0

    @contextmanager
    def listening(self, step: int) -> Iterator[None]:
        """Look at inputs and gradients if the step is due."""
        self._zeros.clear()
        with observed(self._layers if self.due(step) else {}, self._see):
            yield

    def measure(self, step: int, loss: float) -> RecordedStep:
        """Statistics of the step whose operands were seen; the weights must still be those that it used."""
        return RecordedStep(step, loss, tuple(self._of_layer(name) for name in self._layers))

    def _see(self, name: str, what: str, x: Tensor) -> None:
        if what in ("input", "output_gradient"):
            self._zeros[name, what].add(x == 0)

    def _of_layer(self, name: str) -> LayerStatistics:
        layer = self._layers[name]
        weights = operands(layer, self._session.dtype) if isinstance(layer, SparseLayer) else {}
        kept = {key: w != 0 for key, (w, _, _) in weights.items()}
        return LayerStatistics(
            name,
            **{f"{key}_compliance": compliance(*weights[key]) for key in weights},
            **self._churn(name, kept),
            overlap=share(kept["bp"], kept["ff"]) if len(kept) == 2 else None,
            input_zeros=self._zeros[name, "input"].value,
            gradient_zeros=self._zeros[name, "output_gradient"].value,
        )

    def _churn(self, name: str, kept: Mapping[str, Tensor]) -> dict[str, float | None]:
        """Compare with what was kept before, and remember what is kept now."""
        churn = {}
        for key in _PASSES.values():
            before = self.kept.pop(f"{name}.{key}", None)
            if key in kept:
                churn[f"{key}_churn"] = None if before is None else share(~before, kept[key])
                self.kept[f"{name}.{key}"] = kept[key]
        return churn


def operands(layer: SparseLayer, dtype: torch.dtype) -> dict[str, tuple[Tensor, NM, int]]:
    """By pass (`ff`, `bp`) with a sparse weight: that weight, its ratio, and its reduction axis."""
    site, prunes = layer.site, layer.method.prunes
    found = {}
    if site.ff and prunes.get(Stage.FF) is Role.WEIGHT:
        found["ff"] = (layer.forward_weight(dtype), site.ff, site.cin_axis)
    if site.bp and prunes.get(Stage.BP) is Role.WEIGHT:
        found["bp"] = (layer.backward_weight(dtype), site.bp, site.cout_axis)
    return found


def compliance(w: Tensor, nm: NM, axis: int) -> float:
    """Share of the groups of M along `axis` that hold at most N values other than zero."""
    groups = (w != 0).movedim(axis, -1).reshape(-1, nm.m)
    return float((groups.sum(1) <= nm.n).double().mean())


def share(condition: Tensor, among: Tensor) -> float:
    """Share of `condition` where `among` is true; 0 where nothing is."""
    return int((condition & among).sum()) / max(1, int(among.sum()))


class _Share:
    """A share over several tensors."""

    def __init__(self) -> None:
        self._true = self._all = 0

    def add(self, condition: Tensor) -> None:
        self._true += int(condition.sum())
        self._all += condition.numel()

    @property
    def value(self) -> float | None:
        """None if nothing was seen."""
        return self._true / self._all if self._all else None
