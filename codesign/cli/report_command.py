"""`codesign report`."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.command("report")
@click.argument("source", metavar="FOLDER", type=_FILE)
@click.option("--out", type=_FILE, help="The HTML file. [default: report.html in the folder]")
@click.option(
    "--device", default="vcu1525", show_default=True, help="FPGA or card to compare a simulation with."
)
@click.option("--open", "show", is_flag=True, help="Open the report in the browser.")
@click.option("--png", type=_FILE, metavar="FOLDER", help="Also draw every chart as a PNG file.")
@click.option("--svg", type=_FILE, metavar="FOLDER", help="Also draw every chart as an SVG file.")
def command(
    source: Path, out: Path | None, device: str, show: bool, png: Path | None, svg: Path | None
) -> None:
    """Make one self-contained HTML file of a simulation or a sweep, which were written by --out FOLDER.

    The file needs no network. Images need a Chrome or Chromium.
    """
    from codesign.output_files import ensure_file_writable, ensure_writable, write_files
    from codesign.report.html.images import write_images
    from codesign.report.html.page import render
    from codesign.report.html.report import build_report

    path = out or source / "report.html"
    folders = {kind: folder for kind, folder in {"png": png, "svg": svg}.items() if folder is not None}
    page = build_report(source, device)
    ensure_file_writable(path)
    for folder in folders.values():
        ensure_writable(folder)
    write_files(path.parent, {path.name: render(page)})
    click.echo(f"Written to {path}")
    for kind, folder in folders.items():
        write_images(page, folder, kind)
        click.echo(f"Written to {folder}: {len(page.charts)} {kind.upper()} files")
    if show:
        import webbrowser

        webbrowser.open(path.absolute().as_uri())
