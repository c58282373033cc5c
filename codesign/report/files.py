"""Writes the files of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codesign import strict_yaml
from codesign.output_files import write_files
from codesign.report.machine_readable import layers_csv, timeline_json, to_json
from codesign.result import SimResult
from hw_models.arch import Arch


def write_result(
    directory: Path, result: SimResult, arch: Arch, sections: Mapping[str, Any] | None = None
) -> None:
    """Write `result.json`, with further sections, `layers.csv`, `timeline.json` and `resolved.yaml`.

    Raises ExportError.
    """
    write_files(
        directory,
        {
            "result.json": to_json(result, sections) + "\n",
            "layers.csv": layers_csv(result),
            "timeline.json": timeline_json(result) + "\n",
            "resolved.yaml": strict_yaml.dump(arch.model_dump(mode="json")),
        },
    )
