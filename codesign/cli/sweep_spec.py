"""What the options of `codesign sweep` describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codesign.cli.options import split_parameters
from codesign.errors import SpecError
from codesign.strict_yaml import Document, validate
from codesign.sweep.space import DEFAULT_WORKLOAD
from codesign.sweep.spec import SIZES, SweepSpec, load_accuracy, load_points, load_sweep, parse_values

LISTS = {"arch": "archs", "trace": "traces", "method": "methods", "nm": "nm", "objectives": "objectives"}
"""Options that are lists of names, and the keys of a SweepSpec that they fill."""

SEARCH = {"search": "trials", "sampler": "sampler", "seed": "seed"}
"""Options of a search, and the keys of a SearchSpec."""


def spec_of(file: Path | None, **chosen: Any) -> SweepSpec:
    """The sweep that a file or else the options describe. Raises SpecError, TraceError."""
    given = {name: value for name, value in chosen.items() if value not in (None, ())}
    if file is None:
        return validate(Document("options", _data(given)), SweepSpec)
    if given:
        option = _option(next(iter(given)))
        raise SpecError(
            f"{option} has no meaning with {file}, which describes the whole sweep; leave one of them out"
        )
    return load_sweep(file)


def _data(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options in the form of the YAML file."""
    data: dict[str, Any] = {key: _items(given[name]) for name, key in LISTS.items() if name in given}
    data |= {name: given[name] for name in ("device", "technology") if name in given}
    if "constraint" in given:
        data |= _constraint(given["constraint"], given.get("device"))
    if "parameters" in given:
        data["set"] = _parameters(given["parameters"])
    if workloads := _workloads(given):
        data["workloads"] = workloads
    if "points" in given:
        points = load_points(given["points"])
        data["points"] = [point.model_dump(mode="json", exclude_unset=True) for point in points]
    if search := {key: given[name] for name, key in SEARCH.items() if name in given}:
        data["search"] = search
    if "accuracy" in given:
        rows = [row for path in _items(given["accuracy"]) for row in load_accuracy(Path(path))]
        data["accuracy"] = [row.model_dump(mode="json") for row in rows]
    return data


def _items(texts: Iterable[str]) -> list[str]:
    """Values of an option that was given once or several times, separated by commas."""
    return [item.strip() for text in texts for item in text.split(",")]


def _parameters(texts: Sequence[str]) -> dict[str, list[Any]]:
    lists = split_parameters(texts, "A,B,...")
    return {key: parse_values(values, f"--set {key}") for key, values in lists}


def _workloads(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every workload with all sizes."""
    sizes = {size: parse_values(",".join(given[size]), _option(size)) for size in SIZES if size in given}
    if sizes and "trace" in given and "workload" not in given:
        raise SpecError(f"{_option(next(iter(sizes)))} has no meaning with --trace, which has its own sizes")
    names = _items(given.get("workload", ())) or ([DEFAULT_WORKLOAD] if sizes else [])
    return [{"name": name} | sizes for name in names]


def _constraint(text: str, device: str | None) -> dict[str, Any]:
    name, _, fits = text.partition("=")
    if name != "fits" or not fits or device not in (None, fits):
        raise SpecError(
            f"--constraint {text}: expected fits=DEVICE, such as fits=vcu1525, and no other --device"
        )
    return {"device": fits, "must_fit": True}


def _option(name: str) -> str:
    """An option as it is typed."""
    return "--set" if name == "parameters" else f"--{name.replace('_', '-')}"
