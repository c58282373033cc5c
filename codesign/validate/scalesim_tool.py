"""Runs SCALE-Sim 3.0.0 (https://pypi.org/project/scalesim) on GEMMs: cycles of its array, without memory stalls."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from codesign.nm.format import NM
from codesign.output_files import write_files
from codesign.validate.bare_array import DENSE, Gemm
from codesign.validate.row import ToolMissingError
from codesign.validate.tools import call, python_with
from hw_models.timing import Dataflow

NAME = "SCALE-Sim 3.0.0"
REQUIREMENTS = ("scalesim==3.0.0", "numpy<2.4")

CONFIG = """\
[general]
run_name = run

[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {cols}
IfmapSramSzkB: {activation_kib}
FilterSramSzkB: {weight_kib}
OfmapSramSzkB: {output_kib}
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: {dataflow}
ReadRequestBuffer: 32
WriteRequestBuffer: 32

[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 100
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 100
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2

[sparsity]
SparsitySupport: {sparse}
SparseRep: ellpack_block
OptimizedMapping: false
RandomNumberGeneratorSeed: 40

[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
"""As its example `configs/scale.cfg` but for array, buffers, dataflow, sparsity; memory never stalls (CALC)."""

_BUFFERS = dict.fromkeys(("activation_kib", "weight_kib", "output_kib"), 2048)

_RUN = (
    "from scalesim.scale_sim import scalesim; scalesim(save_disk_space=True, verbose=False, config='scale.cfg', "
    "topology='gemms.csv', layout='layout.csv', input_type_gemm=True).run_scale('.')"
)


class Layer(NamedTuple):
    """A GEMM, with B at a ratio of N:M along the reduction."""

    gemm: Gemm
    nm: NM = DENSE


def cycles(layers: Sequence[Layer], rows: int, cols: int, dataflow: Dataflow, tools: Path) -> list[int]:
    """Cycles of each layer. Raises ToolMissingError if SCALE-Sim cannot be had or reports something else.

    It reports the number of the last cycle, counted from 0; one is added here.
    """
    python = python_with(REQUIREMENTS, tools / "scalesim")
    sparse = any(layer.nm != DENSE for layer in layers)
    files = {
        "scale.cfg": CONFIG.format(rows=rows, cols=cols, dataflow=dataflow, sparse=sparse, **_BUFFERS),
        "gemms.csv": "Layer, M, N, K, Sparsity,\n" + "".join(map(_line, layers)),
        "layout.csv": "unused\n",
    }
    with TemporaryDirectory() as name:
        write_files(Path(name), files)
        call([python, "-c", _RUN], Path(name))
        report = (
            Path(name) / "run" / "COMPUTE_REPORT.csv"
        )  # missing after an error: the status is 0 even then
        lines = report.read_text().splitlines() if report.exists() else []
    reported = [int(row["Total Cycles"]) + 1 for row in csv.DictReader(lines, skipinitialspace=True)]
    if len(reported) != len(layers):
        raise ToolMissingError(f"{NAME} reported {len(reported)} of {len(layers)} GEMMs")
    return reported


def _line(layer: Layer) -> str:
    m, k, n = layer.gemm
    return f"gemm, {m}, {n}, {k}, {layer.nm},\n"
