"""RTL operators and vector lanes against numpy: every result bit for bit, NaNs as the one quiet NaN of the RTL."""

from pathlib import Path

import numpy as np
import pytest

from codesign.nm.format import NM
from hls.rtl_bench import blocks as rtl_blocks
from hls.rtl_bench import build as rtl_build
from hls.rtl_bench import checks as rtl_checks
from hls.rtl_bench.checks import CHECKS, Run

pytestmark = pytest.mark.skipif(not rtl_build.available(), reason="needs verilator, g++ and make")

CACHE = Path(__file__).parent.parent / "build" / "rtl"


@pytest.fixture(scope="module")
def run() -> Run:
    return rtl_checks.bench(rtl_blocks.program(CACHE))


@pytest.mark.parametrize("name", ["half product", "sum", "product", "tiny product", "half"])
def test_an_operator_rounds_as_numpy_does(run: Run, name: str) -> None:
    assert CHECKS[name](run) == 0


@pytest.mark.parametrize("weight_decay", [0.0, 5e-4])
@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_wuve_rounds_each_operation_as_numpy_does(run: Run, scale: float, weight_decay: float) -> None:
    assert rtl_checks.wuve(run, scale, weight_decay) == 0


def test_wuve_is_torch_sgd(run: Run) -> None:
    """Rates are powers of two: products are exact, so it does not matter that torch may fuse multiply-adds."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    gradients = rng.standard_normal((3, 500)).astype("<f2")
    w, m = rng.standard_normal(500).astype("<f4"), np.zeros(500, "<f4")
    parameter = torch.nn.Parameter(torch.tensor(w))
    sgd = torch.optim.SGD([parameter], lr=2**-4, momentum=0.5, weight_decay=2**-10)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient.astype("<f4"))
        sgd.step()
        out = rtl_checks.update(run, w, m, gradient, learning_rate=2**-4, momentum=0.5, weight_decay=2**-10)
        w, m = out["weight"].view("<f4"), out["momentum"].view("<f4")
    assert np.array_equal(w, parameter.detach().numpy())


RATIOS = [NM(1, 1), NM(1, 2), NM(2, 4), NM(2, 8), NM(3, 7), NM(8, 8), NM(2, 16), NM(8, 16)]


@pytest.mark.parametrize("idle", [0.0, 0.3])
@pytest.mark.parametrize("nm", RATIOS, ids=str)
def test_sore_keeps_what_the_format_says(run: Run, nm: NM, idle: float) -> None:
    assert rtl_checks.sore(run, nm, idle) == 0
