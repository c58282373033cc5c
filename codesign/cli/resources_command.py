"""`codesign resources`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from codesign.cli.options import arch_option

if TYPE_CHECKING:
    from hw_models.arch import Arch


@click.command("resources")
@arch_option
@click.option(
    "--device", "device_name", default="vcu1525", show_default=True, help="FPGA or card to compare with."
)
@click.option(
    "--operators",
    default="dsp",
    show_default=True,
    help="Floating-point operators: dsp or fabric (adders on DSPs or in LUTs), vitis (what Vitis HLS picks).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(arch: Arch, device_name: str, operators: str, as_json: bool) -> None:
    """Estimate the FPGA resources of an architecture, and whether it fits a device.

    Shows what each component takes, from a low to a high estimate, and what the estimate rests on.
    """
    import json

    from codesign.resources import estimate, fit, load_device

    device = load_device(device_name)
    has_uram = device.available("uram288") > 0
    resources = estimate(arch, operators=operators, uram=has_uram)
    fitting = fit(resources, device)
    if as_json:
        data = resources.as_dict() | {
            "device": {"name": device_name} | device.as_dict(),
            "fit": fitting.as_dict(),
        }
        click.echo(json.dumps(data, indent=2, allow_nan=False))
        return

    from codesign.report.resource_table import print_resources

    print_resources(resources, device_name, device, fitting)
