"""Resources of an architecture beside an FPGA, as a terminal table."""

from __future__ import annotations

from rich.table import Table

from codesign.report.tables import console
from codesign.resources import Device, Fit, Range, Resources, Status, Usage
from codesign.resources.usage import RESOURCES

TITLES = {"lut": "LUT", "ff": "FF", "dsp": "DSP48E2", "bram36": "BRAM36", "uram288": "URAM288"}


def print_resources(resources: Resources, device_name: str, device: Device, fit: Fit) -> None:
    """Every component, the total against the device, and what that means."""
    terminal = console()
    terminal.print(_table(resources, device_name, device, fit))
    terminal.print(_summary(device_name, device, fit), highlight=False)


def _table(resources: Resources, device_name: str, device: Device, fit: Fit) -> Table:
    table = Table(
        title=f"{resources.arch_name} on {device_name}, {resources.operators} operators (low to high estimate)",
        title_justify="left",
    )
    for title in ("component", "count", *TITLES.values(), "share", "one is", "rests on"):
        table.add_column(title, justify="right" if title in ("count", *TITLES.values()) else "left")
    for name, component in resources.components.items():
        usage = component.total
        amounts = [_amount(usage[resource]) for resource in RESOURCES]
        share, basis = _largest_share(usage, device), _basis(usage)
        table.add_row(name, f"{component.count:,}", *amounts, share, component.what, basis)
    table.add_section()
    table.add_row("total", "", *(_amount(resources.total[r]) for r in RESOURCES), style="bold")
    table.add_row("available", "", *(f"{device.available(r):,}" for r in RESOURCES))
    table.add_row("used", "", *(_percent(fit.utilization.get(r)) for r in RESOURCES), style="bold")
    table.add_row(
        "practical limit", "", *(f"{fit.limits[r]:.0%}" if r in fit.limits else "" for r in RESOURCES)
    )
    return table


def _summary(device_name: str, device: Device, fit: Fit) -> str:
    fullest, binding = (
        f"{TITLES[name]}, {_percent(fit.utilization[name])} used" for name in (fit.fullest, fit.binding)
    )
    slrs = "more SLRs than there are" if fit.slrs is None else f"{fit.slrs} of {len(device.slrs)} SLRs"
    return (
        f"{device_name}: {device.description} ({device.part})\n"
        f"Fits: {fit.fits}; runs out first: {fullest}. The high estimate takes {slrs}.\n"
        f"Within practical limits: {fit.closes}; binds first: {binding} of {fit.limits[fit.binding]:.0%}.\n"
        "(perhaps: only the low estimate does. Sources: codesign/resources/operators.yaml, devices.yaml)"
    )


def _amount(amount: Range) -> str:
    low, high = (f"{end:,}".removesuffix(".0") for end in (amount.low, amount.high))
    return "" if not amount.high else low if low == high else f"{low} to {high}"


def _percent(share: Range | None) -> str:
    if share is None:
        return ""
    low, high = f"{share.low:.0%}", f"{share.high:.0%}"
    return low if low == high else f"{low} to {high}"


def _largest_share(usage: Usage, device: Device) -> str:
    """The resource of which the component takes the largest part of the device."""
    shares = {r: usage[r] / device.available(r) for r in RESOURCES if device.available(r)}
    most = max(shares, key=lambda resource: shares[resource].high)
    return f"{TITLES[most]} {_percent(shares[most])}" if shares[most].high else ""


def _basis(usage: Usage) -> str:
    return ", ".join(status for status in Status if status in usage.basis)
