"""A whole training iteration of a network as a Vitis project, which C-simulation runs several times in a row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from codesign.errors import ExportError
from codesign.spec_errors import printable
from hls.accelerator import files_of, interpret
from hls.config import KernelConfig
from hls.export import Comparison, Content, Loss, Project, Target, make_project
from hls.golden import Array
from hls.iteration.lower import MEAN_LOSS, Iteration, lower_iteration
from hls.iteration.network import Conv, Linear
from hls.program.memory import Bytes
from hw_models.arch import Arch

if TYPE_CHECKING:
    from hls.iteration.torch_run import TorchRun


_TEXTS = {
    "SUBJECT": "a whole training iteration",
    "ORDER": "It runs FF of all layers, the\n"
    "loss, BP and WU, updates all parameters and prunes the next weights. Memory then holds what the next iteration\n"
    "needs: `tb/data/batch2.bin` and so on replace its first words, and the program runs again.",
    "CHECKED": "When the\n"
    "project was exported, losses and weights were held against PyTorch's in FP32, not bit for bit.",
    "LIMITS": "",
}


def export_iteration(arch: Arch, run: TorchRun, target: Target) -> Project:
    """The project of an iteration, with golden data of one on each batch of a run.

    Raises ExportError for what the kernels have no room for, and for gradients that overflow.
    """
    iteration = lower_iteration(arch, run.network, run.training)
    _check_ratios(iteration, run)
    before = iteration.image(run.parameters, *run.batches[0])
    after, losses, data = before.copy(), [], {}
    for number, batch in enumerate(run.batches, 1):
        iteration.put_batch(after, *batch)
        if number > 1:
            data[f"batch{number}.bin"] = iteration.batch(after).tobytes()
        interpret(KernelConfig.of(arch), iteration.program, after)
        losses.append(float(iteration.get(after, MEAN_LOSS)[0]))
    comparison = _compare(iteration, after, losses, run)
    tensors = iteration.memory.tensors.values()
    content = Content(
        iteration.program,
        iteration.memory,
        iteration.passes,
        files_of(iteration.program, before, after, tensors) | data,
        {tensor.name: iteration.get(after, tensor.name).size for tensor in tensors},
        _TEXTS | {"MODEL": printable(run.config.model)},
        f"--iteration RUN --batch {run.config.batch} --iterations {len(run.batches)}",
        {
            "run": run.config.model_dump(mode="json", include={"model", "data", "method", "nm", "seed"}),
            "step": run.step,
            "loss_scale": run.training.loss_scale,
        },
    )
    return replace(make_project(arch, target, content), comparison=comparison)


def _check_ratios(iteration: Iteration, run: TorchRun) -> None:
    """Raise ExportError unless the program has the run's N:M ratios in every pass."""
    for layer, stage in sorted(iteration.ratios.keys() | run.ratios.keys()):
        ours, theirs = (ratios.get((layer, stage)) for ratios in (iteration.ratios, run.ratios))
        if ours != theirs:
            raise ExportError(
                f"layer {layer!r}: {theirs or 'dense'} in {stage.upper()} of the run, expected {ours or 'dense'}; "
                "train without overrides, dense phases and other choices of layers"
            )


def _compare(iteration: Iteration, memory: Bytes, losses: list[float], run: TorchRun) -> Comparison:
    distances = {}
    for layer in run.network.layers:
        if isinstance(layer, Conv | Linear):
            weight = run.trained[layer.name]["weight"]
            distances[layer.name] = _distance(iteration.get(memory, f"{layer.name}/weight"), weight)
    farthest = max(distances, key=distances.__getitem__)
    if not np.isfinite([*distances.values(), *losses]).all():
        raise ExportError(
            f"a gradient overflows FP16 at a loss scale of {run.training.loss_scale:g}: after {len(losses)} "
            f"iterations losses are {losses}, PyTorch's {list(run.losses)}; export the run at another step"
        )
    return Comparison(list(map(Loss, losses, run.losses)), distances[farthest], farthest)


def _distance(found: Array, weight: Array) -> float:
    """Of a weight in memory, (Cout, taps, Cin), from one in torch's layout: relative, in the Euclidean norm."""
    expected = weight.reshape(*weight.shape[:2], -1).swapaxes(1, 2).astype(np.float64)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
