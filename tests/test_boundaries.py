"""Floors and vendor walls of the architecture, held by walking the imports of every module.

**Floors.** The packages form a building. A module may import modules of lower floors and of its own floor; what
lies above it, it does not know. Two rooms of floor 1, `workloads` (what is to be computed) and `hw_models` (the
machine), do not know each other either: they meet in the scheduler. Imports inside functions and under
TYPE_CHECKING count like any other, since they are knowledge too. Within a floor no imports run in a circle.

A module belongs to the room that its name or one of its parent packages names. One that belongs to no room, or
imports a third-party package that has no wall, fails the test: assign it below.

**Vendor walls.** A third-party package is imported by the files that its wall names, and by no others.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
from command_line import run_process

ROOT = Path(__file__).parent.parent
PACKAGES = ("codesign", "hw_models", "workloads", "hls")

FLOORS = {
    "ground": (
        "codesign",  # the package's own __init__.py, not what lies below it
        "codesign.compute",
        "codesign.errors",
        "codesign.input_files",
        "codesign.nm",
        "codesign.output_files",
        "codesign.spec_errors",
        "codesign.strict_yaml",
        "codesign.units",
    ),
    "floor 1": ("workloads", "hw_models"),
    "floor 2": ("codesign.schedule", "codesign.train"),
    "floor 3": (
        "codesign.ablation",
        "codesign.accelerators",
        "codesign.account",
        "codesign.analytic",
        "codesign.compare_methods",
        "codesign.energy",
        "codesign.functional",
        "codesign.headline",
        "codesign.resources",
        "codesign.result",
        "codesign.sensitivity",
        "codesign.simulate",
        "codesign.simulate_run",
        "codesign.verify",
        "hls",
    ),
    "floor 4": ("codesign.report", "codesign.sweep", "codesign.validate"),
    "roof": ("codesign.cli", "codesign.__main__"),
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
HEIGHT = {floor: height for height, floor in enumerate(FLOORS)}
STRANGERS = {"workloads", "hw_models"}

# Path patterns of PurePath.match; `*.py` is everywhere.
VENDOR_WALLS = {
    "click": ("codesign/cli/*.py",),
    "distributed": ("codesign/sweep/*.py",),
    "google": ("workloads/importers/onnx*.py",),  # protobuf, which onnx brings
    "hls4ml": ("hls/hls4ml_bridge/*.py",),
    "jinja2": ("codesign/report/html/*.py",),
    "kaleido": ("codesign/report/html/*.py",),
    "llvmlite": ("*kernels*.py",),
    "markupsafe": ("codesign/report/html/*.py",),  # which jinja2 brings
    "numba": ("*kernels*.py",),
    "numpy": ("*.py",),
    "onnx": ("workloads/importers/onnx*.py",),
    "optuna": ("codesign/sweep/*.py",),
    "plotly": ("codesign/report/html/*.py",),
    "PIL": ("codesign/train/data_folder.py",),
    "pydantic": ("*.py",),
    "pydantic_core": ("*.py",),
    "pyarrow": ("codesign/sweep/*.py",),
    "rich": ("codesign/report/*.py", "codesign/cli/*.py"),
    "sklearn": ("codesign/train/data_images.py",),
    "safetensors": ("codesign/train/*.py", "hls/hls4ml_bridge/*.py", "workloads/recording.py"),
    "simpy": ("hw_models/*.py",),
    "torch": (
        "codesign/nm/torch_ops.py",
        "codesign/train/*.py",
        "codesign/train/*/*.py",
        "hls/hls4ml_bridge/*.py",
        "hls/iteration/torch_network.py",
        "workloads/models/*.py",
    ),
    "transformers": ("codesign/train/tracer_hf.py",),
    "yaml": ("codesign/strict_yaml.py",),
}

HEAVY = {"torch", "torchvision", "transformers", "numba", "hls4ml", "onnx"} | {
    "dask", "distributed", "jinja2", "kaleido", "optuna", "plotly", "pyarrow",
}  # fmt: skip


class Import(NamedTuple):
    """A module name that a line imports; `traceable` is false if it is only known when the code runs."""

    line: int
    name: str
    traceable: bool = True


# -- the checker ---------------------------------------------------------------------------------------------


def module_name(path: PurePosixPath) -> str:
    """Dotted name of the module in a file, its path taken from the root."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_sources() -> dict[PurePosixPath, str]:
    """Every module of the packages, by its path from the root."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    return {PurePosixPath(file.relative_to(ROOT).as_posix()): file.read_text("utf-8") for file in files}


def imports(path: PurePosixPath, source: str, modules: set[str]) -> Iterator[Import]:
    """All that a module imports, wherever in it the import stands. `from a import b` is a.b if that is a module."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (Import(node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=base, names=names, level=level):
                origin = resolve_name("." * level + (base or ""), package)
                for alias in names:
                    member = f"{origin}.{alias.name}"
                    yield Import(node.lineno, member if member in modules else origin)
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=[name, *_]):
                if called in ("import_module", "__import__"):
                    yield _dynamic(node.lineno, name)


