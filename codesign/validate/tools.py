"""Simulators of others, each in a virtual environment of its own: their requirements contradict ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from codesign.validate.row import ToolMissingError

_READY = "ready"


def default_folder() -> Path:
    """Where tools are kept between runs: `$XDG_CACHE_HOME/codesign` or `~/.cache/codesign`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "codesign"


def python_with(requirements: Sequence[str], folder: Path) -> Path:
    """Interpreter of an environment in `folder` that has `requirements`; made if it is not there.

    Raises ToolMissingError if it cannot be made, for instance without network.
    """
    python, ready = folder / "bin" / "python", folder / _READY
    if ready.is_file() and ready.read_text().split() == list(requirements):
        return python
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1")
    try:
        call([sys.executable, "-m", "venv", "--clear", folder], folder.parent)
        call([python, *pip, *requirements], folder.parent)
        ready.write_text("\n".join(requirements))
    except OSError as error:
        raise ToolMissingError(f"{folder} cannot be made: {error.strerror or error}") from None
    return python


def call(command: Sequence[str | Path], folder: Path) -> str:
    """What a command, run in `folder`, prints. Raises ToolMissingError with the last line of its complaint."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise ToolMissingError(f"{Path(command[0]).name} ended with status {done.returncode}: {said}")
    return done.stdout
