"""What a comparison of the accelerator's result with PyTorch's came to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign.compute.bounds import Bound
from codesign.compute.formats import Float32, Format


@dataclass(frozen=True)
class Check:
    """One pass of one layer. Differences to PyTorch are in ulps: steps of the 16-bit format at the RMS of its result.

    `worst_bound_share` is the largest difference of an element as a share of its bound; more than 1 breaks it. A pass
    that cannot be checked has no elements, and a `note` says why.
    """

    layer: str
    what: str
    elements: int = 0
    max_ulp: float = 0.0
    mean_ulp: float = 0.0
    worst_bound_share: float = 0.0
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether no element exceeds its bound."""
        return self.worst_bound_share <= 1

    @classmethod
    def of(
        cls,
        layer: str,
        what: str,
        hardware: Float32,
        torch: Float32,
        bound: Bound,
        fmt: Format,
        note: str = "",
    ) -> Check:
        """Compare two results of one shape."""
        difference = np.abs(hardware.astype(np.float64) - torch)
        ulp = _ulp(float(np.sqrt(np.mean(np.square(torch, dtype=np.float64)))), fmt)
        share = np.divide(difference, bound, out=np.where(difference > 0, np.inf, 0.0), where=bound > 0)
        share = np.where(np.isfinite(difference), share, np.inf)
        worst = float(difference.max() / ulp), float(difference.mean() / ulp), float(share.max())
        return cls(layer, what, torch.size, *worst, note)


def _ulp(value: float, fmt: Format) -> float:
    """Distance from `value` to the next larger number of `fmt`."""
    if value == 0:
        return fmt.smallest_subnormal
    exponent = np.floor(np.log2(value))
    return float(max(2.0 ** (exponent - fmt.fraction_bits), fmt.smallest_subnormal))
