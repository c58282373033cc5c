"""Initial weights."""

from __future__ import annotations

from math import sqrt

from torch import nn


def initialise_convolutions(net: nn.Module) -> None:
    """He initialisation for ReLU (He et al., ICCV 2015); the fully connected layers keep torch's."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise_transformer(net: nn.Module, depth: int) -> None:
    """Normal with deviation 0.02, as in BERT and GPT-2.

    What ends a residual branch is scaled down by the root of their number, 2 x depth (Radford et al., 2019).
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            ends_branch = name.endswith((".attn.proj", ".mlp.fc2"))
            nn.init.normal_(module.weight, std=0.02 / sqrt(2 * depth) if ends_branch else 0.02)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
