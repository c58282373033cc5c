"""How the sparse speedup depends on the array: sweep rows and columns of SAT from Python.

python examples/array_sizes.py [WORKLOAD] [BATCH]
"""

import sys

from codesign.nm.format import NM
from codesign.simulate import simulate
from hw_models.arch import load_arch
from workloads.catalog import load


def main(workload: str = "resnet18-cifar", batch: str = "64") -> None:
    """Print one line for each array size."""
    sat = load_arch("sat.yaml")
    trace = load(workload, batch=int(batch))
    print(f"{trace.name}, batch {trace.batch}, BDWP 2:8")
    print("array     samples/s  utilization  speedup over dense")
    for size in (8, 16, 32, 64):
        arch = sat.with_overrides({"array.rows": size, "array.cols": size})
        result = simulate(arch, trace, method="bdwp", nm=NM(2, 8))
        print(
            f"{size:3d}x{size:<3d}  {result.batch / result.latency_s:10.1f}  {result.utilization(result.total):11.1%}"
            f"  {result.speedup_vs_dense:.3f}x"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
