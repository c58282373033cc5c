"""C simulation of a project: compiled with g++, run on samples."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codesign.errors import ExportError
from hls.hls4ml_bridge.convert import PROJECT

COMPILER = "g++"
FLAGS = ("-std=c++11", "-O1", "-w", "-fPIC", "-shared", "-Ifirmware/ap_types")


def ensure_compiler() -> None:
    """Raise ExportError if there is no compiler."""
    if shutil.which(COMPILER) is None:
        raise ExportError(
            f"{COMPILER} is not installed, but every export is compiled and tried; install {COMPILER}"
        )


def simulate(project: Path, scratch: Path, inputs: NDArray[np.float32], outputs: int) -> NDArray[np.float32]:
    """(samples, outputs) of a project for (samples, ...) inputs; `scratch` is for files. Raises ExportError."""
    library = scratch / f"{PROJECT}.so"
    weights = (project / "firmware" / "weights").resolve()
    sources = (f"firmware/{PROJECT}.cpp", f"{PROJECT}_bridge.cpp")
    _run(
        "compiling",
        [COMPILER, *FLAGS, f'-DWEIGHTS_DIR="{weights}"', *sources, "-o", str(library.resolve())],
        project,
    )
    np.save(scratch / "inputs.npy", inputs)
    files = [str(path.resolve()) for path in (library, scratch / "inputs.npy", scratch / "outputs.npy")]
    script = Path(__file__).with_name("predict.py")
    _run("running", [sys.executable, "-I", str(script), *files, str(outputs)], scratch)
    results: NDArray[np.float32] = np.load(scratch / "outputs.npy")
    return results


def _run(what: str, command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ExportError(
            f"{what} the exported network failed: {reason}; choose another interface or a smaller network"
        )
