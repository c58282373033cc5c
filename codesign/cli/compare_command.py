"""`codesign compare`."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command("compare")
@click.argument("a", type=_PATH)
@click.argument("b", type=_PATH)
@click.option("--html", type=_PATH, metavar="FILE", help="Also write a self-contained HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(a: Path, b: Path, html: Path | None, as_json: bool) -> None:
    """Put two results of `codesign simulate --out` side by side: B against A.

    A and B are folders or result.json files. Shows which settings differ, how cycles, traffic and energy changed by
    stage, cause and layer, and in words what accounts for most of the difference.
    """
    from codesign.output_files import ensure_file_writable, write_files
    from codesign.report.difference import compare
    from codesign.report.saved import load_simulation

    difference = compare(load_simulation(a), load_simulation(b))
    if html is not None:
        from codesign.report.html.difference import difference_page
        from codesign.report.html.page import render

        ensure_file_writable(html)
        write_files(html.parent, {html.name: render(difference_page(difference))})

    from codesign.report.difference_table import difference_json, print_difference

    if as_json:
        click.echo(difference_json(difference))
        return
    print_difference(difference)
    if html is not None:
        click.echo(f"Written to {html}")
