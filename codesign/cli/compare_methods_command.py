"""`codesign compare-methods`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codesign.cli.options import arch_option
from codesign.cli.progress import steps_bar
from codesign.cli.train_options import machine_options, network_options, training_options

if TYPE_CHECKING:
    from hw_models.arch import Arch


@click.command("compare-methods")
@network_options
@click.option(
    "--methods",
    default="bdwp",
    show_default=True,
    help="Methods, separated by commas; dense is always there.",
)
@click.option("--nm", "ratios", default="2:8", show_default=True, help="N:M ratios, separated by commas.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each, seeds from 0."
)
@training_options
@machine_options
@arch_option
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at a time.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs and the table."
)
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(
    methods: str, ratios: str, seeds: int, arch: Arch, jobs: int, out: Path, as_json: bool, **given: Any
) -> None:
    """Train a network dense and with several methods over several seeds, and compare what comes out.

    Writes comparison.json and comparison.csv beside the runs: accuracy, operations and hardware time. Runs that are
    there already are not repeated; what was interrupted goes on.
    """
    from codesign.compare_methods import compare_methods, variants_of
    from codesign.nm.format import NM
    from codesign.output_files import ensure_writable, write_files
    from codesign.report.comparison_table import comparison_csv, comparison_json, print_comparison
    from codesign.train.config import TrainConfig

    ensure_writable(out)
    variants = variants_of(methods.split(","), [NM.parse(ratio) for ratio in ratios.split(",")])
    base = TrainConfig(**{name: value for name, value in given.items() if value is not None})
    with steps_bar(f"training {base.model}", quiet=as_json) as on_run:
        comparisons = compare_methods(arch, base, variants, range(seeds), out, jobs=jobs, on_run=on_run)
    files = {
        "comparison.json": comparison_json(comparisons) + "\n",
        "comparison.csv": comparison_csv(comparisons),
    }
    write_files(out, files)
    if as_json:
        click.echo(comparison_json(comparisons))
        return
    print_comparison(comparisons)
    click.echo(f"Written to {out}: comparison.json, comparison.csv, and a folder for each run")
