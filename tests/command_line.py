"""Runs the command line for tests, in this process or in one of its own."""

import io
import subprocess
import sys
import sysconfig
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from codesign.cli import main

SCRIPT = Path(sysconfig.get_path("scripts")) / "codesign"


class Outcome(NamedTuple):
    """What a run gave back."""

    code: int
    out: str
    err: str


class Terminal(io.StringIO):
    """A stream that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def run(*args: object, on_terminal: bool = False) -> Outcome:
    """`codesign ARGS` in this process: quick, and any exception that escapes fails the test.

    `on_terminal`: stderr is a terminal, as it is for a user who redirects stdout alone.
    """
    out, err = io.StringIO(), Terminal() if on_terminal else io.StringIO()
    code: object = 0
    with patch.object(sys, "argv", ["codesign", *map(str, args)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


def succeed(*args: object) -> str:
    """Standard output of a run in this process that must succeed and say nothing on stderr."""
    code, out, err = run(*args)
    assert (code, err) == (0, ""), out + err
    return out


def run_process(*command: object) -> Outcome:
    """A command in a process of its own."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    return Outcome(done.returncode, done.stdout, done.stderr)
