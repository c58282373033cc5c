"""Small networks for the exported accelerator, real images for them, and the same training in PyTorch."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from codesign.compute.optimizers import SGD
from codesign.nm.format import NM
from codesign.nm.reference import prune
from hls.iteration.lower import Training
from hls.iteration.network import Add, BatchNorm, Conv, Flatten, Linear, Network, Pool, ReLU
from hw_models.arch import load_arch

torch.set_num_threads(1)

MLP = Network(
    "mlp",
    (1, 8, 8),
    (
        Flatten("flatten"),
        Linear("fc1", 32),
        ReLU("relu1"),
        Linear("fc2", 16),
        ReLU("relu2"),
        Linear("fc3", 10),
    ),
)
CNN = Network(
    "cnn",
    (1, 8, 8),
    (
        Conv("conv1", 16),
        ReLU("relu1"),
        Conv("conv2", 16),
        ReLU("relu2"),
        Pool("pool", "maxpool", 2, 2),
        Flatten("flatten"),
        Linear("fc", 10),
    ),
)
RESNET = Network(
    "resnet",
    (1, 8, 8),
    (
        Conv("stem", 16, bias=False),
        BatchNorm("bn1"),
        ReLU("relu1"),
        Conv("conv2", 32, stride=2, bias=False),
        BatchNorm("bn2"),
        ReLU("relu2"),
        Conv("conv3", 32, bias=False),
        BatchNorm("bn3"),
        Add("add", "relu2"),
        ReLU("relu3"),
        Pool("pool", "avgpool", 4, 4),
        Flatten("flatten"),
        Linear("fc", 10),
    ),
)
SKIPS = Network(  # three layers use relu's output, and two that of add1
    "skips",
    (1, 8, 8),
    (
        Conv("conv1", 16),
        ReLU("relu"),
        Conv("conv2", 16),
        Add("add1", "relu"),
        Conv("conv3", 16),
        Add("add2", "relu"),
        Pool("pool", "avgpool", 4, 2, 1),
        Flatten("flatten"),
        Linear("fc", 10),
    ),
)


def _norm_relu(conv: Conv) -> tuple[object, ...]:
    return conv, BatchNorm(f"{conv.name}_bn"), ReLU(f"{conv.name}_relu")


def _residual(name: str, width: int, source: str) -> tuple[object, ...]:
    inner = (
        *_norm_relu(Conv(f"{name}a", width, bias=False)),
        *_norm_relu(Conv(f"{name}b", width, bias=False)),
    )
    return *inner, Add(name, source)


RESNET9 = Network(  # workloads.models.resnet.ResNet9
    "resnet9",
    (3, 32, 32),
    (
        *_norm_relu(Conv("prep", 64, bias=False)),
        *_norm_relu(Conv("layer1", 128, bias=False)),
        Pool("layer1_pool", "maxpool", 2, 2),
        *_residual("residual1", 128, "layer1_pool"),
        *_norm_relu(Conv("layer2", 256, bias=False)),
        Pool("layer2_pool", "maxpool", 2, 2),
        *_norm_relu(Conv("layer3", 512, bias=False)),
        Pool("layer3_pool", "maxpool", 2, 2),
        *_residual("residual3", 512, "layer3_pool"),
        Pool("pool", "maxpool", 4, 4),
        Flatten("flatten"),
        Linear("fc", 10, bias=False),
    ),
)
TRAINING = Training(batch=16, rule=SGD(0.1, 0.9, 1e-3), nm=NM(2, 8), loss_scale=128.0, smoothing=0.1)


def small_arch(size: int, lanes: int, **overrides: object):
    """SAT with a `size` x `size` array and buffers so small that most work takes several tiles."""
    sizes: dict[str, object] = {"array.rows": size, "array.cols": size, "vector_unit.lanes": lanes}
    for name in ("activation", "weight", "output"):
        sizes |= {f"buffers.{name}.capacity_bytes": size * 2048, f"buffers.{name}.banks": size}
    sizes["buffers.vector.capacity_bytes"] = lanes * 4096
    return load_arch("sat.yaml").with_overrides(sizes | overrides)


def digits(batch: int, first: int = 0):
    """Real images (B, 1, 8, 8) of digits, about centred, and their classes."""
    data, chosen = load_digits(), slice(first, first + batch)
    return (data.images[chosen, np.newaxis] / 16 - 0.3).astype(np.float32), data.target[chosen]


def batch_for(network: Network, batch: int, first: int = 0):
    """Digits or, for networks that want other images, random ones."""
    if network.image == (1, 8, 8):
        return digits(batch, first)
    generator = np.random.default_rng(first)
    images = generator.standard_normal((batch, *network.image)).astype(np.float32)
    return images, generator.integers(0, 10, batch)


def parameters_of(network: Network, seed: int = 0):
    """Initial parameters as PyTorch's layers have them: uniform, +- 1 / sqrt(fan-in)."""
    generator = np.random.default_rng(seed)
    _, nodes = network.graph(1)
    parameters = {}
    for layer in network.layers:
        node = nodes[layer.name]
        if kernel := node.kernel:
            size = kernel.size if isinstance(layer, Conv) else ()
            bound = (kernel.cin * kernel.taps) ** -0.5
            shapes = {"weight": (kernel.cout, kernel.cin, *size), "bias": (kernel.cout,)}
            parameters[layer.name] = {
                name: generator.uniform(-bound, bound, shape).astype(np.float32)
                for name, shape in shapes.items()
                if name == "weight" or layer.bias
            }
        elif isinstance(layer, BatchNorm):
            ones = np.ones(node.shape[1], np.float32)
            parameters[layer.name] = {"weight": ones, "bias": 0 * ones}
    return parameters


