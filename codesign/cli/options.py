"""Options that several commands share, and how they become an architecture and a workload."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from codesign.nm.format import NM
    from hw_models.arch import Arch
    from workloads.trace import Trace

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_NM = "2:8"

SWITCHES = {"interleave": "interleave", "pregenerate": "pregenerate", "schedule": "offline_schedule"}
"""`--no-NAME` and the optimization of the architecture that it switches off."""


class Setup(NamedTuple):
    """What is to be simulated or scheduled; `workload` is dense, `method` and `nm` are yet to be applied."""

    arch: Arch
    workload: Trace
    method: str
    nm: NM | None


def setup_options(command: Command) -> Command:
    """All options that `resolve` takes."""
    return arch_option(workload_options(hardware_options(command)))


def resolve(*, arch: str, method: str | None, nm: str | None, dataflow: str, **chosen: Any) -> Setup:
    """Turn the values of `setup_options` into a setup. Raises SpecError."""
    from workloads.catalog import load

    switched_off = {name for name in SWITCHES if chosen.pop(f"no_{name}")}
    machine = resolve_arch(arch, dataflow, switched_off)
    trained_with, ratio = resolve_method(method, nm, machine)
    workload = load(chosen.pop("workload"), **chosen)
    return Setup(machine, workload, trained_with, ratio)


def arch_option(command: Command) -> Command:
    """`--arch`."""
    return click.option(
        "--arch", default="sat.yaml", show_default=True, help="Architecture: a YAML file or a packaged name."
    )(command)


def workload_options(command: Command) -> Command:
    """`--workload` and its parameters, `--method` and `--nm`."""
    for option in reversed(
        [
            click.option(
                "--workload",
                default="resnet18",
                show_default=True,
                help="A named network, gemm:MxKxN, or a file: YAML, SCALE-Sim CSV, ONNX.",
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


def resolve_arch(arch: str, dataflow: str, switched_off: set[str]) -> Arch:
    """The architecture with the command line's switches applied. Raises SpecError."""
    from codesign.errors import SpecError
    from hw_models.arch import load_arch

    loaded = load_arch(arch)
    overrides: dict[str, Any] = {f"optimizations.{SWITCHES[name]}": False for name in switched_off}
    if dataflow != "auto":
        if dataflow not in loaded.array.dataflows:
            raise SpecError(
                f"--dataflow {dataflow}: not in array.dataflows of architecture {loaded.name!r}; "
                f"expected one of: {', '.join(loaded.array.dataflows)}"
            )
        overrides |= {"array.dataflows": [dataflow], "optimizations.fixed_dataflow": dataflow}
    return loaded.with_overrides(overrides) if overrides else loaded


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
