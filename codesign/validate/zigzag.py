"""MAC cycles of the bare array against the ideal temporal cycles of ZigZag (https://github.com/KULeuven-MICAS/zigzag)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from codesign.output_files import write_files
from codesign.validate.bare_array import Gemm, bare_parts
from codesign.validate.row import Comparison, Row, ToolMissingError, equal
from codesign.validate.tools import call, python_with
from hw_models.timing import Dataflow, FillPolicy

NAME = "ZigZag 3.9.1"
REQUIREMENTS = ("zigzag-dse==3.9.1", "six")  # which it imports but does not require

TEXT = """\
ZigZag derives latency from a spatial and a temporal mapping. Its *ideal temporal cycles* are the product of all
temporal loops: how often the array issues MACs, ragged tiles included, without stalls and without fill, load and
drain. Ours are the MAC cycles of `hw_models/timing.py`. Weight stationary, rows hold the reduction and columns the
outputs (N); output stationary, rows hold M. The rest of its latency depends on buffers and ports
that its user describes, and is not compared.
"""

ARRAYS = ((4, 4), (8, 16), (32, 32))
GEMMS = ((7, 5, 3), (33, 70, 129), (64, 96, 40), (256, 128, 64))

SPATIAL = {Dataflow.WS: ("K", "N"), Dataflow.OS: ("M", "N")}
"""GEMM dimensions along rows and columns."""

_RUN = """\
import json, logging
from zigzag.api import get_hardware_performance_zigzag
logging.disable(logging.CRITICAL)
*_, summed = get_hardware_performance_zigzag("workload.yaml", "accelerator.yaml", "mapping.yaml", opt="latency",
    dump_folder="out", pickle_filename="out/costs.pickle", lpf_limit=3, loma_show_progress_bar=False)
layers = summed[0][1]
print("cycles", json.dumps([cost.ideal_temporal_cycle for cost, _ in layers]))
"""


def run(tools: Path) -> Iterator[Row]:
    """A row for each array, dataflow and GEMM. Raises ToolMissingError."""
    for rows, cols in ARRAYS:
        for dataflow in Dataflow:
            for gemm, reported in zip(GEMMS, _cycles(rows, cols, dataflow, tools), strict=True):
                what = f"GEMM {'x'.join(map(str, gemm))}, {dataflow.upper()} on {rows}x{cols}, MACs alone"
                ours = bare_parts(gemm, rows, cols, dataflow, FillPolicy.EVERY_TILE).mac
                yield equal(what, NAME, reported, ours, "cycles")


def _cycles(rows: int, cols: int, dataflow: Dataflow, tools: Path) -> list[int]:
    """Ideal temporal cycles of each GEMM."""
    python = python_with(REQUIREMENTS, tools / "zigzag")
    spatial = zip(("D1", "D2"), SPATIAL[dataflow], (rows, cols), strict=True)
    mapping = {dim: [f"{loop}, {size}"] for dim, loop, size in spatial}
    links = {"O": "O", "W": "I2", "I": "I1"}
    inputs = {  # YAML is a superset of JSON
        "workload.yaml": [_layer(number, gemm) for number, gemm in enumerate(GEMMS)],
        "accelerator.yaml": _accelerator(rows, cols),
        "mapping.yaml": [{"name": "default", "spatial_mapping": mapping, "memory_operand_links": links}],
    }
    with TemporaryDirectory() as name:
        write_files(Path(name), {file: json.dumps(data) for file, data in inputs.items()})
        said = call([python, "-c", _RUN], Path(name)).splitlines()
    reported = [json.loads(line.removeprefix("cycles")) for line in said if line.startswith("cycles")]
    if len(reported) != 1 or len(reported[0]) != len(GEMMS):
        raise ToolMissingError(f"{NAME} did not report {len(GEMMS)} GEMMs")
    return [int(cycles) for cycles in reported[0]]


def _layer(number: int, gemm: Gemm) -> dict[str, object]:
    return {
        "id": number,
        "name": f"gemm{number}",
        "operator_type": "Gemm",
        "equation": "O[m][n]+=I[m][k]*W[k][n]",
        "loop_dims": ["M", "K", "N"],
        "loop_sizes": gemm,
        "operand_precision": {"W": 16, "I": 16, "O": 32, "O_final": 32},
        "operand_source": {"I": number, "W": number},  # itself: from memory
    }


def _accelerator(rows: int, cols: int) -> dict[str, object]:
    """An array on one memory; its ports and costs do not enter the cycles that are compared."""
    uses = [f"{operand}, {direction}" for operand in ("I1", "I2") for direction in ("fh", "tl")]
    uses += [f"O, {direction}" for direction in ("fh", "tl", "fl", "th")]
    port = {"name": "rw_port_1", "type": "read_write", "bandwidth_min": 1, "bandwidth_max": 1 << 20}
    memory = {
        "size": 10**12,
        "r_cost": 1,
        "w_cost": 1,
        "area": 0,
        "latency": 1,
        "operands": ["I1", "I2", "O"],
        "ports": [port | {"allocation": uses}],
        "served_dimensions": ["D1", "D2"],
    }
    array = {"unit_energy": 0, "unit_area": 1, "dimensions": ["D1", "D2"], "sizes": [rows, cols]}
    return {"name": "bare", "memories": {"memory": memory}, "operational_array": array}


COMPARISON = Comparison("ZigZag: ideal temporal cycles", TEXT, run)
