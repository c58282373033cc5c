"""Simulators of the RTL in `hls/rtl`: Verilator compiles a module and its harness into a program, once.

A program is kept in a cache folder under a name that follows from the sources, the parameters and the tool, so a
changed source is built anew and nothing is built twice.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from codesign.errors import ExportError

RTL = Path(__file__).parents[1] / "rtl"
_COMPILE = ("g++", "-std=c++17", "-O1", "-pthread")


def available() -> bool:
    """Whether Verilator and a compiler are installed."""
    return all(shutil.which(tool) for tool in ("verilator", "g++", "make"))


def build(
    top: str, harness: str, parameters: Mapping[str, int], cache_folder: Path, sources: Path = RTL
) -> Path:
    """The simulator program of module `top`, driven by a C++ file of `sources`. Raises ExportError."""
    program = cache_folder / f"{top}-{_fingerprint(top, harness, parameters, sources)}"
    if not program.exists():
        cache_folder.mkdir(parents=True, exist_ok=True)
        runtime = _runtime(cache_folder)
        with tempfile.TemporaryDirectory(dir=cache_folder, prefix=".building-") as scratch:
            made = _compile(top, sources / harness, parameters, sources, runtime, Path(scratch))
            made.replace(program)
    return program


def run(program: Path, stdin: bytes) -> bytes:
    """What the simulator writes when it reads `stdin`. Raises ExportError if it stops with an error."""
    done = subprocess.run([program], input=stdin, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise ExportError(
            f"RTL simulator {program.name} ended with status {done.returncode}: {' '.join(said)}"
        )
    return done.stdout


def _fingerprint(top: str, harness: str, parameters: Mapping[str, int], sources: Path) -> str:
    digest = hashlib.sha256(repr((_version(), top, harness, sorted(parameters.items()), _COMPILE)).encode())
    for source in sorted([*sources.glob("*.sv"), sources / harness]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(
    top: str, harness: Path, parameters: Mapping[str, int], sources: Path, runtime: Path, scratch: Path
) -> Path:
    settings = [f"-G{name}={value}" for name, value in parameters.items()]
    waived = ["-Wno-UNUSEDSIGNAL"]  # parts of a vector that one user of a module needs and another does not
    _call(
        *("verilator", "--cc", "-O3", "-Wall", *waived, "--prefix", "Vtop", "--top-module", top),
        *("--Mdir", str(scratch), "-y", str(sources), *settings, str(sources / f"{top}.sv")),
    )
    _call("make", "-s", "-C", str(scratch), "-f", "Vtop.mk", "Vtop__ALL.a", "OPT_FAST=-O1", "OPT_SLOW=-O0")
    program = scratch / "program"
    library = str(scratch / "Vtop__ALL.a")
    _call(*_COMPILE, *_includes(), f"-I{scratch}", str(harness), library, str(runtime), "-o", str(program))
    return program


def _runtime(cache_folder: Path) -> Path:
    """Verilator's own run-time library, which takes longer to compile than a model."""
    library = cache_folder / f"runtime-{hashlib.sha256(_version().encode()).hexdigest()[:16]}.o"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder, prefix=".building-") as scratch:
            parts = []
            for name in ("verilated", "verilated_threads"):
                parts.append(str(Path(scratch) / f"{name}.o"))
                _call(*_COMPILE, *_includes(), "-c", str(_root() / f"include/{name}.cpp"), "-o", parts[-1])
            merged = Path(scratch) / "runtime.o"
            _call("ld", "-r", *parts, "-o", str(merged))
            merged.replace(library)
    return library


def _includes() -> tuple[str, ...]:
    return (f"-I{_root() / 'include'}", f"-I{_root() / 'include/vltstd'}")


@cache
def _version() -> str:
    return _call("verilator", "--version").strip()


@cache
def _root() -> Path:
    return Path(_call("verilator", "--getenv", "VERILATOR_ROOT").strip())


def _call(*command: str) -> str:
    """Output of a tool. Raises ExportError with the end of what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ExportError(f"{command[0]} is not installed: install verilator, g++ and make") from None
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise ExportError(f"{command[0]} failed with status {done.returncode}: {said}")
    return done.stdout
