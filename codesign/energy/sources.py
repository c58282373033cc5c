"""One door to energy tables: a packaged technology, a user's technology file, or an ERT."""

from __future__ import annotations

import os.path
from pathlib import Path

from codesign.energy.ert import is_ert, read_ert
from codesign.energy.table import EnergyTable, technology_table
from codesign.energy.technology import Technology, packaged, packaged_technology
from codesign.errors import SpecError
from codesign.spec_errors import nearest, shorten
from codesign.strict_yaml import load, validate
from hw_models.arch import Arch


def load_energy_table(arch: Arch, path_or_name: str | Path) -> EnergyTable:
    """The energy table of `arch`: in a technology by name or from its file, or as an ERT file states it.

    An existing file wins over a packaged name. Raises SpecError.
    """
    path = Path(path_or_name)
    is_bare = path.name == str(path_or_name)
    if is_bare and not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file it never raises
        name = path.name.removesuffix(".yaml")
        if name not in packaged():
            raise SpecError(
                f"no energy technology {shorten(repr(str(path)))}{nearest(name, packaged())}; expected a YAML "
                f"file (a technology or an ERT) or one of: {', '.join(packaged())}"
            )
        return technology_table(arch, packaged_technology(name))
    document = load(path)
    return read_ert(document) if is_ert(document) else technology_table(arch, validate(document, Technology))
