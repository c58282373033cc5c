"""Whole training iterations as programs: what they compute, against PyTorch, and bit for bit in C-simulation."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hls_builds import CACHE
from hls_networks import (
    CNN,
    MLP,
    RESNET,
    RESNET9,
    SKIPS,
    TRAINING,
    InTorch,
    batch_for,
    digits,
    filters,
    parameters_of,
    small_arch,
)
from hls_recomputed import Recomputed

from codesign.compute.optimizers import SGD
from codesign.errors import ExportError, SpecError
from codesign.functional import ScheduledOrders
from codesign.nm.format import NM
from hls.config import KernelConfig
from hls.iteration.lower import MEAN_LOSS, Iteration, Training, lower_iteration
from hls.iteration.network import INPUT, Add, BatchNorm, Conv, Flatten, Linear, Network
from hls.program.capacity import config_header
from hls.program.machine import Machine
from hls.program.vector_operations import execute
from hls.toolchain import Toolchain, run
from hw_models.arch import load_arch
from workloads.catalog import load
from workloads.ops import VectorOp
from workloads.sparsity import apply_method
from workloads.training import training_trace

ARCH = small_arch(8, lanes=16)
NETWORKS = [MLP, CNN, RESNET]

networks = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
compiled = pytest.mark.skipif(not Toolchain.default().available, reason="no C++ compiler")


def interpret(iteration: Iteration, memory) -> None:
    """Run an iteration in the interpreter."""
    Machine(KernelConfig.of(ARCH), memory, execute).run(iteration.program)


def off(got, expected) -> float:
    """Relative distance in the Euclidean norm."""
    expected = np.asarray(expected, np.float64)
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


# -- against PyTorch -----------------------------------------------------------------------------------------------

# PyTorch computes in FP32 from the same FP16 images and weights. If it rounds to FP16 what the accelerator stores,
# gradients differ by their own rounding, 2^-11 of themselves, and by activations that other sums round the other way.
STORES = 2.0**-9
# If it does not, results differ by the roundings of ten to twenty operations in a row. The errors of many elements
# are independent and add up as the root of their number, to a few 2^-11.
ROUNDS = 6 * 2.0**-11
# And a ReLU whose input is that near to zero may pass in one and not in the other, and of two pixels another one may
# be the maximum. Behind a normalisation, inputs lie around zero: it happens to a share of about 2^-11, and the
# gradient is off by the root of it, 2^-5.5, three times in a row. Sums that cancel, those of a normalisation's
# parameters, are farther off.
SWITCHES = 2.0**-3


@pytest.mark.parametrize(
    ("network", "stores", "tolerance"),
    [
        (MLP, True, STORES),
        (MLP, False, ROUNDS),
        (CNN, True, STORES),
        (CNN, False, SWITCHES),
        (SKIPS, True, STORES),
        (RESNET, True, STORES),
        (RESNET, False, SWITCHES),
    ],
    ids=["mlp-fp16", "mlp-fp32", "cnn-fp16", "cnn-fp32", "skips-fp16", "resnet-fp16", "resnet-fp32"],
)
def test_iterations_are_those_of_pytorch(network: Network, stores: bool, tolerance: float) -> None:
    """Two of them, PyTorch's second one from the weights that the first one left in memory."""
    iteration = lower_iteration(ARCH, network, TRAINING)
    parameters = parameters_of(network)
    torch_training = InTorch(network, TRAINING, parameters, stores)
    memory = iteration.image(parameters, *digits(16))
    for step in range(2):
        images, labels = digits(16, 16 * step)
        iteration.put_batch(memory, images, labels)
        before = {name: iteration.get(memory, name).copy() for name in torch_training.leaves}
        for name, values in before.items():
            torch_training.take(name, values, iteration.get(memory, f"{name}_velocity"))
        loss = torch_training.step(images, labels)
        interpret(iteration, memory)
        assert iteration.get(memory, MEAN_LOSS)[0] == pytest.approx(loss, rel=1e-4)
        for name, leaf in torch_training.leaves.items():
            gradient = iteration.get(memory, f"{name}_gradient").astype(np.float64) / TRAINING.loss_scale
            assert off(gradient, filters(leaf.grad.numpy())) < tolerance, name
            moved = iteration.get(memory, name) - before[name]
            assert off(moved, filters(leaf.detach().numpy()) - before[name]) < tolerance + 1e-4, name
        for name, running in torch_training.running.items():
            statistics = iteration.get(memory, f"{name}/statistics")[2:, : running.shape[1]]
            assert off(statistics, running.numpy()) < ROUNDS


def test_training_learns() -> None:
    iteration = lower_iteration(ARCH, MLP, replace(TRAINING, rule=SGD(0.05, 0.9), smoothing=0.0))
    memory = iteration.image(parameters_of(MLP), *digits(16))
    losses = []
    for _ in range(80):
        interpret(iteration, memory)
        losses.append(float(iteration.get(memory, MEAN_LOSS)[0]))
    assert losses[0] == pytest.approx(np.log(10), rel=0.1)
    assert losses[-1] < losses[0] / 2


# -- bit for bit ---------------------------------------------------------------------------------------------------


