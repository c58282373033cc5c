"""The columns of a result, with their types. Units are in the names; a ratio has none."""

from __future__ import annotations

from codesign.resources.usage import RESOURCES
from codesign.result import STAGES, STALL_CAUSES

RESULTS: dict[str, type] = {
    "total_cycles": int,
    "dense_cycles": int,
    "bound_cycles": int,
    "speedup": float,
    "latency_s": float,
    "samples_per_s": float,
    **{f"{stage}_cycles": int for stage in STAGES},
    **{f"stall_{cause}_cycles": int for cause in STALL_CAUSES},
    "macs": int,
    "dense_macs": int,
    "array_utilization": float,
    "dram_read_bytes": int,
    "dram_write_bytes": int,
    "dram_bytes": int,
    "energy_low_j": float,
    "energy_j": float,
    "energy_high_j": float,
    "average_w": float,
    "gops_per_w": float,
    **{f"{resource}_low": float for resource in RESOURCES},
    **dict.fromkeys(RESOURCES, float),
    "device_share": float,
    "fits": str,
    "run_steps": int,
    "run_s": float,
    "run_speedup": float,
    "run_energy_j": float,
    "accuracy": float,
}
"""What `evaluate` gives for one training iteration; that of a run's longest phase if it is a run.

`stall_...` charges the cycles without useful work to their causes. `energy_j`, `average_w` and `gops_per_w` (executed
operations) are nominal. Resources are the upper ends of their estimates, `..._low` the lower ends. `device_share` is
the largest share of any resource of the device that the upper ends take, `fits` the verdict (yes, perhaps, no).
`run_...` concern the whole training run and `accuracy` is what it has reached; None for what is no run.
"""

NUMBERS = tuple(name for name, kind in RESULTS.items() if kind is not str)
