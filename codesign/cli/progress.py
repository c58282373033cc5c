"""Progress bars: on a terminal, on stderr, and silent everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

REFRESH_EVERY_STEPS = 8


@contextmanager
def steps_bar(label: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar fed with (done, total); None if there is nobody to look at it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            if done % REFRESH_EVERY_STEPS == 0 or done == total:
                progress.update(task, completed=done, total=total)

        yield update


def announce_compilation(quiet: bool) -> None:
    """Tell somebody who looks on why the first loop takes seconds to start. Call it once its module is imported."""
    if quiet or not sys.stderr.isatty():
        return
    from codesign.nm.jit_kernels import compilation_pending

    if compilation_pending():
        click.echo("compiling kernels (once; kept on disk)", err=True)
