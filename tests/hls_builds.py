"""Small accelerators whose kernels the tests build, and where the programs are kept."""

from pathlib import Path

from hls.config import KernelConfig
from hw_models.arch import load_arch

CACHE = Path(__file__).parent.parent / "build" / "hls"


RATIOS = ("2:4", "2:8", "2:16", "1:4")


def small(size: int, *ratios: str, **overrides: object) -> KernelConfig:
    """The packaged `sat` with a `size` x `size` array; overrides spell a dot as two underscores."""
    changed = {name.replace("__", "."): value for name, value in overrides.items()}
    sizes = {"array.rows": size, "array.cols": size, "array.sparsity": list(ratios)}
    return KernelConfig.of(load_arch("sat.yaml").with_overrides({**sizes, **changed}))