def _dynamic(line: int, name: ast.expr) -> Import:
    """What `import_module(name)` imports: all of it or, of an f-string, the package that it starts with."""
    match name:
        case ast.Constant(value=str(text)):
            return Import(line, text)
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if text.endswith("."):
            return Import(line, text.removesuffix("."))
    return Import(line, ast.unparse(name), traceable=False)


def room_of(module: str) -> str | None:
    """The room that a module belongs to."""
    name = module
    while name and name not in FLOOR_OF:
        name = name.rpartition(".")[0]
    return None if name == "codesign" != module else name or None


def problems(sources: Mapping[PurePosixPath, str]) -> list[str]:
    """Everything in `sources` that breaks a rule, as `path:line: what`."""
    modules = {module_name(path) for path in sources}
    found = [
        f"{path}: belongs to no room of FLOORS" for path in sources if room_of(module_name(path)) is None
    ]
    for path, source in sources.items():
        for imported in imports(path, source, modules):
            if problem := _problem(path, imported):
                found.append(f"{path}:{imported.line}: {problem}")
    return found


def _problem(path: PurePosixPath, imported: Import) -> str:
    vendor = imported.name.partition(".")[0]
    if not imported.traceable:
        return f"imports {imported.name}, which cannot be followed"
    if vendor in PACKAGES:
        return _floor_problem(room_of(module_name(path)), imported.name)
    if vendor in sys.stdlib_module_names:
        return ""
    if vendor not in VENDOR_WALLS:
        return f"imports {vendor}, which has no wall in VENDOR_WALLS"
    if not any(path.match(pattern) for pattern in VENDOR_WALLS[vendor]):
        return f"imports {vendor}, which belongs in {', '.join(VENDOR_WALLS[vendor])}"
    return ""


def _floor_problem(room: str | None, imported: str) -> str:
    target = room_of(imported)
    if room is None or target is None:
        return ""  # reported as a module without a room
    if room != target and {room, target} == STRANGERS:
        return f"imports {imported}, but {room} and {target} do not know each other"
    floor, above = FLOOR_OF[room], FLOOR_OF[target]
    return f"on {floor}, imports {imported}, which is on {above}" if HEIGHT[above] > HEIGHT[floor] else ""


# -- the rules -----------------------------------------------------------------------------------------------

SOURCES = read_sources()


def test_every_module_keeps_to_its_floor_and_to_the_vendor_walls() -> None:
    assert len(SOURCES) > 50
    assert problems(SOURCES) == []


def test_imports_run_in_no_circle() -> None:
    modules = {module_name(path) for path in SOURCES}
    graph = {}
    for path, source in SOURCES.items():
        name = module_name(path)
        graph[name] = {found.name for found in imports(path, source, modules)} & modules - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which shows the circle


