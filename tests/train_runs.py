"""What the tests of the training loop share: small configurations, and runs that are cut short."""

from pathlib import Path

from codesign.train.config import TrainConfig
from codesign.train.loop import train

MLP = "mlp:64x32x16x16"
"""Both inner layers can be sparse in both passes at 2:8."""


def config(**given):
    """A short run on digits; one thread, so that sums are the same on every machine."""
    defaults = {"model": MLP, "data": "digits", "batch": 128, "steps": 8, "threads": 1, "device": "cpu"}
    return TrainConfig(**defaults | given)


def contents(folder: Path) -> dict[str, bytes]:
    """All files in a folder, by their path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def train_until(step: int, configuration: TrainConfig, out: Path, **options) -> None:
    """Train, but press Ctrl-C after `step` optimizer steps."""

    def stop(done: int, _planned: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    try:
        train(configuration, out, on_step=stop, **options)
    except KeyboardInterrupt:
        return
    raise AssertionError(f"the run ended before step {step}")
