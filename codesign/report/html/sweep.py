"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from codesign import strict_yaml
from codesign.errors import SpecError
from codesign.report.html.page import Choice, Column, Explorer, Listing, Page, Section, Table, Tile
from codesign.report.html.points import TITLES, Points, variant, workload_label
from codesign.report.html.sweep_charts import heat_maps, parallel_chart, scatter_charts
from codesign.report.numbers import joule_unit
from codesign.spec_errors import printable
from codesign.sweep.store import Counts, Store
from codesign.sweep.view import Row, View

MAX_POINTS = 4000
"""Points on a page; those on the front are always among them."""
MAX_FAILURES = 200
MAX_NAMES = 3

TABLE_MEASURES = ("latency_s", "speedup", "energy_j", "average_w", "lut", "device_share", "run_s", "accuracy")


def load_sweep_page(path: Path) -> Page:
    """The page of the sweep in a store that was started last. Raises SpecError if it holds none."""
    with Store(path) as store:
        sweeps = store.sweeps()
        if not sweeps:
            raise SpecError(f"{printable(str(path))}: holds no sweep; run `codesign sweep` first")
        sweep, spec = list(sweeps.items())[-1]
        view = View(store, spec)
        front = view.front()
        hashes = frozenset(row["hash"] for row in front.rows)
        points = Points(_shown(view, front.rows), view.parameters, front.objectives, hashes)
        failures = list(islice((row for row in view.rows() if row["error"] is not None), MAX_FAILURES))
        counts = store.counts(sweep)
    others = (
        f" The store holds {len(sweeps) - 1:,} more; this is the one started last." if len(sweeps) > 1 else ""
    )
    return Page(
        title=_title(points),
        subtitle=f"Resources on {spec.device}, energy of {printable(spec.technology)}.{others}",
        tiles=list(_tiles(points, counts)),
        sections=[
            *(_point_sections(points, counts) if points.rows else []),
            *([_failed(points, failures, counts)] if failures else []),
            _configuration(spec.model_dump(mode="json", exclude_defaults=True)),
        ],
        explorer=_explorer(points) if points.rows else None,
    )


def _shown(view: View, front: Sequence[Row]) -> list[Row]:
    """Computed rows in order; if there are too many, those of the front and some more."""
    computed = (row for row in view.rows() if row["total_cycles"] is not None)
    rows = list(islice(computed, MAX_POINTS + 1))
    if len(rows) <= MAX_POINTS:
        return rows
    known = {row["hash"] for row in front}
    return [*front, *(row for row in rows if row["hash"] not in known)][:MAX_POINTS]


def _title(points: Points) -> str:
    """What was swept, as far as it fits a line."""
    workloads, archs = (
        list(dict.fromkeys(printable(row[key]) for row in points.rows)) for key in ("workload", "arch")
    )
    named = [
        ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if names[MAX_NAMES:] else "")
        for names in (workloads, archs)
    ]
    return f"Sweep of {named[0]} on {named[1]}" if points.rows else "Sweep"


def _tiles(points: Points, counts: Counts) -> Iterator[Tile]:
    yield Tile("Points", f"{counts.total:,}", f"{counts.done:,} computed, {counts.pending:,} pending")
    yield Tile("Failed", f"{counts.failed:,}", "listed below" if counts.failed else "")
    names = ", ".join(objective.name for objective in points.objectives)
    yield Tile("On the front", f"{len(points.front):,}", names)
    for workload in list(dict.fromkeys(points.traits["workload"]))[:MAX_NAMES]:
        rows = [row for row in points.rows if workload_label(row) == workload]
        fastest = min(rows, key=lambda row: row["latency_s"])
        yield Tile(f"Fastest, {workload}", f"{1e3 * fastest['latency_s']:,.2f} ms", variant(fastest))
        leanest = min(rows, key=lambda row: row["energy_j"])
        unit, size = joule_unit(leanest["energy_j"])
        yield Tile(f"Least energy, {workload}", f"{leanest['energy_j'] / size:,.2f} {unit}", variant(leanest))


def _point_sections(points: Points, counts: Counts) -> Iterator[Section]:
    note = (
        "Every pair of objectives. Large marks are on the Pareto front: no point of the same workload is better in "
        "one objective and as good in all others. It is the front of the whole sweep, whatever the filters show. "
        "Colour: N:M; shape: method. Hover for what a point is, click the legend to hide, drag to zoom."
    )
    yield Section("front", "Pareto front", scatter_charts(points), note=note)
    if maps := heat_maps(points):
        note = (
            "N values of every M are kept. Each cell is the best point of its ratio over all methods and "
            "architectures of the sweep; brighter is better, empty was not swept. Filters do not apply."
        )
        yield Section("ratios", "N:M ratios", maps, note=note)
    note = (
        "A line for each point, thick if on the front. What varies stands first, then objectives and speedup, low at "
        "the bottom."
    )
    yield Section("parallel", "All axes", [parallel_chart(points)], note=note)
    yield Section("table", "All points", [_table(points, counts)])


def _table(points: Points, counts: Counts) -> Table:
    measures = [measure for measure in points.measures if measure.column in TABLE_MEASURES]
    columns = [Column(TITLES.get(key, key)) for key in points.varying]
    columns += [Column("fits"), *(Column(measure.title, measure.form) for measure in measures)]
    rows = [
        [
            *(points.traits[key][number] for key in points.varying),
            row["fits"],
            *(measure.of(row) for measure in measures),
        ]
        for number, row in enumerate(points.rows)
    ]
    cut = len(rows) < counts.done
    note = f"{len(rows):,} of {counts.done:,} computed points; points.csv has all." if cut else ""
    return Table("Computed points", columns, rows, note, interactive=True, explored=True)


def _failed(points: Points, failures: Sequence[Row], counts: Counts) -> Section:
    columns = [
        Column("workload"),
        Column("architecture"),
        *map(Column, points.parameters),
        Column("training"),
    ]
    rows = [
        [
            workload_label(row),
            printable(row["arch"]),
            *(points.text(row[key]) for key in points.parameters),
            variant(row),
            printable(row["error"]),
        ]
        for row in failures
    ]
    cut = counts.failed > len(rows)
    note = f"The first {len(rows):,} of {counts.failed:,}; points.csv has all." if cut else ""
    table = Table("Points without a result", [*columns, Column("error")], rows, note, interactive=True)
    return Section("failed", "Failed points", [table])


def _configuration(description: dict[str, Any]) -> Section:
    return Section("configuration", "Configuration", [Listing("sweep.yaml", strict_yaml.dump(description))])


def _explorer(points: Points) -> Explorer:
    """The first workload alone at the start: others are not comparable."""
    filters = [
        Choice(
            f"trait {key}", TITLES.get(key, key), values, points.traits[key][0] if key == "workload" else ""
        )
        for key, values in points.varying.items()
    ]
    columns: dict[str, Sequence[Any]] = {
        **{f"trait {key}": points.traits[key] for key in points.varying},
        **{measure.column: points.values(measure) for measure in points.measures},
        "hover": [points.about(row) for row in points.rows],
    }
    axes = {measure.column: measure.title for measure in points.measures}
    return Explorer(columns, filters, axes)
