"""What `codesign trace` traces: a named network, what a function of the user's builds, a Hugging Face model."""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from codesign.errors import SpecError
from codesign.spec_errors import nearest, printable, shorten
from codesign.train.tracer import reason, trace_model
from workloads import models
from workloads.catalog import MAX_OPTION, NETWORKS
from workloads.graph import Shape
from workloads.trace import Trace

_SHAPE = re.compile(r"[1-9][0-9]{0,7}(x[1-9][0-9]{0,7})*")


class Target(NamedTuple):
    """A model, and what it reads: the shape of one sample if that is known, and whether it is token numbers."""

    name: str
    model: nn.Module
    shape: Shape | None = None
    tokens: bool = False
    optimizer: str = "sgd"


def trace_target(
    target: str | None,
    hf_config: Path | None,
    *,
    shape: str | None,
    batch: int,
    vocab: int | None,
    optimizer: str | None,
) -> Trace:
    """Trace what the command line names; `shape` is that of one sample, such as 3x224x224. Raises SpecError.

    A module of the user's is imported, from the current directory too, and what it prints goes to stderr.
    """
    if (target is None) == (hf_config is None):
        raise SpecError("expected either a target (a named network or module:function) or --hf-config")
    if not 1 <= batch <= MAX_OPTION["batch"]:
        raise SpecError(f"--batch {batch}: expected an integer from 1 to {MAX_OPTION['batch']}")
    axes = None if shape is None else _parse_shape(shape)
    with _importing_from_here(), redirect_stdout(sys.stderr):
        found = _from_config(hf_config) if hf_config else _find(target or "", vocab)
        axes = axes or found.shape
        if axes is None:
            raise SpecError(
                f"--input is missing; expected the shape of one sample of {found.name!r}, such as 3x224x224"
            )
        x = _empty(batch, axes, found.model, tokens=found.tokens or vocab is not None)
        return trace_model(found.model, x, found.name, optimizer=optimizer or found.optimizer)


def _parse_shape(text: str) -> Shape:
    if not _SHAPE.fullmatch(text):
        raise SpecError(
            f"--input {shorten(printable(text))!r}: expected the shape of one sample, without the batch: "
            "sizes from 1 to 99999999, such as 3x224x224, or 128 with --tokens"
        )
    return tuple(map(int, text.split("x")))


def _empty(batch: int, shape: Shape, model: nn.Module, *, tokens: bool) -> Tensor:
    """An input without memory, of the type that the parameters have or of token numbers."""
    floats = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    dtype = torch.int64 if tokens else next(floats, torch.float32)
    try:
        return torch.empty(batch, *shape, dtype=dtype, device="meta")
    except RuntimeError as error:  # more bytes than a number can hold
        raise SpecError(f"--input {shape} at --batch {batch}: {reason(error)}; use a smaller one") from None


def _find(target: str, vocab: int | None) -> Target:
    if target in NETWORKS or target.startswith("mlp:"):
        return _named(target, vocab)
    if ":" not in target:
        raise SpecError(
            f"unknown network {shorten(printable(target))!r}{nearest(target, models.names())}; "
            f"expected module:function, mlp:AxB or one of: {', '.join(models.names())}"
        )
    return _from_function(target)


def _named(name: str, vocab: int | None) -> Target:
    with torch.device("meta"):
        model = models.build(name, vocab=vocab)
    read = models.model_input(name)
    optimizer = NETWORKS[name].optimizer if name in NETWORKS else "sgd"
    return Target(name, model, read.shape, read.tokens, optimizer)


def _from_config(path: Path) -> Target:
    from codesign.train.tracer_hf import load_hf_model

    model_type, model, tokens = load_hf_model(path)
    return Target(model_type, model, tokens=tokens)


def _from_function(target: str) -> Target:
    """Call `module:function` under `torch.device("meta")`."""
    shown = shorten(printable(target))
    module_name, _, function_name = target.partition(":")
    module = _import(module_name, shown)
    build: Callable[[], Any] | None = getattr(module, function_name, None)
    if not callable(build):
        names = [name for name, value in vars(module).items() if callable(value)]
        raise SpecError(f"{shown}: no such function in the module{nearest(function_name, names)}")
    try:
        with torch.device("meta"):
            model = build()
    except Exception as error:  # a function of the user's may raise anything
        raise SpecError(f"{shown}: called without arguments, raises {reason(error)}") from error
    if not isinstance(model, nn.Module):
        raise SpecError(f"{shown}: returns {type(model).__name__}, expected a torch.nn.Module")
    return Target(function_name, model)


def _import(name: str, shown: str) -> ModuleType:
    try:
        module: ModuleType = pkgutil.resolve_name(f"{name}:")
    except ValueError:
        raise SpecError(f"{shown}: is no module:function, such as my_package.nets:build") from None
    except (Exception, SystemExit) as error:  # a module of the user's may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise SpecError(
                f"{shown}: no module {error.name!r} here or among the installed packages"
            ) from None
        raise SpecError(f"{shown}: importing the module raises {reason(error)}") from error
    return module


@contextmanager
def _importing_from_here() -> Iterator[None]:
    """Find modules in the current directory, which a console script does not do by itself."""
    before = sys.path.copy()
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before
