"""Torch networks against their shape descriptions, product by product, and against independent arithmetic."""

from collections import Counter
from math import prod

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy, scaled_dot_product_attention  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from codesign.errors import SpecError  # noqa: E402
from workloads import catalog  # noqa: E402
from workloads.models import build, model_input, names  # noqa: E402
from workloads.models.transformer import attend  # noqa: E402
from workloads.ops import Stage  # noqa: E402
from workloads.training import training_trace  # noqa: E402
from workloads.zoo.transformer import gpt2  # noqa: E402

BATCH = 2
OPTIONS = {"gpt2-small": {"seq_len": 128}, "bert-base": {"seq_len": 64}}
VARIANTS = [
    *((name, OPTIONS.get(name, {})) for name in catalog.names()),
    ("mlp:64x48x32x10", {}),
    ("gpt2-small", {}),
    ("resnet18", {"classes": 7, "input_size": 161}),
    ("resnet50-cifar", {"classes": 100, "input_size": 48}),
    ("resnet9", {"classes": 3, "input_size": 40}),
    ("vgg16", {"input_size": 256}),
    ("vgg19-cifar", {"classes": 100, "input_size": 64}),
    ("vit-tiny", {"classes": 5, "input_size": 96}),
    ("vit-small-cifar", {"classes": 100, "input_size": 64}),
]