def filters(w):
    """A parameter as memory holds it."""
    return w.reshape(*w.shape[:2], -1).swapaxes(1, 2) if w.ndim > 1 else w


class Stored(torch.autograd.Function):
    """Rounds an activation to FP16, and its gradient after loss scaling."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.half().float()

    @staticmethod
    def backward(ctx, g):
        return (g * ctx.scale).half().float() / ctx.scale, None


class InTorch:
    """A training in FP32 with weights pruned from FP16: BDWP in plain autograd.

    `stores`: activations and their gradients are rounded to FP16 after each layer.
    """

    def __init__(self, network: Network, training: Training, parameters, stores: bool = False) -> None:
        self.network, self.training, self.stores = network, training, stores
        self.leaves = {
            f"{layer}/{name}": torch.from_numpy(values.copy()).requires_grad_()
            for layer, tensors in parameters.items()
            for name, values in tensors.items()
        }
        self.running = {
            layer.name: torch.stack([torch.zeros(size), torch.ones(size)])
            for layer in network.layers
            if isinstance(layer, BatchNorm)
            for size in [len(parameters[layer.name]["weight"])]
        }
        rule, leaves = training.rule, self.leaves.values()
        groups = [
            {"params": [leaf for leaf in leaves if leaf.ndim > 1], "weight_decay": rule.weight_decay},
            {"params": [leaf for leaf in leaves if leaf.ndim == 1]},  # biases and norms do not decay
        ]
        self.optimizer = torch.optim.SGD(groups, rule.lr, rule.momentum)

    def take(self, name: str, values, velocity) -> None:
        """Go on from these values of a parameter, in memory's layout."""
        leaf = self.leaves[name]
        buffer = self.optimizer.state[leaf].setdefault("momentum_buffer", torch.zeros_like(leaf))
        for target, source in ((leaf.detach(), values), (buffer, velocity)):
            filters(target)[...] = torch.from_numpy(source.copy())

    def step(self, images, labels) -> float:
        """One iteration; returns the loss. Gradients stay until the next one."""
        self.optimizer.zero_grad()
        x, outputs = torch.from_numpy(images.astype(np.float16).astype(np.float32)), {}
        for layer in self.network.layers:
            x = x + outputs[layer.other] if isinstance(layer, Add) else self._layer(layer, x)
            x = outputs[layer.name] = Stored.apply(x, self.training.loss_scale) if self.stores else x
        smoothing = self.training.smoothing
        loss = functional.cross_entropy(x, torch.from_numpy(labels), label_smoothing=smoothing)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _layer(self, layer, x):
        match layer:
            case Conv() | Linear():
                return self._bdwp(layer, x)
            case BatchNorm():
                scale, shift = (self.leaves[f"{layer.name}/{name}"] for name in ("weight", "bias"))
                mean, variance = self.running[layer.name]
                return functional.batch_norm(x, mean, variance, scale, shift, True, layer.momentum, layer.eps)
            case ReLU():
                return functional.relu(x)
            case Pool(kind="maxpool"):
                return functional.max_pool2d(x, layer.kernel, layer.stride, layer.padding)
            case Pool():
                return functional.avg_pool2d(x, layer.kernel, layer.stride, layer.padding)
        return x.movedim(1, -1).flatten(1)

    def _bdwp(self, layer, x):
        """Forward with w_ff, input gradient with w_bp, straight through to the dense weight."""
        w, bias = self.leaves[f"{layer.name}/weight"], self.leaves.get(f"{layer.name}/bias")

        def apply(x, w, bias=None):
            if isinstance(layer, Linear):
                return functional.linear(x, w, bias)
            return functional.conv2d(x, w, bias, layer.stride, layer.padding)

        w_ff, w_bp = (self._pruned(w, axis, dense=not x.requires_grad) for axis in (1, 0))
        forward = apply(x.detach(), w_ff + (w - w.detach()), bias)
        backward = apply(x, w_bp)
        return forward + (backward - backward.detach() if x.requires_grad else 0)

    def _pruned(self, w, axis: int, dense: bool):
        """The weight of a pass: the first layer's is dense, and one whose channels are no multiple of M."""
        narrowed, nm = w.detach().numpy().astype(np.float16), self.training.nm
        kept = narrowed if dense or w.shape[axis] % nm.m else prune(narrowed, nm, axis)
        return torch.from_numpy(kept.astype(np.float32))
