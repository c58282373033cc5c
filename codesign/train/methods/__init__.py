"""The sparse training methods, one a file; `METHODS` finds their configurations by name."""

from codesign.train.methods.asp import ASP
from codesign.train.methods.ast import AST
from codesign.train.methods.base import Method
from codesign.train.methods.bdwp import BDWP
from codesign.train.methods.bimask import BiMask
from codesign.train.methods.cast import CAST
from codesign.train.methods.dense import Dense
from codesign.train.methods.progressive import ProgressiveGradientFlow
from codesign.train.methods.sdgp import SDGP
from codesign.train.methods.sdwp import SDWP
from codesign.train.methods.srste import SRSTE
from codesign.train.methods.sste import SSTE
from codesign.train.methods.transposable import Transposable

_ALL = (Dense, BDWP, SRSTE, SDGP, SDWP, Transposable, BiMask, SSTE, ProgressiveGradientFlow, ASP, AST, CAST)

METHODS: dict[str, type[Method]] = {method.name: method for method in _ALL}

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
    "Transposable",
]
