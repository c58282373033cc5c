"""`codesign schema`."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.argument("what", type=click.Choice(["arch"]))
def command(what: str) -> None:
    """Print the JSON Schema of architecture files (`arch`).

    For the YAML language server: `codesign schema arch > arch.schema.json`, then put the line
    `# yaml-language-server: $schema=arch.schema.json` on top of the file.
    """
    from hw_models.arch import arch_schema

    click.echo(json.dumps(arch_schema(), indent=2))
