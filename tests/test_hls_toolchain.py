"""The compiler behind C-simulation: what is built, what is kept, and how it reports."""

import shutil
from pathlib import Path

import pytest

from codesign.errors import ExportError
from hls import toolchain
from hls.toolchain import Toolchain

GPP = Toolchain.default()

pytestmark = pytest.mark.skipif(not GPP.available, reason="needs a C++ compiler")

PROGRAM = """#include <cstdio>
#include "config.hpp"
#include "part.hpp"
int main(int argc, char** argv) {
  printf("%d %s", LANES + part(), argc > 1 ? argv[1] : "none");
  return argc > 2;
}
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    root = tmp_path / "sources"
    for room in toolchain.ROOMS:
        (root / room).mkdir(parents=True)
    (root / "tb" / "main_tb.cpp").write_text(PROGRAM)
    (root / "kernels" / "part.hpp").write_text("int part();\n")
    (root / "kernels" / "part.cpp").write_text('#include "part.hpp"\nint part() { return 40; }\n')
    return root


def build(sources: Path, config: str = "constexpr int LANES = 2;") -> Path:
    return GPP.build(["tb/main_tb.cpp", "kernels/part.cpp"], config, sources.parent / "cache", sources)


def test_a_program_is_built_once_from_all_its_sources(sources: Path) -> None:
    program = build(sources)
    assert toolchain.run(program) == "42 none"
    assert toolchain.run(program, Path("file")) == "42 file"
    first = program.stat()
    assert build(sources).stat() == first
    assert list(program.parent.iterdir()) == [program]


@pytest.mark.parametrize("part", ["kernels/part.cpp", "kernels/part.hpp", "tb/main_tb.cpp"])
def test_a_changed_source_is_built_anew(sources: Path, part: str) -> None:
    program = build(sources)
    source = sources / part
    source.write_text(source.read_text() + "// changed\n")
    assert build(sources) != program


def test_a_changed_configuration_is_built_anew(sources: Path) -> None:
    assert toolchain.run(build(sources, "constexpr int LANES = 1;")) == "41 none"
    assert toolchain.run(build(sources)) == "42 none"


def test_a_program_that_fails_is_reported_with_what_it_said(sources: Path) -> None:
    with pytest.raises(ExportError, match=r"main_tb-\w+ ended with status 1: 42 a"):
        toolchain.run(build(sources), "a", "b")


def test_a_warning_is_an_error_and_leaves_nothing(sources: Path) -> None:
    (sources / "kernels" / "part.cpp").write_text("int part() { int unused; return 40; }\n")
    with pytest.raises(ExportError, match="unused variable"):
        build(sources)
    assert list((sources.parent / "cache").iterdir()) == []


def test_a_compiler_that_is_not_there_is_reported(sources: Path) -> None:
    missing = Toolchain("no-such-compiler")
    assert not missing.available
    with pytest.raises(ExportError, match="no-such-compiler is not installed: install g"):
        missing.build(["tb/main_tb.cpp"], "", sources.parent / "cache", sources)


def test_the_environment_names_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "clang++")
    assert Toolchain.default().compiler == "clang++"
    monkeypatch.delenv("CXX")
    assert Toolchain.default().compiler == "g++"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("int bank[4] = {}; return bank[i];", "index 7 out of bounds"),
        (
            "int* volatile bank = new int[4]; int value = bank[i]; delete[] bank; return value;",
            "heap-buffer-overflow",
        ),
        ("return 1 << (i + 30);", "shift exponent 37 is too large"),
    ],
)
def test_sanitizers_end_a_program_that_errs(sources: Path, fault: str, message: str) -> None:
    (sources / "kernels" / "part.cpp").write_text(
        f"volatile int i = 7;\nint part();\nint part() {{ {fault} }}\n"
    )
    tools = Toolchain("g++", sanitize=True)
    program = tools.build(
        ["tb/main_tb.cpp", "kernels/part.cpp"], "constexpr int LANES = 2;", sources, sources
    )
    with pytest.raises(ExportError, match=message):
        toolchain.run(program)