# -- the checker is able to catch a violation -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("workloads/a.py", "import hw_models.arch", "workloads and hw_models do not know each other"),
        ("hw_models/a.py", "from workloads import ops", "hw_models and workloads do not know each other"),
        ("codesign/units.py", "import workloads", "on ground, imports workloads, which is on floor 1"),
        ("hw_models/a.py", "import codesign.schedule.lower", "which is on floor 2"),
        ("codesign/schedule/a.py", "from codesign.simulate import simulate", "which is on floor 3"),
        ("codesign/schedule/a.py", "from codesign import simulate", "imports codesign.simulate, which is on"),
        ("codesign/schedule/a.py", "from .. import simulate", "imports codesign.simulate, which is on"),
        ("codesign/schedule/__init__.py", "from ..simulate import x", "imports codesign.simulate, which"),
        ("codesign/result.py", "def f():\n    from codesign.report import tables", ":2: on floor 3, imports"),
        ("codesign/report/a.py", "if TYPE_CHECKING:\n    import codesign.cli", ":2: on floor 4, imports"),
        ("codesign/result.py", "import codesign.__main__", "which is on roof"),
        ("codesign/result.py", "importlib.import_module('codesign.cli.options')", "which is on roof"),
        ("codesign/result.py", "import_module(f'codesign.cli.{name}')", "imports codesign.cli, which is on"),
        ("codesign/cli/a.py", "import_module(name)", "imports name, which cannot be followed"),
        ("codesign/novelty.py", "", "codesign/novelty.py: belongs to no room"),
        ("codesign/novelty/a.py", "", "codesign/novelty/a.py: belongs to no room"),
        ("workloads/a.py", "import torch", "workloads/a.py:1: imports torch, which belongs in"),
        ("workloads/a.py", "import os, torch.nn as nn", "imports torch"),
        ("hls/a.py", "try:\n    from torch.nn import Linear\nexcept ImportError: ...", ":2: imports torch"),
        ("codesign/nm/format.py", "__import__('numba')", "imports numba"),
        ("codesign/kernels/a.py", "import numba", "imports numba"),
        ("codesign/simulate.py", "import simpy", "imports simpy"),
        ("workloads/importers/yaml_file.py", "from yaml import safe_load", "imports yaml"),
        ("workloads/importers/files.py", "import onnx", "imports onnx"),
        ("hls/export.py", "import hls4ml", "imports hls4ml"),
        ("codesign/simulate.py", "from rich.console import Console", "imports rich"),
        ("codesign/report/tables.py", "import click", "imports click"),
        ("hw_models/a.py", "import leftpad", "imports leftpad, which has no wall"),
    ],
)
def test_the_checker_catches(path: str, source: str, expected: str) -> None:
    fakes = {PurePosixPath("codesign/simulate.py"): "", PurePosixPath(path): source}
    assert any(expected in problem for problem in problems(fakes)), problems(fakes)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "workloads/a.py",
            "import workloads.ops\nfrom codesign.nm.format import NM\nfrom codesign import units",
        ),
        (
            "codesign/account.py",
            "from codesign import __version__, simulate\nfrom hw_models.arch import Arch",
        ),
        ("codesign/cli/a.py", "import click, rich.table\nimport_module(f'codesign.cli.{name}_command')"),
        ("codesign/nm/kernels.py", "import numba\nimport numpy as np"),
        ("codesign/nm/torch_ops.py", "import torch"),
        ("codesign/train/methods/bdwp.py", "from torch import nn\nimport workloads.ops"),
        ("hw_models/lane.py", "import simpy\nimport json\n# import torch\ntext = 'import torch'"),
    ],
)
def test_the_checker_lets_legal_imports_pass(path: str, source: str) -> None:
    assert problems({PurePosixPath("codesign/simulate.py"): "", PurePosixPath(path): source}) == []


# -- what a run loads --------------------------------------------------------------------------------------------

_RECORD_IMPORTS = """
import sys

class Recorder:
    tried = set()
    def find_spec(self, name, path=None, target=None):
        self.tried.add(name.partition(".")[0])

sys.meta_path.insert(0, Recorder())
try:
    {statement}
finally:
    print("tried:", *sorted(Recorder.tried), file=sys.stderr)
"""


def _tried_imports(statement: str, *args: str) -> set[str]:
    """Top-level modules that a fresh interpreter tries to import, whether they are installed or not."""
    done = run_process(sys.executable, "-c", _RECORD_IMPORTS.format(statement=statement), *args)
    label, *tried = done.err.split()
    assert (done.code, label) == (0, "tried:"), done.err
    return set(tried)


def test_importing_the_package_loads_nothing_heavy() -> None:
    tried = _tried_imports("import codesign")
    assert "codesign" in tried
    assert not tried & (HEAVY | {"numpy", "pydantic", "simpy", "rich", "click"})


def test_help_loads_no_engine() -> None:
    tried = _tried_imports("from codesign.cli import main; main()", "--help")
    assert "click" in tried
    assert not tried & (HEAVY | {"numpy", "pydantic", "simpy", "rich"})


def test_simulating_loads_nothing_heavy() -> None:
    tried = _tried_imports("from codesign.cli import main; main()", "simulate", "--workload", "gemm:64x64x64")
    assert {"pydantic", "rich"} <= tried
    assert not tried & HEAVY
