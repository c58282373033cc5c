"""A result as JSON, CSV and Chrome trace events."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from codesign.headline import PUBLISHED_NM, PUBLISHED_SPEEDUP, mean_speedup
from codesign.result import STALL_CAUSES, OpResult, SimResult
from codesign.units import cycles_to_microseconds

UNIT_LANES = {"stce": "STCE (array)", "vector": "Vector unit", "update": "WUVE + SORE"}


def to_json(result: SimResult, sections: Mapping[str, Any] | None = None) -> str:
    """The whole result as one JSON object, with those further sections that are not empty."""
    more = {name: section for name, section in (sections or {}).items() if section}
    return json.dumps(result.as_dict() | more, indent=2, allow_nan=False)


def headline_json(results: list[SimResult], sections: Mapping[str, Any] | None = None) -> str:
    """Speedups over dense training, their mean, and the published mean, with those further sections."""
    speedups = {result.workload_name: result.speedup_vs_dense for result in results}
    data = {
        "nm": results[0].nm,
        "speedup_vs_dense": speedups,
        "mean_speedup": mean_speedup(results),
        "published_mean_speedup": PUBLISHED_SPEEDUP,
        "published_nm": str(PUBLISHED_NM),
    }
    return json.dumps(data | dict(sections or {}), indent=2, allow_nan=False)


def layers_csv(result: SimResult) -> str:
    """One row for each layer and stage."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counters = ("cycles", "macs", "dense_macs", "read_bytes", "write_bytes")
    writer.writerow(["layer", "stage", *counters, *(f"stall_{cause}_cycles" for cause in STALL_CAUSES)])
    for layer, shares in result.layers.items():
        for stage, share in shares.items():
            stalls = (share.stall_cycles.get(cause, 0) for cause in STALL_CAUSES)
            writer.writerow([layer, stage, *(getattr(share, name) for name in counters), *stalls])
    return text.getvalue()


def timeline_json(result: SimResult) -> str:
    """Chrome trace events (one lane for each unit, one slice for each operation), microseconds of model time."""
    return json.dumps({"traceEvents": list(_events(result)), "displayTimeUnit": "ms"})


def _events(result: SimResult) -> Iterator[dict[str, Any]]:
    process = f"{result.workload_name} on {result.arch_name}"
    yield {"name": "process_name", "ph": "M", "pid": 0, "args": {"name": process}}
    lanes = {unit: number for number, unit in enumerate(UNIT_LANES)}
    for unit, number in lanes.items():
        yield {"name": "thread_name", "ph": "M", "pid": 0, "tid": number, "args": {"name": UNIT_LANES[unit]}}
    for op, end_cycle in _slices(result.ops):
        yield {
            "name": op.name,
            "cat": op.stage,
            "ph": "X",
            "pid": 0,
            "tid": lanes[op.unit],
            "ts": cycles_to_microseconds(op.start_cycle, result.clock_hz),
            "dur": cycles_to_microseconds(end_cycle - op.start_cycle, result.clock_hz),
            "args": asdict(op),
        }


def _slices(ops: Sequence[OpResult]) -> list[tuple[OpResult, int]]:
    """Operations with the end of their slices: a unit may start the next while the last results are being stored."""
    slices: list[tuple[OpResult, int]] = []
    next_start: dict[str, int] = {}
    for op in reversed(ops):
        slices.append((op, min(op.end_cycle, next_start.get(op.unit, op.end_cycle))))
        next_start[op.unit] = op.start_cycle
    return slices[::-1]
