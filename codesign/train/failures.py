"""When training cannot go on: a loss that is not finite, and in which layer that began; too little memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite

from torch import Tensor

from codesign.errors import TrainingError
from codesign.train.observe import observed
from codesign.train.session import Batch, Session


def check_step(session: Session, step: int, batches: list[Batch], loss: float, norm: float) -> None:
    """Raise TrainingError if the loss of a step or the norm of its gradient is not finite."""
    if isfinite(loss) and isfinite(norm):
        return
    what = f"loss is {loss}" if not isfinite(loss) else f"norm of the gradient is {norm}"
    raise _diverged(step, f"{what}; {_first_broken(session, batches)}")


def check_weights(session: Session, step: int) -> None:
    """Raise TrainingError if the update of a step made a weight infinite or NaN."""
    for name, parameter in session.model.named_parameters():
        if not parameter.isfinite().all():
            raise _diverged(step, f"{name} is not finite after the update")


def check_validation(step: int, loss: float) -> None:
    """Raise TrainingError if the validation loss after a step is not finite."""
    if not isfinite(loss):
        raise _diverged(step, f"validation loss is {loss} after the update")


def _diverged(step: int, what: str) -> TrainingError:
    return TrainingError(
        f"step {step}: {what}; checkpoints from before are kept; try a lower lr, a longer warmup, or grad_clip 1"
    )


def _first_broken(session: Session, batches: list[Batch]) -> str:
    """Do the step once more and look at every module: forward in order, then backward from the loss."""
    broken: dict[str, str] = {}

    def see(name: str, what: str, x: Tensor) -> None:
        if what in ("output", "output_gradient") and not x.isfinite().all():
            broken.setdefault(what, name)

    leaves = {name: m for name, m in session.model.named_modules() if name and not list(m.children())}
    with observed(leaves, see):
        for batch in batches:
            session.loss(batch).backward()  # type: ignore[no-untyped-call]
    if "output" in broken:
        return f"the first output that is not finite is that of {broken['output']}"
    if "output_gradient" in broken:
        return f"outputs are finite, the first gradient that is not is at the output of {broken['output_gradient']}"
    return "outputs and their gradients are finite, gradients of weights are not"


@contextmanager
def memory_suffices() -> Iterator[None]:
    """Raise TrainingError where torch or numpy find no memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"memory is too small: {reason}; try a smaller batch with accumulate") from None
