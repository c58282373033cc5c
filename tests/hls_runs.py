"""Recorded training runs for tests of the export."""

import subprocess
from pathlib import Path

from train_runs import config

from codesign.train.loop import train

MLP = "mlp:64x64x32x16"
SMALL = ("--set", "array.rows=4", "--set", "array.cols=4")


def record(folder, **options):
    """Train a few steps and keep all tensors of the last one; returns the trace folder."""
    defaults = {"model": MLP, "steps": 3, "record_tensors": ("*",), "batch": 64}
    train(config(**defaults | options), folder)
    return folder / "trace"


def host_program(project, folder):
    """The C++ host program of a project, built in `folder` on a stub of XRT that runs the kernel."""
    (folder / "xrt").mkdir()
    for name in ("xrt_bo.h", "xrt_device.h", "xrt_kernel.h"):
        (folder / "xrt" / name).write_text('#include "hls_xrt_stub.h"\n')
    includes = [f"-I{place}" for place in (folder, Path(__file__).parent, project / "src", project / "csim")]
    sources = [str(project / name) for name in ("host/host.cpp", "src/sat.cpp")]
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-ffp-contract=off"]
    host = folder / "host"
    subprocess.run(["g++", *flags, *includes, *sources, "-o", str(host)], check=True)
    return host
