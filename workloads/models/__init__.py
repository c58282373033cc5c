"""Networks in torch, under the names of `workloads.catalog`: what is trained, where the zoo only has shapes.

The sizes of a network, and the checks that they fit each other, come from its builder in `workloads.zoo`; its weight
layers have the names that they have there. torch is imported by this package only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

from torch import nn

from codesign.errors import SpecError
from codesign.spec_errors import nearest, shorten
from workloads import catalog
from workloads.graph import Graph
from workloads.models.mlp import Mlp
from workloads.models.resnet import ResNet, ResNet9
from workloads.models.transformer import Bert, Gpt, VisionTransformer
from workloads.models.vgg import Vgg, VggCifar
from workloads.zoo.mlp import mlp
from workloads.zoo.resnet import resnet, resnet9, resnet_cifar
from workloads.zoo.transformer import bert, gpt2, vit
from workloads.zoo.vgg import vgg, vgg_cifar

_MODULES: dict[Callable[..., Graph], Callable[..., nn.Module]] = {
    bert: Bert,
    gpt2: Gpt,
    mlp: Mlp,
    resnet: partial(ResNet, small_images=False),
    resnet9: ResNet9,
    resnet_cifar: partial(ResNet, small_images=True),
    vgg: Vgg,
    vgg_cifar: VggCifar,
    vit: VisionTransformer,
}

MAX_VOCAB = 1 << 24


class ModelInput(NamedTuple):
    """What a network reads: the shape of one sample, and whether it is token numbers instead of real values.

    Images are (C, H, W), a multi-layer perceptron reads (inputs,), a language model (T,).
    """

    shape: tuple[int, ...]
    tokens: bool


def names() -> tuple[str, ...]:
    """Names of the networks, sorted; `mlp:AxBx...xZ` is one more."""
    return catalog.names()


def build(
    name: str,
    *,
    classes: int | None = None,
    input_size: int | None = None,
    seq_len: int | None = None,
    vocab: int | None = None,
) -> nn.Module:
    """A network with fresh weights, drawn from torch's global generator.

    Images are (B, 3, input_size, input_size) and give (B, classes) logits; GPT takes (B, T) token numbers below
    `vocab`, T up to `seq_len`, and gives (B, T, vocab); BERT gives its pooled (B, width). Under
    `torch.device("meta")` no memory is taken. Raises SpecError for an unknown name, an option that the network does
    not take, and sizes that do not fit.
    """
    builder = _builder(name)
    sizes = _sizes(name, builder, classes=classes, input_size=input_size, seq_len=seq_len, vocab=vocab)
    _graph(builder, sizes)
    module = _MODULES[builder.func]
    return module(**{size: sizes[size] for size in signature(module).parameters if size in sizes})


def model_input(name: str, *, input_size: int | None = None, seq_len: int | None = None) -> ModelInput:
    """What the network of this name reads; raises what `build` raises."""
    builder = _builder(name)
    first = _graph(builder, _sizes(name, builder, input_size=input_size, seq_len=seq_len)).nodes[0]
    return ModelInput(first.shape[1:], tokens="vocab" in signature(_MODULES[builder.func]).parameters)


def _builder(name: str) -> partial[Graph]:
    """Builder of the forward graph of a network, from the zoo."""
    if name.startswith("mlp:"):
        catalog.load(name)  # checks the sizes
        return partial(mlp, sizes=[int(size) for size in name.removeprefix("mlp:").split("x")])
    if network := catalog.NETWORKS.get(name):
        return partial(network.build)
    raise SpecError(
        f"unknown network {shorten(name)!r}{nearest(name, names())}; expected mlp:AxB or one of: "
        f"{', '.join(names())}"
    )


def _sizes(name: str, builder: partial[Graph], **given: int | None) -> dict[str, Any]:
    """Every size of a network: what is given, else the default of its builder."""
    defaults = {size.name: size.default for size in signature(builder).parameters.values()}
    takes = {*defaults, *signature(_MODULES[builder.func]).parameters}
    options = {option: value for option, value in given.items() if value is not None}
    for option, value in options.items():
        if option not in takes:
            legal = [size for size in given if size in takes]
            raise SpecError(f"network {name!r} does not take {option}; it takes {legal or 'no size options'}")
        largest = catalog.MAX_OPTION.get(option, MAX_VOCAB)
        if not 1 <= value <= largest:
            raise SpecError(f"{option} {value}: expected an integer from 1 to {largest}")
    return defaults | options


def _graph(builder: partial[Graph], sizes: dict[str, Any]) -> Graph:
    """Forward graph of one sample; raises SpecError if the sizes do not fit each other."""
    known = signature(builder).parameters
    return builder(**{size: value for size, value in sizes.items() if size in known} | {"batch": 1})
