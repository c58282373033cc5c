"""From a folder to its page."""

from __future__ import annotations

from pathlib import Path

from codesign.errors import SpecError
from codesign.report.html.page import Page
from codesign.report.html.simulation import simulation_page
from codesign.report.saved import CONFIGURATION, RESULT, load_simulation
from codesign.resources import estimate, fit, load_device
from codesign.spec_errors import printable

STORE = "sweep.sqlite"


def build_report(folder: Path, device_name: str) -> Page:
    """The page of the simulation or the sweep in `folder`. Raises SpecError if there is none, or it is damaged.

    `device_name` is the FPGA that the architecture of a simulation is compared with.
    """
    if (folder / RESULT).exists():
        return _simulation(folder, device_name)
    if (folder / STORE).exists():
        from codesign.report.html.sweep import load_sweep_page

        return load_sweep_page(folder / STORE)
    raise SpecError(
        f"{printable(str(folder))}: holds no {RESULT} and no {STORE}; expected the folder of "
        "`codesign simulate --out` or `codesign sweep --out`"
    )


def _simulation(folder: Path, device_name: str) -> Page:
    device = load_device(device_name)
    simulation = load_simulation(folder)
    if simulation.arch is None:
        raise SpecError(f"{simulation.name}: holds no {CONFIGURATION} beside its {RESULT}; simulate again")
    resources = estimate(simulation.arch, uram=device.available("uram288") > 0)
    return simulation_page(
        simulation.result, simulation.arch, device_name, device, resources, fit(resources, device)
    )
