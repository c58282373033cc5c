"""A program on the whole accelerator in C-simulation: the files that its testbench `sat_tb.cpp` reads."""

from __future__ import annotations

from collections.abc import Iterable

from codesign.spec_errors import printable
from hls.config import KernelConfig
from hls.golden import Golden
from hls.program.encoding import Program
from hls.program.machine import Machine
from hls.program.memory import Bytes, Tensor
from hls.program.vector_operations import execute


def simulated(golden: Golden, program: Program) -> Bytes:
    """Memory after the interpreter ran the program."""
    memory = golden.image()
    interpret(golden.builder.config, program, memory)
    return memory


def interpret(config: KernelConfig, program: Program, memory: Bytes) -> None:
    """Run a program in the interpreter."""
    Machine(config, memory, execute).run(program)


def testbench_files(golden: Golden, program: Program, after: Bytes) -> dict[str, bytes]:
    """Contents of the testbench's folder, by file name; `after` is memory after the program ran."""
    return files_of(program, golden.image(), after, map(golden.tensor, golden.expected))


def files_of(program: Program, before: Bytes, after: Bytes, tensors: Iterable[Tensor]) -> dict[str, bytes]:
    """The same of any program; `tensors` are those that the testbench names if one is not as expected."""
    return {
        "program.bin": program.to_bytes(),
        "memory.bin": before.tobytes(),
        "expected.bin": after.tobytes(),
        "tensors.txt": _table(tensors).encode(),
    }


def _table(tensors: Iterable[Tensor]) -> str:
    lines = (
        [tensor.address, tensor.dtype, len(tensor.shape), *tensor.shape, printable(tensor.name)]
        for tensor in tensors
    )
    return "".join(" ".join(map(str, line)) + "\n" for line in lines)
