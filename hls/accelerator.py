"""A program on the whole accelerator in C-simulation: the files that its testbench `sat_tb.cpp` reads."""

from __future__ import annotations

from collections.abc import Iterable

from codesign.spec_errors import printable
from hls.golden import Golden
from hls.program.encoding import Program
from hls.program.machine import Machine
from hls.program.memory import Bytes, Tensor
from hls.vector_operations import execute


def simulated(golden: Golden, program: Program) -> Bytes:
    """Memory after the interpreter ran the program."""
    memory = golden.image()
    Machine(golden.builder.config, memory, execute).run(program)
    return memory


def testbench_files(golden: Golden, program: Program, after: Bytes) -> dict[str, bytes]:
    """Contents of the testbench's folder, by file name; `after` is memory after the program ran."""
    return {
        "program.bin": program.to_bytes(),
        "memory.bin": golden.image().tobytes(),
        "expected.bin": after.tobytes(),
        "tensors.txt": _table(golden.tensor(name) for name in golden.expected).encode(),
    }


def _table(tensors: Iterable[Tensor]) -> str:
    lines = (
        [tensor.address, tensor.dtype, len(tensor.shape), *tensor.shape, printable(tensor.name)]
        for tensor in tensors
    )
    return "".join(" ".join(map(str, line)) + "\n" for line in lines)
