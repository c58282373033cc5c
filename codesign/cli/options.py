"""Options that several commands share, and how they become an architecture and a workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

if TYPE_CHECKING:
    from codesign.nm.format import NM
    from hw_models.arch import Arch
    from workloads.run_trace import Run
    from workloads.trace import Trace

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_NM = "2:8"
DEFAULT_WORKLOAD = "resnet18"
DEFAULT_ENERGY = "fpga16"
ENERGY_SOURCES = (
    f"asic45, asic16, asic7, fpga16, or a YAML file (technology, Accelergy ERT); default {DEFAULT_ENERGY}"
)

SWITCHES = {"interleave": "interleave", "pregenerate": "pregenerate", "schedule": "offline_schedule"}
"""`--no-NAME` and the optimization of the architecture that it switches off."""


class Setup(NamedTuple):
    """What is to be simulated or scheduled: an iteration with its sparse operands marked.

    `run` is the training run that it comes from, if any; `iteration` is then that of its longest phase.
    """

    arch: Arch
    iteration: Trace
    run: Run | None = None


def setup_options(command: Command) -> Command:
    """All options that `resolve` takes."""
    return arch_option(workload_options(hardware_options(command)))


def resolve(*, arch: Arch, dataflow: str, trace: Path | None, **chosen: Any) -> Setup:
    """Turn the values of `setup_options` into a setup. Raises SpecError."""
    switched_off = {name for name in SWITCHES if chosen.pop(f"no_{name}")}
    machine = resolve_arch(arch, dataflow, switched_off)
    return _resolve_workload(machine, **chosen) if trace is None else _resolve_trace(machine, trace, **chosen)


def _resolve_workload(
    arch: Arch, *, workload: str | None, method: str | None, nm: str | None, **sizes: int | None
) -> Setup:
    from workloads.catalog import load
    from workloads.sparsity import apply_method

    trained_with, ratio = resolve_method(method, nm, arch)
    iteration, _ = apply_method(load(workload or DEFAULT_WORKLOAD, **sizes), trained_with, ratio)
    return Setup(arch, iteration)


def _resolve_trace(arch: Arch, path: Path, *, method: str | None, nm: str | None, **chosen: Any) -> Setup:
    from codesign.simulate_run import phase_trace
    from workloads.run_trace import load_run_trace
    from workloads.sparsity import apply_method

    recorded = load_run_trace(path)
    _refuse(chosen, f"--trace {path}, which has its own workload")
    if recorded.run is None:
        iteration, _ = apply_method(recorded.iteration, *resolve_method(method, nm, arch))
        return Setup(arch, iteration)
    _refuse(
        {"method": method, "nm": nm}, f"--trace {path}, a run that was trained with {recorded.run.method}"
    )
    decisions = recorded.run.phases[recorded.run.longest_phase].decisions
    return Setup(arch, phase_trace(arch, recorded.iteration, recorded.run.method, decisions), recorded.run)


def _refuse(options: Mapping[str, Any], beside: str) -> None:
    """Raise SpecError if one of these options was given."""
    from codesign.errors import SpecError

    for name, value in options.items():
        if value is not None:
            raise SpecError(f"--{name.replace('_', '-')} has no meaning with {beside}; leave one of them out")


def arch_option(command: Command) -> Command:
    """`--arch` and `--overlay`; the command is called with the architecture that they make."""

    @click.option(
        "--arch", default="sat.yaml", show_default=True, help="Architecture: a YAML file or a packaged name."
    )
    @click.option(
        "--overlay",
        type=click.Path(path_type=Path),
        help="YAML file of parameters that replace those of the architecture, such as `array.rows: 64`.",
    )
    @wraps(command)
    def with_arch(*, arch: str, overlay: Path | None, **others: Any) -> Any:
        return command(arch=_load_arch(arch, overlay), **others)

    return cast(Command, with_arch)


def _load_arch(arch: str, overlay: Path | None) -> Arch:
    """The architecture of a file or name, the parameters of an overlay file in place of its own. Raises SpecError."""
    from codesign.errors import SpecError
    from codesign.spec_errors import got
    from codesign.strict_yaml import load
    from hw_models.arch import load_arch

    loaded = load_arch(arch)
    if overlay is None:
        return loaded
    document = load(overlay)
    if not isinstance(document.data, dict):
        raise SpecError(
            f"{document.name}: got {got(document.data)}, expected keys of an architecture such as array.rows: 64"
        )
    try:
        return loaded.with_overrides(document.data)
    except SpecError as error:
        raise SpecError(f"{document.name}: {error}") from None


def split_parameters(texts: Iterable[str], values: str) -> Iterator[tuple[str, str]]:
    """Key and value of each `--set KEY=...`; `values` names what stands behind the sign. Raises SpecError."""
    from codesign.errors import SpecError

    found: set[str] = set()
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key in found:
            raise SpecError(f"--set {text}: expected KEY={values} with each key once")
        found.add(key)
        yield key, value


def workload_options(command: Command) -> Command:
    """`--workload` and its parameters, `--method` and `--nm`."""
    for option in reversed(
        [
            click.option(
                "--workload",
                help="A named network, gemm:MxKxN, or a file: YAML, SCALE-Sim CSV, ONNX. "
                f"[default: {DEFAULT_WORKLOAD}]",
            ),
            click.option(
                "--trace",
                type=click.Path(path_type=Path),
                help="Instead of a workload: the trace of a training run, or of `codesign trace`.",
            ),
            click.option("--batch", type=int, help="Samples per iteration. [default: 64]"),
            click.option("--seq-len", type=int, help="Tokens per sample (transformers)."),
            click.option("--classes", type=int, help="Output classes (classifiers)."),
            click.option("--input-size", type=int, help="Height and width of the input (vision)."),
            click.option(
                "--method",
                help="Training method, see `codesign list methods`. [default: bdwp, dense if the array is]",
            ),
            click.option("--nm", help=f"N:M ratio, N kept of M. [default: {DEFAULT_NM}]"),
        ]
    ):
        command = option(command)
    return command


def hardware_options(command: Command) -> Command:
    """Switches that override the architecture file."""
    for option in reversed(
        [
            click.option(
                "--dataflow",
                type=click.Choice(["auto", "ws", "os"]),
                default="auto",
                show_default=True,
                help="Dataflow that the scheduler may use.",
            ),
            click.option("--no-interleave", is_flag=True, help="Switch interleave mapping off."),
            click.option(
                "--no-pregenerate", is_flag=True, help="Prune weights before use, not after the update."
            ),
            click.option(
                "--no-schedule", is_flag=True, help="Switch offline scheduling off: one fixed dataflow."
            ),
        ]
    ):
        command = option(command)
    return command


def resolve_arch(arch: Arch, dataflow: str, switched_off: set[str]) -> Arch:
    """The architecture with the command line's switches applied. Raises SpecError."""
    from codesign.errors import SpecError

    overrides: dict[str, Any] = {f"optimizations.{SWITCHES[name]}": False for name in switched_off}
    if dataflow != "auto":
        if dataflow not in arch.array.dataflows:
            raise SpecError(
                f"--dataflow {dataflow}: not in array.dataflows of architecture {arch.name!r}; "
                f"expected one of: {', '.join(arch.array.dataflows)}"
            )
        overrides |= {"array.dataflows": [dataflow], "optimizations.fixed_dataflow": dataflow}
    return arch.with_overrides(overrides) if overrides else arch


def resolve_method(method: str | None, nm: str | None, arch: Arch) -> tuple[str, NM | None]:
    """Method and ratio: what was asked for, else BDWP at 2:8 where the array can skip zeros. Raises SpecError."""
    from codesign.errors import SpecError
    from codesign.nm.format import NM
    from workloads.sparsity import check_method

    if method is None:
        method = "bdwp" if arch.array.sparsity or nm is not None else "dense"
    check_method(method)
    if method == "dense":
        if nm is not None:
            raise SpecError(f"--nm {nm} has no meaning with --method dense; leave one of them out")
        return method, None
    ratio = NM.parse(DEFAULT_NM if nm is None else nm)
    if ratio not in arch.array.sparsity:
        supported = ", ".join(map(str, arch.array.sparsity)) or "none (use --method dense)"
        default = " (default)" if nm is None else ""
        raise SpecError(
            f"--nm {ratio}{default}: not in array.sparsity of architecture {arch.name!r}; "
            f"expected one of: {supported}"
        )
    return method, ratio
