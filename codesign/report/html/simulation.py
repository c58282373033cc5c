"""The page of a simulation."""

from __future__ import annotations

from collections.abc import Iterator

from codesign import strict_yaml
from codesign.report.html.cycles import layer_cause_chart, layer_stage_chart, stage_chart, timeline_chart
from codesign.report.html.dataflow import choices, dataflow_chart
from codesign.report.html.energy import energy_section, energy_tiles
from codesign.report.html.page import Column, Listing, Page, Section, Table, Tile
from codesign.report.html.resources import device_tile, resource_section
from codesign.report.html.roofline import points, roofline_chart
from codesign.report.html.training import ablation_section, run_section, run_tiles, sensitivity_section
from codesign.report.parts import CAUSES, cycles_by_cause
from codesign.report.saved import SavedResult, energies
from codesign.resources import Device, Fit, Resources
from codesign.result import Share, SimResult
from codesign.spec_errors import printable
from hw_models.arch import Arch

CYCLE_COLUMNS = (
    Column("cycles", ",d"),
    Column("share", ".1%", "of the iteration"),
    Column("ms", ",.3f"),
    Column("array util.", ".1%", "executed multiply-accumulates over those the array could issue"),
    Column("read MB", ",.2f"),
    Column("written MB", ",.2f"),
    Column("eff. GOPS", ",.1f", "executed operations"),
    Column("dense-eq. GOPS", ",.1f", "operations of dense training"),
)

MINOR = 0.005
"""Share of a layer's cycles that is not worth a word."""


def simulation_page(
    saved: SavedResult, arch: Arch, device_name: str, device: Device, resources: Resources, fit: Fit
) -> Page:
    """Everything that a result holds, and its architecture on a device."""
    result = saved.sim_result(arch.peak_macs_per_cycle)
    resource_parts = resource_section(resources, device_name, device, fit)
    return Page(
        title=f"{printable(result.workload_name)} on {arch.name}",
        subtitle=_subtitle(result, arch),
        tiles=[*_tiles(saved, result), device_tile(device_name, fit)],
        sections=[*_time_sections(saved, result, arch), resource_parts, *_last_sections(saved, result, arch)],
    )


def _subtitle(result: SimResult, arch: Arch) -> str:
    array = arch.array
    training = result.method if result.nm == "dense" else f"{result.method} {result.nm}"
    return (
        f"One training iteration, batch {result.batch}, {printable(training)}. {array.rows} x {array.cols} array at "
        f"{arch.clock_hz / 1e6:g} MHz, {arch.dram.kind} x{arch.dram.channels}. {result.params:,} parameters, "
        f"{result.training_macs_per_sample:,} training MACs a sample (dense)."
    )


def _tiles(saved: SavedResult, result: SimResult) -> Iterator[Tile]:
    share = result.total
    yield Tile("Iteration", f"{1e3 * result.latency_s:,.1f} ms", f"{result.total_cycles:,} cycles")
    if saved.dense_cycles is not None and saved.method != "dense":
        speedup = saved.dense_cycles / result.total_cycles
        yield Tile("Speedup over dense", f"{speedup:.3f}x", f"{saved.dense_cycles:,} dense cycles")
    yield Tile("Throughput", f"{result.batch / result.latency_s:,.1f} samples/s", f"batch {result.batch}")
    yield Tile(
        "Rate",
        f"{result.gops(share.dense_macs, share.cycles):,.0f} GOPS",
        f"dense-equivalent; {result.gops(share.macs, share.cycles):,.0f} effective",
    )
    bound = f"closed-form bound: {result.bound_cycles / result.total_cycles:.0%} of the time"
    yield Tile("Array utilisation", f"{result.utilization(share):.1%}", bound)
    moved = (share.read_bytes + share.write_bytes) / 1e9
    busy = result.dram_busy_cycles / result.total_cycles
    yield Tile("DRAM traffic", f"{moved:,.2f} GB", f"memory busy {busy:.0%} of the time")
    if saved.energy:
        yield from energy_tiles(saved.energy)
    if saved.run:
        yield from run_tiles(saved.run)


