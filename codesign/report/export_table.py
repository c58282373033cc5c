"""What `codesign export` made, for the terminal and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from codesign.report.tables import console
from codesign.spec_errors import printable
from hls.export import Project


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
            "csim": csim or None,
        },
        indent=2,
    )


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
    elements = sum(project.tensors.values())
    lines = [
        "array: from the kernels' loops; scheduled: the simulator's, for the schedule's tiles; with DMA: the longest",
        "of GEMM, loads and store of each packet, without memory latency.",
        f"Interpreter: {project.instructions:,} instructions; {len(project.tensors)} tensors of {elements:,} "
        "elements match codesign.functional bit for bit.",
    ]
    if csim:
        lines.append(f"C-simulation: {printable(csim)}, bit for bit.")
    terminal.print("\n".join([*lines, f"Written to {printable(str(folder))}."]), highlight=False)
