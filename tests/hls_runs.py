"""Recorded training runs for tests of the export."""

from train_runs import config

from codesign.train.loop import train

MLP = "mlp:64x64x32x16"
SMALL = ("--set", "array.rows=4", "--set", "array.cols=4")


def record(folder, **options):
    """Train a few steps and keep all tensors of the last one; returns the trace folder."""
    defaults = {"model": MLP, "steps": 3, "record_tensors": ("*",), "batch": 64}
    train(config(**defaults | options), folder)
    return folder / "trace"
