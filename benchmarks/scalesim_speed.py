"""How fast `codesign` simulates layers that SCALE-Sim 3.0.0 simulates too, on an array of the same size.

Both tools read the same SCALE-Sim topology file: convolutions of ResNet-18 at batch 1, by default a few, with
`--all-layers` the whole network (minutes, and gigabytes of memory). SCALE-Sim (https://pypi.org/project/scalesim)
simulates the forward pass; `codesign simulate` a dense training iteration on the packaged `dense` architecture:
forward, both backward products and the weight update. Measured are CPU time and peak memory of the whole processes,
start of Python included.

SCALE-Sim gets the same array and buffers that hold as many values, weight stationary, with its faster memory model
(`CALC`) and without trace files. It lives in a virtual environment of its own because it needs an older numpy, made
on the first run; where that fails the benchmark says so and ends.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from measure import Ratio, report, run_child, take_turns

from codesign.units import bits_to_bytes
from codesign.validate.row import ToolMissingError
from codesign.validate.scalesim_tool import CONFIG, REQUIREMENTS
from codesign.validate.tools import python_with
from hw_models.arch import Arch, load_arch
from workloads.graph import Node
from workloads.zoo.resnet import resnet

TITLE = "codesign against SCALE-Sim 3.0.0"
SCALESIM, CODESIGN = "SCALE-Sim, forward pass", "codesign, training iteration"

ARCH = "dense"
KIB = 1 << 10
VENV = Path(__file__).parents[1] / "build" / "scalesim-venv"

SOME_LAYERS = ("layer2.0.conv1", "layer2.0.downsample", "layer3.0.conv1")
"""A strided 3 x 3, a 1 x 1 and a deeper 3 x 3 convolution."""

HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"

RUN_SCALESIM = (
    "from scalesim.scale_sim import scalesim; import sys; topology, layout, config, out = sys.argv[1:]; "
    "scalesim(save_disk_space=True, verbose=False, config=config, topology=topology, layout=layout).run_scale(out)"
)
"""Its own command line always writes trace files, whatever `-s` says."""


@click.command()
@click.option("--all-layers", is_flag=True, help="The whole network instead of a few layers.")
@click.option(
    "--runs", type=click.IntRange(min=1), help="Runs of each tool.  [default: 3, with --all-layers 1]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(all_layers: bool, runs: int | None, as_json: bool) -> None:
    """CPU time and peak memory of codesign against SCALE-Sim, on the same layers of ResNet-18."""
    try:
        python = python_with(REQUIREMENTS, VENV)
    except ToolMissingError as error:
        reason = f"SCALE-Sim cannot be installed in {VENV}: {error}"
        click.echo(json.dumps({"benchmark": TITLE, "skipped": reason}) if as_json else f"skipped: {reason}")
        return
    layers = [node for node in resnet(1, depth=18).nodes if node.kernel]
    if not all_layers:
        layers = [node for node in layers if node.name in SOME_LAYERS]
    with TemporaryDirectory() as name:
        folder = Path(name)
        scalesim, codesign = _commands(folder, layers, python)
        tools = {SCALESIM: partial(run_child, scalesim), CODESIGN: partial(run_child, codesign)}
        cases = take_turns(tools, runs or (1 if all_layers else 3))
        notes = work_done(folder, len(layers))
    ratio = Ratio.between(cases[CODESIGN], cases[SCALESIM])
    report(TITLE, list(cases.values()), [ratio], notes, as_json)


def topology(layers: Sequence[Node]) -> str:
    """SCALE-Sim topology of convolutions and linear layers; images include the padding that a filter reaches."""
    return "\n".join([HEADER, *map(_row, layers), ""])


def _row(layer: Node) -> str:
    kernel = layer.kernel
    assert kernel is not None
    output = layer.shape[2:] or (1, 1)
    image = [(out - 1) * kernel.stride + extent for out, extent in zip(output, kernel.extent, strict=True)]
    sizes = (*image, *kernel.size, kernel.cin, kernel.cout, kernel.stride)
    return f"{layer.name}, {', '.join(map(str, sizes))},"


def scalesim_config(arch: Arch) -> str:
    """SCALE-Sim configuration of `arch`. SCALE-Sim takes a value for one byte: its buffers get as many values."""
    operand_bytes, result_bytes = map(
        bits_to_bytes, (arch.precision.operand_bits, arch.precision.accumulator_bits)
    )
    return CONFIG.format(
        rows=arch.array.rows,
        cols=arch.array.cols,
        dataflow="ws",
        sparse=False,
        activation_kib=arch.buffers.activation.capacity_bytes // operand_bytes // KIB,
        weight_kib=arch.buffers.weight.capacity_bytes // operand_bytes // KIB,
        output_kib=arch.buffers.output.capacity_bytes // result_bytes // KIB,
    )


def work_done(folder: Path, layers: int) -> list[str]:
    """What the two tools simulated, from their result files. Raises ClickException if SCALE-Sim left layers out.

    On an error SCALE-Sim ends with exit status 0, so its report is the only sign that it ran.
    """
    report_csv = folder / "scalesim" / "run" / "COMPUTE_REPORT.csv"
    lines = report_csv.read_text().splitlines() if report_csv.exists() else []
    rows = list(csv.DictReader(lines, skipinitialspace=True))
    if len(rows) != layers:
        raise click.ClickException(f"SCALE-Sim reported {len(rows)} layers, expected {layers}")
    result = json.loads((folder / "codesign" / "result.json").read_text())
    forward, training = (result["workload"][f"{part}_macs_per_sample"] for part in ("forward", "training"))
    scalesim_cycles = sum(int(row["Total Cycles"]) for row in rows)
    codesign_cycles = result["stages"]["ff"]["cycles"]
    return [
        f"Work: {layers} layers at batch 1. SCALE-Sim simulates the forward pass, {forward:,} multiply-accumulates; "
        f"codesign a training iteration, {training:,} ({training / forward:.1f} times as many), and the updates.",
        f"Forward: {scalesim_cycles:,} cycles by SCALE-Sim (weight stationary, one-cycle adders, no memory stalls).",
        f"Forward: {codesign_cycles:,} cycles by codesign (best dataflow, floating-point latencies, memory stalls).",
    ]


def _commands(folder: Path, layers: Sequence[Node], python: Path) -> tuple[list[str], list[str]]:
    """Write the input files; the command lines of SCALE-Sim and codesign."""
    files = {
        "topology.csv": topology(layers),
        "layout.csv": "unused: SCALE-Sim opens the file although no custom layout is on\n",
        "scalesim.cfg": scalesim_config(load_arch(ARCH)),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    workload = str(folder / "topology.csv")
    scalesim = [str(python), "-c", RUN_SCALESIM, *(str(folder / name) for name in (*files, "scalesim"))]
    codesign = [sys.executable, "-m", "codesign", "simulate", "--arch", ARCH, "--workload", workload]
    return scalesim, [*codesign, "--batch", "1", "--json", "--out", str(folder / "codesign")]


if __name__ == "__main__":
    main()
