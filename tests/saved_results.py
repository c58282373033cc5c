"""Folders of results that tests of the readers and pages share, and names that try to break a page."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from codesign.ablation import ladder
from codesign.energy.estimate import energy_of
from codesign.energy.sources import load_energy_table
from codesign.nm.format import NM
from codesign.report.files import write_result
from codesign.result import SimResult
from codesign.simulate import simulate
from hw_models.arch import Arch, load_arch
from workloads.catalog import load
from workloads.sparsity import apply_method

SAT = load_arch("sat")
MLP = "mlp:64x256x256x16"

HOSTILE = (
    "</script><script>window.pwned = 1</script>",
    '<img src="x" onerror="window.pwned = 2">',
    "\"quoted\" 'single' `tick` &amp; &lt;i&gt;",
    "line\nbreak\r\ttab \x1b[31m",
    "%{x} $x^2$ {{ 7 * 7 }} {% raw %}",
    "层 🚀 \u2028 \u202e <b>bold</b><br>",
)


@cache
def simulated(method: str = "bdwp", nm: str | None = "2:8", batch: int = 8, arch: Arch = SAT) -> SimResult:
    """A training iteration of a small perceptron."""
    ratio = NM.parse(nm) if nm else None
    return simulate(arch, load(MLP, batch=batch), method=method, nm=ratio)


def write(folder: Path, result: SimResult, arch: Arch = SAT, **sections: Any) -> Path:
    """A folder as `codesign simulate --energy --out` leaves it."""
    energy = energy_of(result, load_energy_table(arch, "fpga16"))
    write_result(folder, result, arch, {"energy": energy.as_dict()} | sections)
    return folder


def rungs() -> list[dict[str, Any]]:
    """Section `ablation` of the perceptron."""
    trace, _ = apply_method(load(MLP, batch=8), "bdwp", NM(2, 8))
    return [
        {
            "label": rung.label,
            "switched_on": list(rung.switched_on),
            "total_cycles": rung.total_cycles,
            "without_cycles": rung.without_cycles,
        }
        for rung in ladder(SAT, trace)
    ]


def run_section(**changes: Any) -> dict[str, Any]:
    """Section `run`: ten dense steps, then thirty sparse ones."""
    phases = [
        {"first_step": 0, "steps": 10, "nm": "dense", "iteration_cycles": 2000, "speedup_vs_dense": 1.0},
        {"first_step": 10, "steps": 30, "nm": "2:8", "iteration_cycles": 1000, "speedup_vs_dense": 2.0},
    ]
    values = {
        "model": "mlp",
        "data": "digits",
        "seed": 0,
        "dtype": "float32",
        "steps": 40,
        "planned_steps": 50,
    }
    values |= {"train_loss": 0.5, "validation_loss": None, "validation_accuracy": 0.9375}
    values |= {"total_cycles": 50_000, "dense_cycles": 80_000, "total_s": 0.00025, "speedup_vs_dense": 1.6}
    return values | {"phases": phases} | changes


def edit(folder: Path, **changes: Any) -> Path:
    """Replace parts of a result by hand."""
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def make_hostile(folder: Path) -> list[str]:
    """Give layers, workload, energy table and run of a result hostile names; those of the layers."""
    data = json.loads((folder / "result.json").read_text())
    layers = [row["layer"] for row in data["layers"]]
    names = dict(zip(layers, HOSTILE, strict=False))
    for row in [*data["layers"], *data["ops"], *data["energy"]["layers"]]:
        row["layer"] = names.get(row["layer"], row["layer"])
    for row in data["ops"]:
        row["name"] = row["layer"] + row["name"]
    data["workload"]["name"], data["energy"]["source"] = HOSTILE[0], HOSTILE[1]
    data["run"] = run_section(model=HOSTILE[0], data=HOSTILE[3], dtype=HOSTILE[4])
    data["run"]["phases"][0]["nm"] = HOSTILE[5]
    edit(folder, **data)
    return [names.get(layer, layer) for layer in layers]
