"""Sparse training in torch: `sparsify` a model, train it as ever, `finalize` it.

    model, report = sparsify(model, BDWP(nm=NM(2, 8)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    follow(model, optimizer)  # for schedules, decay and masks that are held

The methods and their options are the classes of `codesign.train.methods`.
"""

from codesign.train.distillation import distillation_loss
from codesign.train.methods import (
    ASP,
    AST,
    BDWP,
    CAST,
    METHODS,
    SDGP,
    SDWP,
    SRSTE,
    SSTE,
    BiMask,
    Dense,
    Method,
    ProgressiveGradientFlow,
    Transposable,
)
from codesign.train.schedule import Schedule
from codesign.train.sparsify import finalize, sparse_layers, sparsify
from codesign.train.steps import follow, load_sparsity_state, sparsity_state

__all__ = [
    "ASP",
    "AST",
    "BDWP",
    "CAST",
    "METHODS",
    "SDGP",
    "SDWP",
    "SRSTE",
    "SSTE",
    "BiMask",
    "Dense",
    "Method",
    "ProgressiveGradientFlow",
    "Schedule",
    "Transposable",
    "distillation_loss",
    "finalize",
    "follow",
    "load_sparsity_state",
    "sparse_layers",
    "sparsify",
    "sparsity_state",
]
