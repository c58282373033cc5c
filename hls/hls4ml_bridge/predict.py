"""Runs a compiled project on inputs, in a process of its own: `python predict.py LIBRARY IN OUT SIZE`.

IN and OUT are npy files, of (samples, ...) inputs and (samples, SIZE) outputs. A fault of the compiled code ends this
process and not the one that asks.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np

FUNCTION = "net_float"


def predict(library: Path, inputs: Path, outputs: Path, size: int) -> None:
    """Call the top function of the library for each sample."""
    function = getattr(ctypes.CDLL(str(library)), FUNCTION)
    pointer = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
    function.argtypes, function.restype = [pointer, pointer], None
    samples = np.ascontiguousarray(np.load(inputs), np.float32)
    results = np.zeros((len(samples), size), np.float32)
    for sample, result in zip(samples, results, strict=True):
        function(sample, result)
    np.save(outputs, results)


if __name__ == "__main__":
    _, *files, size = sys.argv
    predict(Path(files[0]), Path(files[1]), Path(files[2]), int(size))
