"""Writes an exported project: beside its place first, then renamed; C-simulation runs before that."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from codesign.errors import ExportError
from codesign.output_files import ensure_writable
from hls.export import FORMAT, MANIFEST, Files
from hls.toolchain import Toolchain

MOST_LINES = 6


def check_place(folder: Path, force: bool) -> None:
    """Raise ExportError if a project cannot be written there: it would replace something else than a project."""
    ensure_writable(folder.absolute().parent)
    if not os.path.lexists(folder) or _is_empty(folder):
        return
    if not force:
        raise ExportError(f"{folder}: is not empty; choose another folder, or --force to replace a project")
    if not _is_project(folder):
        raise ExportError(
            f"{folder}: holds no exported project, which --force could replace; choose another folder"
        )


def check_tools() -> None:
    """Raise ExportError if what C-simulation needs is not installed."""
    for tool in (Toolchain.default().compiler, "make"):
        if shutil.which(tool) is None:
            raise ExportError(
                f"{tool} is not installed, which --csim needs; install g++ and make, or leave it out"
            )


def write_project(folder: Path, files: Files, force: bool, csim: bool) -> str:
    """Write all files; returns what C-simulation printed, if wanted. Raises ExportError; nothing is written then."""
    folder = folder.absolute()
    check_place(folder, force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            project = Path(scratch) / "project"
            for name, content in files.items():
                path = project / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            said = simulate(project) if csim else ""
            _put_in_place(project, folder, Path(scratch) / "replaced")
    except OSError as error:
        raise ExportError(
            f"cannot write to {folder}: {error.strerror or error}; choose another folder"
        ) from None
    return said


def simulate(project: Path) -> str:
    """Run `make csim` of a project; returns its last line. Raises ExportError if it fails or a tool is missing."""
    check_tools()
    command = ["make", "--silent", "-C", str(project), "csim", f"CXX={Toolchain.default().compiler}"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).strip().splitlines() or [""]
    if done.returncode:
        raise ExportError(f"C-simulation failed: {' '.join(lines[-MOST_LINES:])}")
    shutil.rmtree(project / "build")
    return lines[-1]


def _put_in_place(project: Path, folder: Path, replaced: Path) -> None:
    """Rename; what was there goes to `replaced`, and comes back if that fails."""
    if not os.path.lexists(folder):
        project.rename(folder)
        return
    folder.rename(replaced)
    try:
        project.rename(folder)
    except OSError:
        replaced.rename(folder)
        raise


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:  # no folder, or one that cannot be read
        return False


def _is_project(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT
