"""Exports a finished sparse network as an hls4ml project for Vitis HLS, its N:M weights compressed.

    finished = load_finished(Path("runs/a"))
    exported = export(finished.model, finished.ratios, finished.inputs, Path("build/net"), Settings())

hls4ml keeps the weights on chip, as constants, so this serves inference. At a reuse factor of 1 a layer is unrolled
completely and synthesis drops multiplications by zero by itself; compression saves multipliers and memory where
weights are read step by step, at a reuse factor above 1.

Only this package imports hls4ml. A project that is written is self-contained: hls4ml copies its headers into it.
"""

from codesign.errors import SpecError

try:
    from hls.hls4ml_bridge.convert import Settings
    from hls.hls4ml_bridge.finished import Finished, load_finished
    from hls.hls4ml_bridge.project import Agreement, Exported, LayerSize, export
except ImportError as error:
    raise SpecError(
        f"the hls4ml export needs the package {error.name}; pip install 'codesign[hls]'"
    ) from None

__all__ = [
    "Agreement",
    "Exported",
    "Finished",
    "LayerSize",
    "Settings",
    "export",
    "load_finished",
]
