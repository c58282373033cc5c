"""`codesign sweep`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codesign.cli.sweep_options import spec_options

if TYPE_CHECKING:
    from codesign.sweep.work import Executor

STORE, POINTS, FRONT, SPEC = "sweep.sqlite", "points.csv", "front.csv", "sweep.yaml"
REPORT = "report.html"

WriteTable = Callable[..., None]

_FILE = click.Path(path_type=Path)


@click.command("sweep")
@click.argument("file", type=_FILE, required=False)
@spec_options
@click.option("--out", type=_FILE, help=f"Folder for {STORE}, {POINTS}, {FRONT}, {SPEC}, {REPORT}.")
@click.option("--store", type=_FILE, help="The store, if not in the folder; sweeps may share one.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes. [default: as many as cores]")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Compute on a Dask cluster instead.")
@click.option("--retry-failed", is_flag=True, help="Compute points again that have failed before.")
@click.option("--csv", "csv_path", type=_FILE, help="Also write all points to this CSV file.")
@click.option("--parquet", "parquet_path", type=_FILE, help="Also write them to this Parquet file.")
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(
    file: Path | None,
    out: Path | None,
    store: Path | None,
    workers: int | None,
    scheduler: str | None,
    retry_failed: bool,
    csv_path: Path | None,
    parquet_path: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Simulate every point of a design space, and show which are best.

    The space is the grid of all values given, a list of points, or what a search picks; FILE describes it in YAML
    instead of options. Results are kept in a store as they come: the same line, given again, goes on where it was
    stopped, and points that any sweep has computed there are not computed again.
    """
    from codesign.cli.sweep_progress import points_bar
    from codesign.cli.sweep_spec import spec_of
    from codesign.errors import SpecError
    from codesign.output_files import ensure_file_writable, write_files
    from codesign.report.sweep_table import print_sweep, sweep_json
    from codesign.strict_yaml import dump
    from codesign.sweep.engine import Sweep
    from codesign.sweep.export import write_csv
    from codesign.sweep.store import Store
    from codesign.sweep.view import View

    if out is None and store is None:
        raise SpecError("no place for the results; give --out FOLDER or --store FILE")
    path = store or Path(out or "") / STORE
    tables = list(_tables(out, csv_path, parquet_path))
    for place in (path, *(place for place, _ in tables)):
        ensure_file_writable(place)
    spec = spec_of(file, **chosen)
    sweep = Sweep(spec)
    with _executor(workers, scheduler) as executor, Store(path) as results:
        try:
            with points_bar(quiet=as_json) as on_point:
                tally = sweep.run(results, executor, retry_failed=retry_failed, on_point=on_point)
        except KeyboardInterrupt:
            click.echo(
                f"Stopped. {path} holds what was computed; the same line goes on from there.", err=True
            )
            raise
        view = View(results, spec)
        front = view.front()
        for place, write in tables:
            write(place, view.columns, view.rows())
        if out is not None:
            write_csv(out / FRONT, view.columns, front.rows)
            write_files(out, {SPEC: dump(spec.model_dump(mode="json", exclude_defaults=True))})
        error = view.first_error() if tally.failed else None
    written = [POINTS, FRONT, SPEC]
    if out is not None and _write_report(path, out):
        written.append(REPORT)
    if as_json:
        click.echo(sweep_json(tally, front, str(path)))
        return
    print_sweep(tally, front, view.parameters, error)
    click.echo(f"Written to {out}: {', '.join(written)}" if out else f"Results are in {path}")


def _write_report(store: Path, out: Path) -> bool:
    """Write the page; without the packages for it, say so and go on."""
    from codesign.errors import SpecError
    from codesign.output_files import write_files

    try:
        from codesign.report.html.page import render
    except SpecError as missing:
        click.echo(f"No {REPORT}: {missing}", err=True)
        return False
    from codesign.report.html.sweep import load_sweep_page

    write_files(out, {REPORT: render(load_sweep_page(store))})
    return True


def _executor(workers: int | None, scheduler: str | None) -> Executor:
    from codesign.errors import SpecError
    from codesign.sweep.extras import needed_for

    if scheduler is None:
        from codesign.sweep.local_pool import LocalPool

        return LocalPool(workers or os.cpu_count() or 1)
    if workers is not None:
        raise SpecError("--workers has no meaning with --scheduler, which has its own; leave one of them out")
    with needed_for("--scheduler"):
        from codesign.sweep.dask_cluster import DaskCluster

    return DaskCluster(scheduler)


def _tables(
    out: Path | None, csv_path: Path | None, parquet_path: Path | None
) -> Iterator[tuple[Path, WriteTable]]:
    """Where all points are to be written, and how."""
    from codesign.sweep.export import write_csv
    from codesign.sweep.extras import needed_for

    if out is not None:
        yield out / POINTS, write_csv
    if csv_path is not None:
        yield csv_path, write_csv
    if parquet_path is not None:
        with needed_for("--parquet"):
            from codesign.sweep.parquet import write_parquet

        yield parquet_path, write_parquet
