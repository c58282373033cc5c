"""The vector unit's kernels, compiled with g++, against `codesign.compute`: all of memory, bit for bit."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.compute.vector_loss import LossConstants
from codesign.compute.vector_norm import NormConstants
from codesign.compute.vector_unit import Window
from codesign.errors import ExportError
from hls.config import KernelConfig
from hls.program.encoding import encode
from hls.program.instruction import Vector
from hls.program.memory import MemoryMap
from hls.program.vector_capacity import check_vector
from hls.program.vector_operations import VectorOp, execute, real_parameters, window_parameters
from hls.toolchain import HLS, Toolchain, run
from hw_models.arch import load_arch

CACHE = Path(__file__).parent.parent / "build" / "hls"
SAT = KernelConfig.of(load_arch("sat.yaml"))
# Tiles of 984 and 216 elements, spans of 32 channels: every loop over them takes several turns.
SMALL = replace(SAT, vector_lanes=8, vector_depth=1024)

pytestmark = pytest.mark.skipif(not Toolchain.default().available, reason="no C++ compiler")

KINDS = ("random", "ties", "cancelling", "special")
SPECIAL = np.array([0, 0x8000, 1, 0x3C00, 0xBC00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0xFE01], np.uint16)


class Cases:
    """VECTOR instructions, each with a memory of its own, which everything but its operands fills with noise."""

    def __init__(self, seed: int = 1) -> None:
        self.generator = np.random.default_rng(seed)
        self.data = bytearray()
        self.count = 0

    def halves(self, *shape: int, kind: str = "random") -> np.ndarray:
        """FP16 operands: `random`, `ties` (few values), `cancelling` (sums depend on their order) or `special`."""
        if kind == "ties":
            return self.generator.integers(-2, 3, shape).astype(np.float16)
        values = self.generator.standard_normal(shape).astype(np.float16)
        if kind == "cancelling":
            large = self.generator.choice(np.float16([-32768, 32768]), shape)
            return np.where(self.generator.random(shape) < 0.5, large, values / 512)
        if kind == "special":
            special = self.generator.choice(SPECIAL, shape).view(np.float16)
            return np.where(self.generator.random(shape) < 0.3, special, values)
        return values

    def floats(self, *shape: int) -> np.ndarray:
        """FP32 operands."""
        return self.generator.standard_normal(shape).astype(np.float32)

    def add(self, op: VectorOp, rows: int, channels: int, results: dict, parameters=None, **operands) -> None:
        """`results` has the number of halves of every tensor that is only written."""
        memory_map = MemoryMap()
        for name, size in results.items():
            memory_map.add(name, (size,), "uint16")
        for name, values in operands.items():
            memory_map.add(name, values.shape, values.dtype.name)
        memory = self.generator.integers(0, 256, memory_map.words * 64, np.uint8)
        for name, values in operands.items():
            memory_map.tensors[name].of(memory)[...] = values
        addresses = {name: tensor.address for name, tensor in memory_map.tensors.items()}
        vector = Vector(op=op, rows=rows, channels=channels, **addresses, **(parameters or {}))
        check_vector(SMALL, vector, "test")
        self.data += encode(vector) + memory_map.words.to_bytes(4, "little") + memory.tobytes()
        execute(vector, memory)
        self.data += memory.tobytes()
        self.count += 1

    def check(self, config: KernelConfig, tmp_path: Path) -> None:
        """Run them all in C-simulation."""
        golden = tmp_path / "golden.bin"
        golden.write_bytes(self.data)
        program = Toolchain.default().build(["tb/vector_tb.cpp"], config.header(), CACHE)
        assert run(program, golden) == f"{self.count} cases\n"


both = pytest.mark.parametrize("config", [SMALL, SAT], ids=["small", "sat"])


@both
def test_element_by_element(config: KernelConfig, tmp_path: Path) -> None:
    cases = Cases()
    for rows, channels in [(1, 1), (3, 10), (31, 64), (7, 331)]:
        for kind in KINDS:
            x, y = (cases.halves(rows, channels, kind=kind) for _ in range(2))
            out = {"out": x.size}
            cases.add(VectorOp.RELU, rows, channels, out, x=x)
            cases.add(VectorOp.RELU_BACKWARD, rows, channels, out, x=x, y=y)
            cases.add(VectorOp.ADD, rows, channels, out, x=x, y=y)
    cases.check(config, tmp_path)


@both
def test_column_sums(config: KernelConfig, tmp_path: Path) -> None:
    cases = Cases()
    for rows, channels in [(1, 1), (1, 96), (5, 10), (16, 32), (17, 24), (500, 3), (130, 96), (20, 1056)]:
        for kind in KINDS:
            x = cases.halves(rows, channels, kind=kind)
            cases.add(VectorOp.COLUMN_SUM, rows, channels, {"out": channels}, x=x)
    cases.check(config, tmp_path)


POOLS = [
    (Window((2, 2), (2, 2)), (8, 6), 8),
    (Window((3, 3), (2, 2), (1, 1)), (7, 9), 5),
    (Window((3, 2), (1, 3), (1, 0)), (6, 11), 27),
    (Window((6, 5), (1, 1)), (6, 5), 32),  # global
    (Window((1, 1), (2, 3)), (5, 8), 10),  # pixels that no window sees
    (Window((3, 3), (1, 1), (1, 1)), (5, 7), 96),  # SMALL has room for fewer channels
]


@both
@pytest.mark.parametrize(("window", "image", "channels"), POOLS, ids=str)
def test_pooling(config: KernelConfig, window: Window, image, channels: int, tmp_path: Path) -> None:
    cases, samples, out = Cases(), 2, window.out_size(image)
    forward, backward = window_parameters(window, image, out), window_parameters(window, out, image)
    inputs, outputs = samples * image[0] * image[1] * channels, samples * out[0] * out[1] * channels
    for kind in KINDS:
        x = cases.halves(samples, *image, channels, kind=kind)
        dy = cases.halves(samples, *out, channels, kind=kind)
        taken = cases.generator.integers(0, window.taps, dy.shape).astype(np.uint16)
        both_out = {"out": outputs, "out2": outputs}
        cases.add(VectorOp.MAX_POOL, samples, channels, both_out, forward, x=x)
        cases.add(VectorOp.MAX_POOL_BACKWARD, samples, channels, {"out": inputs}, backward, x=dy, y=taken)
        cases.add(VectorOp.AVG_POOL, samples, channels, {"out": outputs}, forward, x=x)
        cases.add(VectorOp.AVG_POOL_BACKWARD, samples, channels, {"out": inputs}, backward, x=dy)
    cases.check(config, tmp_path)


@both
def test_cross_entropy(config: KernelConfig, tmp_path: Path) -> None:
    cases = Cases()
    sizes = [(1, classes, 0.1) for classes in range(2, 40)]
    for rows, classes, smoothing in [*sizes, (20, 10, 0.1), (37, 17, 0), (3, 900, 0.5)]:
        labels = cases.generator.integers(0, classes, rows).astype(np.uint32)
        parameters = real_parameters(LossConstants.of(rows, classes, 1024.0, smoothing))
        for scale in (1, 30, 3000):  # the last: probabilities of 0 and 1
            x = (cases.halves(rows, classes) * scale).astype(np.float16)
            results = {"out": x.size, "out2": 2}
            cases.add(VectorOp.CROSS_ENTROPY, rows, classes, results, parameters, x=x, y=labels)
    cases.check(config, tmp_path)


@both
def test_batch_norm(config: KernelConfig, tmp_path: Path) -> None:
    cases = Cases()
    for rows, channels in [(2, 1), (40, 10), (33, 24), (300, 64), (17, 96)]:
        x, dy = cases.halves(rows, channels), cases.halves(rows, channels)
        x[:, 0] = 3  # no variance
        scale, shift = cases.floats(2, channels)
        statistics = np.abs(cases.floats(4, -(-channels // 16) * 16))
        constants = NormConstants.of(rows)
        parameters, tensors = real_parameters(constants), {"x": x, "y": scale, "z": shift, "out2": statistics}
        cases.add(VectorOp.BATCH_NORM, rows, channels, {"out": x.size}, parameters, **tensors)
        results = {
            "p1": channels,
            "p2": channels,
            "out": x.size,
        }  # addresses of dscale and dshift are parameters
        parameters, tensors = (
            real_parameters([constants.inverse]),
            {"x": x, "y": dy, "z": scale, "out2": statistics},
        )
        cases.add(VectorOp.BATCH_NORM_BACKWARD, rows, channels, results, parameters, **tensors)
    cases.check(config, tmp_path)


@pytest.mark.parametrize(
    ("op", "channels", "least"),
    [(VectorOp.COLUMN_SUM, 33, 32), (VectorOp.CROSS_ENTROPY, 1024, 984), (VectorOp.BATCH_NORM, 40, 32)],
)
def test_channels_that_do_not_fit_are_refused(op: VectorOp, channels: int, least: int) -> None:
    check_vector(SMALL, Vector(op=op, rows=2, channels=least), "fc")
    with pytest.raises(ExportError, match=f"fc: {op.name} of {channels} channels.*room for {least}"):
        check_vector(SMALL, Vector(op=op, rows=2, channels=channels), "fc")


def test_pooling_that_does_not_fit_is_refused() -> None:
    window = Window((7, 7), (1, 1))
    parameters = window_parameters(window, (7, 7), (1, 1))
    for channels in (20, 512):  # 984 / 49 = 20.08; 512 would be cut, but not even 32 fit
        vector = Vector(op=VectorOp.AVG_POOL, rows=1, channels=channels, **parameters)
        if channels == 20:
            check_vector(SMALL, vector, "pool")
        else:
            with pytest.raises(ExportError, match=r"pool: AVG_POOL of 512 channels.*room for 20"):
                check_vector(SMALL, vector, "pool")
        check_vector(SAT, vector, "pool")


def test_imagenet_fits_the_packaged_accelerator() -> None:
    stem, vgg, last = Window((3, 3), (2, 2), (1, 1)), Window((2, 2), (2, 2)), Window((7, 7), (1, 1))
    for op, channels, parameters in [
        (VectorOp.MAX_POOL, 64, window_parameters(stem, (112, 112), (56, 56))),
        (VectorOp.MAX_POOL_BACKWARD, 64, window_parameters(stem, (56, 56), (112, 112))),
        (VectorOp.MAX_POOL, 64, window_parameters(vgg, (224, 224), (112, 112))),
        (VectorOp.AVG_POOL_BACKWARD, 2048, window_parameters(last, (1, 1), (7, 7))),
        (VectorOp.BATCH_NORM, 2048, {}),
        (VectorOp.COLUMN_SUM, 4096, {}),
        (VectorOp.CROSS_ENTROPY, 1000, {}),
    ]:
        check_vector(SAT, Vector(op=op, rows=64, channels=channels, **parameters), op.name)


def test_operations_have_the_same_numbers_in_python_and_cpp() -> None:
    source = (HLS / "kernels" / "vector_tile.hpp").read_text()
    (body,) = re.findall(r"enum VectorOp : uint32_t \{(.*?)\}", source, re.DOTALL)
    assert {name: int(number) for name, number in re.findall(r"(\w+) = (\d+)", body)} == {
        op.name: op.value for op in VectorOp
    }


def test_a_wrong_result_is_noticed(tmp_path: Path) -> None:
    cases = Cases()
    cases.add(VectorOp.RELU, 1, 40, {"out": 40}, x=cases.halves(1, 40))
    cases.data[-70] ^= 1
    with pytest.raises(ExportError, match=r"status 1.*case 0, operation 0: word 2, lane 14"):
        cases.check(SMALL, tmp_path)
