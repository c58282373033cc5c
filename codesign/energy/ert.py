"""Energy reference tables (ERT) of Accelergy: the energy table of an architecture, in pJ, as YAML.

Format as Accelergy 0.3 and 0.4 write and read it (Accelergy-Project/accelergy, ERT_generator.py and
raw_inputs_2_dicts.py):

    ERT:
      version: 0.4
      tables:
      - name: sat.multiplier        # path of the component; a list of equal ones is sat.multiplier[0..1023]
        actions:
        - name: fp16_multiply
          arguments: {}
          energy: 0.1908            # pJ

Components and actions are those of `codesign.energy.actions`; the last name of a path is the component. Actions
on bits are priced for one bit, `leak` for one clock cycle. An ERT has one value for each, the nominal one.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator

from codesign.energy.actions import ACTIONS
from codesign.energy.ranges import Range
from codesign.energy.table import EnergyTable, Price
from codesign.errors import SpecError
from codesign.spec_errors import nearest, shorten
from codesign.strict_yaml import Document, dump, validate
from hw_models.block_specs import Spec

VERSION = 0.4
_READABLE = ("0.3", "0.4")


class _Action(Spec):
    name: str = Field(description="Name of the action.")
    arguments: dict[str, Any] | None = Field(default=None, max_length=0, description="Arguments: none.")
    energy: float = Field(ge=0, description="Energy of one action (picojoules).")


class _Component(Spec):
    name: str = Field(description="Path of the component in the design.")
    actions: tuple[_Action, ...] = Field(description="Actions of the component.")


class _Body(Spec):
    version: float | str = Field(description="Version of the format.")
    tables: tuple[_Component, ...] = Field(description="Components.")

    @field_validator("version", mode="before")
    @classmethod
    def _check_version(cls, version: Any) -> Any:
        if str(version) not in _READABLE:
            raise ValueError(f"got {shorten(repr(version))}, expected one of: {', '.join(_READABLE)}")
        return version


class _File(Spec):
    body: _Body = Field(alias="ERT", description="The energy reference table.")


def is_ert(document: Document) -> bool:
    """Whether a file means to be an ERT."""
    return isinstance(document.data, dict) and "ERT" in document.data


def write_ert(table: EnergyTable, design: str) -> str:
    """`table` as the text of an ERT; `design` is the root of the component paths."""
    tables = []
    for component, names in ACTIONS.items():
        prices = {name: table.prices[key] for name in names if (key := f"{component}.{name}") in table.prices}
        actions = [
            {"name": name, "arguments": {}, "energy": price.picojoules.nominal}
            for name, price in prices.items()
        ]
        tables.append({"name": f"{design}.{component}", "actions": actions})
    return dump({"ERT": {"version": VERSION, "tables": tables}})


def read_ert(document: Document) -> EnergyTable:
    """The energy table in a parsed ERT. Raises SpecError for an action that is unknown or has two energies."""
    prices: dict[str, Price] = {}
    for position, table in enumerate(validate(document, _File).body.tables):
        place = ("ERT", "tables", position)
        component = re.sub(r"\[[^\]]*\]", "", table.name).rpartition(".")[2]
        _check_name(document, (*place, "name"), "component", component, tuple(ACTIONS))
        for number, action in enumerate(table.actions):
            here = (*place, "actions", number, "name")
            _check_name(document, here, f"action of {component}", action.name, ACTIONS[component])
            key = f"{component}.{action.name}"
            if key in prices:
                raise SpecError(f"{document.where(here)}: {key} has an energy already; expected one for each")
            prices[key] = Price(Range.exactly(action.energy), "imported")
    return EnergyTable(document.name, "Energy reference table.", prices)


def _check_name(
    document: Document, place: tuple[str | int, ...], what: str, name: str, legal: tuple[str, ...]
) -> None:
    if name not in legal:
        raise SpecError(
            f"{document.where(place)}: unknown {what} {shorten(repr(name))}{nearest(name, legal)}; "
            f"expected one of: {', '.join(legal)}"
        )