def test_the_operations_are_those_of_the_named_network() -> None:
    named, ours = load("resnet9", batch=4), training_trace(RESNET9.graph(4)[0], "resnet9")

    def work(trace):
        gemms = Counter((op.stage, op.gemms) for op in trace.gemms())
        return gemms, Counter((op.kind, op.operations) for op in trace.ops if isinstance(op, VectorOp))

    assert work(ours) == work(named)


@networks
def test_products_and_updates_are_those_of_the_schedule(network: Network) -> None:
    iteration = lower_iteration(ARCH, network, TRAINING)
    memory = iteration.image(parameters_of(network), *digits(16))
    trace, _ = apply_method(training_trace(network.graph(16)[0], network.name), "bdwp", TRAINING.nm)
    orders = ScheduledOrders.of(ARCH, trace)
    for _ in range(2):  # the second on weights that the first one pruned
        before = memory.copy()
        interpret(iteration, memory)
        for layer in network.layers:
            if isinstance(layer, Conv | Linear):
                Recomputed(iteration, layer, before, memory).check(orders, TRAINING)


def check_in_c_simulation(
    toolchain: Toolchain, arch, network: Network, training: Training, folder: Path
) -> None:
    """Two iterations on two batches, the second on the weights of the first; all of memory is compared."""
    config, size = KernelConfig.of(arch), training.batch
    program = toolchain.build(["tb/sat_tb.cpp", "kernels/sat.cpp"], config_header(config), CACHE)
    iteration = lower_iteration(arch, network, training)
    memory = iteration.image(parameters_of(network), *batch_for(network, size))
    (folder / "program.bin").write_bytes(iteration.program.to_bytes())
    (folder / "tensors.txt").write_text("")  # mismatches are words of memory
    for step in range(2):
        iteration.put_batch(memory, *batch_for(network, size, step * size))
        (folder / "memory.bin").write_bytes(memory)
        Machine(config, memory, execute).run(iteration.program)
        (folder / "expected.bin").write_bytes(memory)
        assert "all match" in run(program, folder)


@compiled
@networks
def test_c_simulation_agrees_in_all_of_memory(network: Network, tmp_path: Path) -> None:
    check_in_c_simulation(Toolchain.default(), ARCH, network, TRAINING, tmp_path)


OUTPUT_STATIONARY = {"array.dataflows": ["os"], "optimizations.fixed_dataflow": "os"}


@compiled
@pytest.mark.slow
@networks
@pytest.mark.parametrize(
    "arch",
    [small_arch(4, lanes=8), small_arch(16, lanes=32), small_arch(8, lanes=16, **OUTPUT_STATIONARY)],
    ids=["4x4", "16x16", "os"],
)
def test_other_accelerators(arch, network: Network, tmp_path: Path) -> None:
    training = replace(TRAINING, nm=NM(2, 4), batch=5, rule=SGD(0.05))
    check_in_c_simulation(Toolchain.default(), arch, network, training, tmp_path)


@compiled
@pytest.mark.slow
def test_resnet9_on_the_packaged_accelerator(tmp_path: Path) -> None:
    training = Training(batch=2, rule=SGD(0.01, 0.9), nm=NM(2, 8), loss_scale=1024.0)
    check_in_c_simulation(Toolchain.default(), load_arch("sat.yaml"), RESNET9, training, tmp_path)


@compiled
@pytest.mark.slow
@networks
def test_with_sanitizers(network: Network, tmp_path: Path) -> None:
    toolchain = replace(Toolchain.default(), sanitize=True)
    check_in_c_simulation(toolchain, ARCH, network, replace(TRAINING, batch=3), tmp_path)


# -- what is refused -----------------------------------------------------------------------------------------------


def test_networks_that_do_not_fit_are_refused() -> None:
    def lower(*layers) -> None:
        lower_iteration(ARCH, Network("x", (1, 8, 8), layers), TRAINING)

    with pytest.raises(SpecError, match=r"layer 'sum' adds layer 'c', expected one of: input, conv"):
        lower(Conv("conv", 8), Add("sum", "c"))
    with pytest.raises(SpecError, match="cannot add"):
        lower(Conv("conv", 8), Add("sum", INPUT))
    with pytest.raises(ExportError, match="bn: BATCH_NORM of 100 channels, the vector unit has room for 64"):
        lower(Conv("conv", 100), BatchNorm("bn"), Flatten("flatten"))
    with pytest.raises(ExportError, match="loss: CROSS_ENTROPY of 6400 channels"):
        lower(Conv("conv", 100), Flatten("flatten"))


def test_parameters_and_batches_of_another_size_are_refused() -> None:
    iteration, parameters = lower_iteration(ARCH, MLP, TRAINING), parameters_of(MLP)
    with pytest.raises(
        ExportError, match=r"tensor 'input' of shape \(15, 8, 8, 1\), expected \(16, 8, 8, 1\)"
    ):
        iteration.image(parameters, *digits(15))
    parameters["fc2"]["bias"] = np.zeros(7, np.float32)
    with pytest.raises(ExportError, match=r"layer 'fc2': parameter 'bias' of shape \(7,\), expected \(16,\)"):
        iteration.image(parameters, *digits(16))