def _time_sections(saved: SavedResult, result: SimResult, arch: Arch) -> Iterator[Section]:
    yield Section("time", "Time", [stage_chart(result), _stage_table(result), _cause_table(result)])
    yield Section("layers", "Layers", [layer_stage_chart(result), layer_cause_chart(result)])
    yield Section("roofline", "Roofline", [roofline_chart(result, arch)])
    yield Section("dataflow", "Dataflow", [dataflow_chart(result)])
    yield Section("timeline", "Timeline", [timeline_chart(result)])
    if saved.energy:
        yield energy_section(saved.energy)


def _last_sections(saved: SavedResult, result: SimResult, arch: Arch) -> Iterator[Section]:
    if saved.ablation:
        yield ablation_section(saved.ablation, saved.clock_hz)
    if saved.sensitivity and saved.speedup_vs_dense:
        yield sensitivity_section(saved.sensitivity, saved.speedup_vs_dense)
    if saved.run:
        yield run_section(saved.run, saved.clock_hz)
    yield Section("table", "All layers", [_layer_table(saved, result)])
    configuration = Listing("resolved.yaml", strict_yaml.dump(arch.model_dump(mode="json")))
    identity = [
        f"Simulated by codesign {result.version}.",
        f"SHA-256 of the architecture: {printable(result.arch_sha256)}",
        f"SHA-256 of the workload: {printable(result.workload_sha256)}",
    ]
    yield Section("configuration", "Configuration", [configuration], lines=identity)


def _stage_table(result: SimResult) -> Table:
    shares = {stage.upper(): share for stage, share in result.stages.items()} | {"total": result.total}
    rows = [[stage, *_cells(result, share)] for stage, share in shares.items()]
    return Table("Stages", [Column("stage"), *CYCLE_COLUMNS], rows, emphasis=[len(rows) - 1])


def _cause_table(result: SimResult) -> Table:
    causes = cycles_by_cause(result.total)
    rows = [
        [cause, cycles, cycles / result.total_cycles, CAUSES[cause]]
        for cause, cycles in sorted(causes.items(), key=lambda item: -item[1])
    ]
    columns = [Column("cause"), Column("cycles", ",d"), Column("share", ".1%"), Column("meaning")]
    return Table("Where the array's time goes", columns, rows)


def _layer_table(saved: SavedResult, result: SimResult) -> Table:
    chosen, joules = choices(result), dict(energies(saved))
    intensities = {(point.layer, point.stage): point.ops_per_byte for point in points(result)}
    columns = [Column("layer"), Column("stage"), *CYCLE_COLUMNS]
    columns += [
        Column("op/byte", ",.1f", "dense-equivalent, of the products alone"),
        Column("dataflow"),
        Column("N:M"),
    ]
    columns += [Column("energy mJ", ",.3f", "nominal")] if joules else []
    columns += [Column("main stall")]
    rows = []
    for layer, shares in result.layers.items():
        for stage, share in shares.items():
            key = (layer, stage)
            spent = [1e3 * joules[key].nominal if key in joules else None] if joules else []
            cells = [printable(layer), stage.upper(), *_cells(result, share), intensities.get(key)]
            rows.append([*cells, *chosen.get(key, ("", "")), *spent, _main_stall(share)])
    note = (
        "Cycles are those of the iteration that are charged to the layer; work behind other work costs none."
    )
    return Table("Layers and stages", columns, rows, note, interactive=True)


def _cells(result: SimResult, share: Share) -> list[float | None]:
    """Values of CYCLE_COLUMNS; what multiplies nothing has no rate."""
    return [
        share.cycles,
        share.cycles / result.total_cycles,
        1e3 * result.seconds(share.cycles),
        result.utilization(share) if share.macs else None,
        share.read_bytes / 1e6,
        share.write_bytes / 1e6,
        result.gops(share.macs, share.cycles) if share.macs else None,
        result.gops(share.dense_macs, share.cycles) if share.macs else None,
    ]


def _main_stall(share: Share) -> str:
    cause, cycles = max(share.stall_cycles.items(), key=lambda item: item[1], default=("", 0))
    return f"{cause} {cycles / share.cycles:.0%}" if cycles > MINOR * share.cycles else ""