class GemmRecorder(TorchDispatchMode):
    """Counts the matrix products that torch executes, as (module, i, k, j, count)."""

    def __init__(self, net):
        super().__init__()
        self.seen = Counter()
        self.inside = [""]
        for name, module in net.named_modules():
            module.register_forward_pre_hook(lambda *_, name=name: self.inside.append(name))
            module.register_forward_hook(lambda *_: self.inside.pop() and None)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        operation = func.overloadpacket.__name__
        if operation == "convolution":
            weight, groups = args[1], args[8]
            cout, cin, *kernel = weight.shape
            self.count(out.numel() // cout, cin * prod(kernel), cout // groups, groups)
        elif operation in ("mm", "addmm"):
            a, b = args[-2:]
            self.count(a.shape[0], a.shape[1], b.shape[1], 1)
        elif operation == "bmm":
            a, b = args
            self.count(a.shape[1], a.shape[2], b.shape[2], a.shape[0])
        else:
            assert not any(
                word in operation for word in ("conv", "mm", "linear", "matmul", "attention", "dot")
            )
        return out

    def count(self, *gemm):
        self.seen[self.inside[-1], *gemm] += 1


def recorded_gemms(name, **options):
    """Products of the forward pass on the meta device, and the network."""
    with torch.device("meta"):
        net = build(name, **options)
        sizes = {size: value for size, value in options.items() if size in ("input_size", "seq_len")}
        shape, tokens = model_input(name, **sizes)
        x = torch.zeros(BATCH, *shape, dtype=torch.int64 if tokens else torch.float32)
        with GemmRecorder(net) as recorder:
            net(x)
    return recorder.seen, net


def expected_gemms(trace):
    """FF products of a trace; those of an attention are listed under the module that does both."""
    gemms = Counter()
    for op in trace.gemms(Stage.FF):
        module = op.layer.removesuffix(".scores").removesuffix(".context")
        gemms.update((module, gemm.i, gemm.k, gemm.j, gemm.count) for gemm in op.gemms)
    return gemms


def count_parameters(net):
    return sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_products_and_parameters_are_those_of_the_catalog(name, options):
    trace = catalog.load(name, batch=BATCH, **options)
    gemms, net = recorded_gemms(name, **options)
    assert gemms == expected_gemms(trace)
    assert count_parameters(net) == trace.params


@pytest.mark.parametrize(
    ("name", "width", "heads", "depth", "published"),
    [
        # minGPT: 12 x depth x width^2 and 13 x depth x width in the blocks, 2 x width at the end, then
        # (50,257 + 1,024) x width embeddings; the head is tied.
        ("gpt-nano", 48, 3, 3, 12 * 3 * 48**2 + 13 * 3 * 48 + 2 * 48 + 51_281 * 48),
        ("gpt-micro", 128, 4, 4, 12 * 4 * 128**2 + 13 * 4 * 128 + 2 * 128 + 51_281 * 128),
        ("gpt-mini", 192, 6, 6, 12 * 6 * 192**2 + 13 * 6 * 192 + 2 * 192 + 51_281 * 192),
    ],
)
def test_small_gpts(name, width, heads, depth, published):
    trace = training_trace(gpt2(BATCH, width=width, heads=heads, depth=depth, seq_len=32), name)
    gemms, net = recorded_gemms(name, seq_len=32)
    assert gemms == expected_gemms(trace)
    assert count_parameters(net) == trace.params == published


def test_vocabulary():
    net = build("gpt-nano", vocab=97)
    assert net(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 5, 97)
    assert net.lm_head.weight is net.wte.weight
    with torch.device("meta"):
        assert build("bert-base", vocab=1000).embeddings.word.num_embeddings == 1000


def test_every_catalog_network_can_be_trained():
    assert set(catalog.names()) <= set(names())
    assert list(names()) == sorted(names())


def test_model_input():
    assert model_input("vit-tiny-cifar") == ((3, 32, 32), False)
    assert model_input("resnet18", input_size=64) == ((3, 64, 64), False)
    assert model_input("mlp") == ((784,), False)
    assert model_input("gpt-mini") == ((128,), True)
    assert model_input("bert-base", seq_len=7) == ((7,), True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "resnet_18",
            {},
            r"unknown network 'resnet_18', did you mean \"resnet18\"; expected mlp:AxB or one of",
        ),
        ("gemm:8x8x8", {}, "unknown network 'gemm:8x8x8'"),
        ("net.onnx", {}, "unknown network"),
        ("mlp:8", {}, "got 1 sizes, expected mlp: and at least two sizes"),
        ("mlp:8x0", {}, "expected sizes from 1"),
        ("mlp", {"classes": 3}, "'mlp' does not take classes; it takes no size options"),
        ("resnet9", {"vocab": 3}, r"'resnet9' does not take vocab; it takes \['classes', 'input_size'\]"),
        ("gpt-mini", {"classes": 3}, r"does not take classes; it takes \['seq_len', 'vocab'\]"),
        ("gpt-mini", {"vocab": 0}, "vocab 0: expected an integer from 1 to 16777216"),
        ("resnet9", {"classes": -1}, "classes -1: expected an integer from 1"),
        ("gpt-mini", {"seq_len": 1025}, "1024 trained positions"),
        ("vgg16-cifar", {"input_size": 16}, "is empty; use a larger input"),
        ("vit-tiny", {"input_size": 100}, "multiple of the patch size 16"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(SpecError, match=message) as error:
        build(name, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_that_of_torch(causal):
    torch.manual_seed(1)
    q, k, v = torch.randn(3, 2, 7, 24, dtype=torch.float64)  # (B, T, D) each
    split = [x.view(2, 7, 3, 8).transpose(1, 2) for x in (q, k, v)]  # three heads
    expected = scaled_dot_product_attention(*split, is_causal=causal).transpose(1, 2).reshape(2, 7, 24)
    torch.testing.assert_close(attend(q, k, v, heads=3, causal=causal), expected)


def test_gpt_cannot_see_later_tokens():
    torch.manual_seed(1)
    net = build("gpt-nano", vocab=20)
    ids = torch.randint(20, (1, 12))
    changed = ids.clone()
    changed[0, 8:] = (changed[0, 8:] + 1) % 20
    before, after = net(ids), net(changed)
    torch.testing.assert_close(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8], after[:, 8])


@pytest.mark.parametrize(
    "name", ["resnet9", "resnet50-cifar", "vgg16-cifar", "vit-tiny-cifar", "mlp:3072x64x4"]
)
def test_one_step_learns(name):
    """Every parameter gets a gradient, and a small step against it lowers the loss by about what it predicts."""
    torch.manual_seed(1)
    net = build(name, **({} if name.startswith("mlp") else {"classes": 4}))
    x, y = torch.randn(4, 3, 32, 32), torch.arange(4)
    loss = cross_entropy(net(x), y)
    loss.backward()
    squares = [weight.grad.square().sum() for weight in net.parameters()]
    assert all(square > 0 for square in squares[-2:])
    assert all(weight.grad is not None for weight in net.parameters())
    step = 1e-2 * loss.item() / sum(squares).item()  # first order: one per cent of the loss
    with torch.no_grad():
        for weight in net.parameters():
            weight -= step * weight.grad
    drop = (loss - cross_entropy(net(x), y)).item()
    assert 0.5 < drop / (1e-2 * loss.item()) < 1.5
