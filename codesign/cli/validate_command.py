"""`codesign validate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from codesign.cli.progress import steps_bar

if TYPE_CHECKING:
    from codesign.validate import Row

EXIT_FAILED = 1
DOCUMENT = Path("VALIDATION.md")


@click.command("validate")
@click.argument("comparisons", nargs=-1, metavar="[COMPARISON]...")
@click.option("--gemm", help="Instead: print the cycles of a GEMM MxKxN on the bare dense array.")
@click.option("--rows", type=click.IntRange(min=1), default=32, show_default=True, help="With --gemm: R.")
@click.option("--cols", type=click.IntRange(min=1), default=32, show_default=True, help="With --gemm: C.")
@click.option(
    "--dataflow", type=click.Choice(["ws", "os"]), default="ws", show_default=True, help="With --gemm."
)
@click.option(
    "--fill",
    type=click.Choice(["every_tile", "hidden"]),
    default="every_tile",
    show_default=True,
    help="With --gemm: every array tile pays load and fill, or registers are doubled and tiles overlap.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Markdown file to write. [default: {DOCUMENT} if all comparisons run, else none]",
)
@click.option(
    "--tools",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of other simulators, installed when first needed. [default: ~/.cache/codesign]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(
    comparisons: tuple[str, ...],
    gemm: str | None,
    rows: int,
    cols: int,
    dataflow: str,
    fill: str,
    out: Path | None,
    tools: Path | None,
    as_json: bool,
) -> None:
    """Compare the simulator with others: how far can it be trusted?

    COMPARISON is any of scalesim, zigzag (other simulators), rtl (the reference RTL), physics (bounds, conservation),
    published (measured accelerators), sensitivity (of the speedup to assumed constants) and resources (synthesis);
    all by default. What needs a missing tool is skipped. If a comparison that must hold does not, the exit status
    is 1.
    """
    if gemm is not None:
        if comparisons:
            raise click.UsageError(f"--gemm has no meaning with {comparisons[0]!r}; leave one of them out")
        _print_gemm(gemm, rows, cols, dataflow, fill, as_json)
        return
    from codesign.output_files import ensure_file_writable
    from codesign.report.validation_table import print_validation, validation_json
    from codesign.validate import Verdict
    from codesign.validate.document import write

    target = out if comparisons else out or DOCUMENT
    if target is not None:
        ensure_file_writable(target)
    found = _run(comparisons, tools, quiet=as_json)
    holds = all(row.verdict is not Verdict.FAILS for rows in found.values() for row in rows)
    if as_json:
        click.echo(validation_json(found, holds))
    else:
        print_validation(found)
    if target is not None:
        write(target, found)
    if not holds:
        raise SystemExit(EXIT_FAILED)


def _print_gemm(gemm: str, rows: int, cols: int, dataflow: str, fill: str, as_json: bool) -> None:
    import json

    from codesign.validate.bare_array import bare_cycles, parse_gemm
    from hw_models.timing import Dataflow, FillPolicy

    cycles = bare_cycles(parse_gemm(gemm), rows, cols, Dataflow(dataflow), FillPolicy(fill))
    click.echo(json.dumps({"cycles": cycles}) if as_json else f"{cycles:,} cycles")


def _run(comparisons: tuple[str, ...], tools: Path | None, quiet: bool) -> dict[str, tuple[Row, ...]]:
    """Rows of each comparison. Raises SpecError for one that does not exist."""
    from codesign.errors import SpecError
    from codesign.spec_errors import nearest
    from codesign.validate import NAMES, load
    from codesign.validate.tools import default_folder

    for name in comparisons:
        if name not in NAMES:
            raise SpecError(
                f"no comparison {name!r}{nearest(name, NAMES)}; expected any of: {', '.join(NAMES)}"
            )
    chosen = [name for name in NAMES if name in comparisons or not comparisons]
    found = {}
    with steps_bar("comparing", quiet) as on_step:
        for number, name in enumerate(chosen, start=1):
            found[name] = load(name).rows(tools or default_folder())
            if on_step is not None:
                on_step(number, len(chosen))
    return found
