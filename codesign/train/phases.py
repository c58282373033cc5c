"""The ratios in force, step by step, as the phases of a trace."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from codesign.nm.format import NM
from codesign.train.layers import SparseLayer
from codesign.train.sparsify import Report
from workloads.ops import Role, Stage
from workloads.run_trace import Phase
from workloads.sparsity import LayerSparsity

DENSE_NOW = "dense by the schedule"
NOT_NM_YET = "what is pruned has not faded to zero yet"


def add_step(phases: list[Phase], report: Report, model: nn.Module) -> None:
    """Count one more step under the ratios that are in force now."""
    decisions = decisions_now(report, model)
    if phases and phases[-1].decisions == decisions:
        phases[-1] = replace(phases[-1], steps=phases[-1].steps + 1)
    else:
        first = phases[-1].first_step + phases[-1].steps if phases else 0
        phases.append(Phase(first, 1, decisions))


def decisions_now(report: Report, model: nn.Module) -> Report:
    """The rows of a sparsify report with the ratios in force instead of the goals."""
    return tuple(_row_now(row, model) if row.nm else row for row in report)


def _row_now(row: LayerSparsity, model: nn.Module) -> LayerSparsity:
    layer = model.get_submodule(row.layer)
    assert isinstance(layer, SparseLayer)
    ratios: dict[Stage, NM | None] = {Stage.FF: layer.site.ff, Stage.BP: layer.site.bp}
    now = ratios.get(row.stage, row.nm)  # pruning for WU follows no schedule
    if now is None:
        return LayerSparsity(row.layer, row.stage, reason=DENSE_NOW)
    if row.pruned is Role.WEIGHT and not layer.method.is_nm(layer.site):
        return LayerSparsity(row.layer, row.stage, reason=NOT_NM_YET)
    if now == row.nm:
        return row
    return replace(row, nm=now, reason=f"on the way to {row.nm}")
