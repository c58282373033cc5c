"""C-simulation of the kernels: a C++ compiler turns a testbench and the kernels into a program, once.

Without Vitis the headers of `hls/csim` stand in for AMD's. Programs are kept in a cache folder under a name that
follows from all sources, the configuration and the compiler.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from codesign.errors import ExportError

HLS = Path(__file__).parent
ROOMS = ("kernels", "csim", "tb")
"""Folders of sources; headers are found in all of them."""

FLAGS = ("-std=c++14", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-ffp-contract=off")
SANITIZE = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler, and whether its programs check memory accesses and undefined behaviour as they run."""

    compiler: str
    sanitize: bool = False

    @classmethod
    def default(cls) -> Toolchain:
        """The compiler that the environment variable CXX names, else g++."""
        return cls(os.environ.get("CXX") or "g++")

    @property
    def available(self) -> bool:
        """Whether the compiler is installed."""
        return shutil.which(self.compiler) is not None

    def build(self, units: Sequence[str], config: str, cache_folder: Path, root: Path = HLS) -> Path:
        """The program of some sources, named as in `root`, with the text `config` as config.hpp. Raises ExportError.

        The first source names the program.
        """
        name = f"{Path(units[0]).stem}-{self._fingerprint(units, config, root)}"
        program = cache_folder.resolve() / name
        if not program.exists():
            cache_folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache_folder, prefix=".building-") as scratch:
                self._compile([root / unit for unit in units], config, root, Path(scratch)).replace(program)
        return program

    def _compile(self, units: Sequence[Path], config: str, root: Path, scratch: Path) -> Path:
        (scratch / "config.hpp").write_text(config)
        program = scratch / "program"
        folders = (scratch, *(root / room for room in ROOMS))
        flags = (*FLAGS, *(SANITIZE if self.sanitize else ()), *(f"-I{folder}" for folder in folders))
        _call(self.compiler, *flags, *map(str, units), "-o", str(program))
        return program

    def _fingerprint(self, units: Sequence[str], config: str, root: Path) -> str:
        digest = hashlib.sha256(repr((_version(self.compiler), self, FLAGS, SANITIZE, config)).encode())
        headers = (file for room in ROOMS for file in (root / room).glob("*.h*"))
        for source in sorted([*headers, *(root / unit for unit in units)]):
            digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


def run(program: Path, *arguments: str | Path) -> str:
    """What a testbench prints. Raises ExportError with the first lines of it if it does not end with status 0."""
    return _call(str(program), *map(str, arguments))


@cache
def _version(compiler: str) -> str:
    return _call(compiler, "--version")


def _call(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise ExportError(f"{command[0]} is not installed: install g++, or name a compiler in CXX") from None
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).strip().splitlines()[:12])
        raise ExportError(f"{Path(command[0]).name} ended with status {done.returncode}: {said}")
    return done.stdout
