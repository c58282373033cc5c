"""What `codesign export` made, for the terminal and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from codesign.report.tables import console
from codesign.spec_errors import printable
from hls.export import Comparison, Project


def export_json(project: Project, folder: Path, csim: str) -> str:
    """One JSON object; `csim` is null if there was none."""
    passes = [
        {
            "layer": each.layer,
            "stage": each.stage,
            "dataflow": each.dataflow,
            "nm": None if each.nm is None else str(each.nm),
            "gemms": each.gemms,
            "array_cycles": each.array_cycles,
            "scheduled_cycles": each.scheduled_cycles,
            "packet_cycles": each.packet_cycles,
        }
        for each in project.passes
    ]
    return json.dumps(
        {
            "folder": str(folder),
            "files": sorted(project.files),
            "instructions": project.instructions,
            "tensors": project.tensors,
            "passes": passes,
            "comparison": project.comparison and _comparison(project.comparison),
            "csim": csim or None,
        },
        indent=2,
    )


def _comparison(found: Comparison) -> dict[str, Any]:
    losses = [loss._asdict() for loss in found.losses]
    return {"losses": losses, "weight_distance": found.distance, "layer": found.layer}


def _interpreted(project: Project) -> list[str]:
    """What the interpreter found."""
    start = f"Interpreter: {project.instructions:,} instructions"
    found = project.comparison
    if not found:
        elements = sum(project.tensors.values())
        return [
            f"{start}; {len(project.tensors)} tensors of {elements:,} elements match codesign.functional bit for bit."
        ]
    return [
        f"{start} an iteration.",
        *(
            f"Iteration {number}: loss {loss.here:.6f}; PyTorch in FP32: {loss.pytorch:.6f}."
            for number, loss in enumerate(found.losses, 1)
        ),
        f"Weights after that differ from PyTorch's by at most {found.distance:.2g} of their norm, in "
        f"{printable(found.layer)}.",
    ]


def print_export(project: Project, folder: Path, csim: str) -> None:
    """A row for each pass, then what was compared."""
    table = Table(title="Estimated cycles of the program's passes", title_justify="left")
    for title in ("layer", "pass", "dataflow", "N:M"):
        table.add_column(title)
    for title in ("GEMMs", "array", "scheduled", "ratio", "with DMA"):
        table.add_column(title, justify="right")
    for each in project.passes:
        table.add_row(
            printable(each.layer),
            each.stage.upper(),
            each.dataflow,
            str(each.nm or "dense"),
            f"{each.gemms:,}",
            f"{each.array_cycles:,}",
            f"{each.scheduled_cycles:,}",
            f"{each.array_cycles / each.scheduled_cycles:.3f}",
            f"{each.packet_cycles:,}",
        )
    terminal = console()
    terminal.print(table)
    lines = [
        "array: from the kernels' loops; scheduled: the simulator's, for the schedule's tiles; with DMA: the longest",
        "of GEMM, loads and store of each packet, without memory latency.",
        *_interpreted(project),
    ]
    if csim:
        lines.append(f"C-simulation: {printable(csim)}, bit for bit.")
    terminal.print("\n".join([*lines, f"Written to {printable(str(folder))}."]), highlight=False)
