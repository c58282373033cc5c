"""The FPGA resource model: LUT, flip-flop, DSP, BRAM and URAM needs of an architecture, and whether they fit.

`tables` reads the constants, each with value, status and source (`operators.yaml`); `operators` and `primitives`
price arithmetic and structures; `array` and `estimate` put the machine together; `devices` compares it with an FPGA.
"""

from codesign.resources.devices import Device, Fit, Verdict, device_names, fit, load_device
from codesign.resources.estimate import Resources, estimate
from codesign.resources.usage import Range, Status, Usage

__all__ = [
    "Device",
    "Fit",
    "Range",
    "Resources",
    "Status",
    "Usage",
    "Verdict",
    "device_names",
    "estimate",
    "fit",
    "load_device",
]
