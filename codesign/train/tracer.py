"""The trace of any torch model, taken from one forward pass on the meta device: no data, no memory, no gradients.

    trace = trace_model(model, torch.empty(64, 3, 224, 224, device="meta"), "mine")

Layers with a weight have the names of their modules, as in the report of `sparsify`. What becomes of each operation
is said in `tracer_operators` and below it. Left out: what does not reach the output, and whatever stops a gradient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy

from codesign.errors import CodesignError, SpecError
from codesign.spec_errors import printable, shorten
from codesign.train.sparsify import sparse_layers
from codesign.train.tracer_contents import NO_DATA
from codesign.train.tracer_operators import build_graph
from codesign.train.tracer_parameters import Parameter
from codesign.train.tracer_record import Recorder
from codesign.train.tracer_values import Recording
from workloads.trace import Trace
from workloads.training import training_trace

_ASKS_FOR_DATA = re.compile(r"meta\b|unallocated storage", re.IGNORECASE)
"""In the messages of torch about tensors on the meta device."""


def trace_model(
    model: nn.Module,
    inputs: tuple[Tensor, ...] | Tensor,
    name: str,
    *,
    optimizer: str = "sgd",
    loss: bool = True,
) -> Trace:
    """Trace of one training iteration of `model` at the batch size that is the leading axis of the first input.

    Of the inputs only shapes and types count. The model may be anywhere, in the middle of a training too: it is
    called with copies of its parameters and buffers on the meta device, in its present mode, and sparse layers as the
    dense ones that they were. Its hooks are called. The loss stands on the first floating tensor that the model
    returns, `logits` if there are any. Raises SpecError for what a trace cannot express.
    """
    tensors = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if not tensors or not tensors[0].dim():
        raise SpecError(f"model {name!r}: expected an input with a batch axis")
    try:
        graph = build_graph(_record(model, tensors), tensors[0].shape[0], loss=loss)
    except SpecError as error:
        raise SpecError(f"model {name!r}: {error}") from error.__cause__
    return training_trace(graph, name, optimizer=optimizer)


def _record(model: nn.Module, inputs: tuple[Tensor, ...]) -> Recording:
    """Call the model once and write down what happens."""
    recorder = Recorder()
    copies = _copies_on_meta(model, recorder)
    shapes = [torch.empty_like(tensor, device="meta") for tensor in inputs]
    values = [recorder.add_input(tensor) for tensor in shapes]
    with ExitStack() as setting:
        setting.enter_context(_dense(model))
        setting.enter_context(torch.inference_mode(False))
        setting.enter_context(torch.enable_grad())
        setting.enter_context(torch.random.fork_rng(devices=()))
        setting.enter_context(sdpa_kernel(SDPBackend.MATH))  # as products that can be seen
        setting.enter_context(recorder.follow_modules(model))
        setting.enter_context(_errors_explained(recorder))
        setting.enter_context(recorder)
        output = _first_floating(functional_call(model, copies, tuple(shapes)))
    if output is None:
        raise SpecError("it returns no tensor of real numbers; expected one, alone or in a tuple or mapping")
    return Recording(_parameters(model), recorder.calls, values, recorder.value(output))


@contextmanager
def _errors_explained(recorder: Recorder) -> Iterator[None]:
    """Turn whatever a model raises into a SpecError that says where."""
    try:
        yield
    except Exception as error:  # a model may raise anything
        where = f"module {shorten(printable(recorder.module))!r}" if recorder.module else "its forward pass"
        if isinstance(error, CodesignError):
            raise SpecError(f"{where} {error}") from None
        if _ASKS_FOR_DATA.search(str(error)):
            raise SpecError(f"{where} {NO_DATA} ({reason(error)})") from error
        raise SpecError(f"{where} fails: {reason(error)}; is the input what it expects?") from error


def reason(error: BaseException) -> str:
    """An error of foreign code in one short line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {printable(lines[0])[:200]}".rstrip(" :.")


def _copies_on_meta(model: nn.Module, recorder: Recorder) -> dict[str, Tensor]:
    """Parameters and buffers by name, without memory; shared ones once, under their first names."""
    copies: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise SpecError(f"parameter {name!r} has no shape yet; call the model once before tracing it")
        empty = torch.empty_like(parameter, device="meta")
        copies[name] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
        recorder.add_input(copies[name], parameter=name)
    for name, buffer in model.named_buffers():
        copies[name] = torch.empty_like(buffer, device="meta")
        recorder.add_constant(copies[name], buffer)
    return copies


def _parameters(model: nn.Module) -> dict[str, Parameter]:
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {
        name: Parameter(parameter.numel(), parameter.requires_grad, tuple(names[id(parameter)]))
        for name, parameter in model.named_parameters()
    }


@contextmanager
def _dense(model: nn.Module) -> Iterator[None]:
    """Give sparse layers their dense classes back for a while."""
    layers = [(layer, type(layer)) for _, layer in sparse_layers(model)]
    try:
        for layer, _ in layers:
            layer.__class__ = layer.dense_class  # type: ignore[assignment]
        yield
    finally:
        for layer, sparse in layers:
            layer.__class__ = sparse


def _first_floating(output: Any) -> Tensor | None:
    """The first tensor of real numbers in what a model returned, `logits` before all others."""
    if isinstance(output, Tensor):
        return output if output.is_floating_point() else None
    parts: list[Any] = []
    if isinstance(output, Mapping):
        parts = [output.get("logits"), *output.values()]
    elif isinstance(output, tuple | list):
        parts = list(output)
    return next((found for part in parts if (found := _first_floating(part)) is not None), None)
