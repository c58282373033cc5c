"""`codesign list`."""

from __future__ import annotations

import click


@click.command("list")
@click.argument("what", type=click.Choice(["archs", "workloads", "methods"]))
def command(what: str) -> None:
    """List what comes with the package: archs, workloads or methods."""
    for name in _names(what):
        click.echo(name)


def _names(what: str) -> list[str]:
    if what == "archs":
        from hw_models.arch import packaged

        return packaged()
    if what == "workloads":
        from workloads.catalog import names

        return list(names())
    from workloads.sparsity import METHODS

    return list(METHODS)
