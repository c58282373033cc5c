"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path

from safetensors.torch import save
from torch.nn.utils import clip_grad_norm_

from codesign.output_files import write_files
from codesign.train.checkpoint import Progress, plain, restore, save_checkpoint
from codesign.train.config import TrainConfig
from codesign.train.failures import check_step, check_validation, check_weights, memory_suffices
from codesign.train.metrics import Journal, check_tensorboard, read_statistics
from codesign.train.phases import add_step
from codesign.train.recorder import StatisticsRecorder
from codesign.train.recording import TensorRecorder
from codesign.train.run_folder import MODEL, TRACE, begin, claim
from codesign.train.session import Batch, Session, empty_batch, prepare, validate
from codesign.train.sparsify import finalize
from codesign.train.tracer import trace_model
from workloads import run_trace
from workloads.run_trace import RecordedStep, Run, RunTrace
from workloads.trace import Trace

OnStep = Callable[[int, int], None]


@memory_suffices()
def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_step: OnStep | None = None,
) -> Run:
    """Train a network and write the run into folder `out`; `on_step` gets (steps done, steps planned).

    `resume` continues from the checkpoint in `out`; on a CPU, with as many threads, all files equal those of a run
    that never stopped, bit for bit. `overwrite` replaces a run. Seeds torch's global generator. Raises SpecError
    before anything is written, ExportError if a file cannot be written, and TrainingError if the loss is not finite
    or memory too small.
    """
    checkpoint = claim(out, config, resume=resume, overwrite=overwrite)
    check_tensorboard(config)
    session = prepare(config)
    iteration = iteration_of(session)
    statistics, tensors = StatisticsRecorder(session), TensorRecorder(session)
    progress = restore(checkpoint, session, statistics) if checkpoint else Progress()
    recorded = read_statistics(out, progress)
    begin(out, config, fresh=checkpoint is None)

    with Journal(out, config, progress) as journal:
        steps = range(progress.step, session.steps)
        for step, batches in zip(steps, session.batches(progress.step), strict=False):
            add_step(progress.phases, session.report, session.model)
            lr = _set_lr(session, step)
            with statistics.listening(step), tensors.listening(step):
                loss = _gradients(session, batches)
            check_step(session, step, batches, loss, _clip(session))
            if statistics.due(step):
                recorded.append(statistics.measure(step, loss))
                journal.add_statistics(recorded[-1])
            session.optimizer.step()
            if tensors.due(step):
                tensors.save(out / TRACE, step)
            session.optimizer.zero_grad()

            progress.step += 1
            progress.epoch_loss += loss
            if step % session.log_every == 0:
                journal.add_metrics("step", step, step // session.steps_per_epoch, loss=loss, lr=lr)
            ends_epoch = session.ends_epoch(step)
            if ends_epoch:
                _evaluate(session, progress, journal, step)
            if ends_epoch or _is_due(config.checkpoint_every, progress.step):
                check_weights(session, step)
                save_checkpoint(out, session, progress, statistics)
                _write_trace(out, iteration, _run(session, progress, recorded))
            if on_step:
                on_step(progress.step, session.steps)

    finalize(session.model)
    write_files(out, {MODEL: save(plain(session.model.state_dict()))})
    run = _run(session, progress, recorded)
    _write_trace(out, iteration, run)
    return run


def iteration_of(session: Session) -> Trace:
    """One dense training iteration of the network, for the trace."""
    config = session.config
    inputs = empty_batch(config, session.data)
    return trace_model(session.model, inputs, config.model, optimizer=config.optimizer)


def _gradients(session: Session, batches: list[Batch]) -> float:
    """Gradients of the mean loss of the batches; returns it."""
    total = 0.0
    for batch in batches:
        loss = session.loss(batch) / len(batches)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def _clip(session: Session) -> float:
    """Norm of the gradient, which is scaled down to the largest that is allowed."""
    return float(clip_grad_norm_(session.model.parameters(), session.config.grad_clip or inf))


def _set_lr(session: Session, step: int) -> float:
    lr = session.lr_at(step)
    for group in session.optimizer.param_groups:
        group["lr"] = lr
    return lr


def _evaluate(session: Session, progress: Progress, journal: Journal, step: int) -> None:
    """Validate after the last step of an epoch."""
    epoch, position = divmod(step, session.steps_per_epoch)
    loss, accuracy = validate(session)
    check_validation(step, loss)
    journal.add_metrics("validation", progress.step, epoch, loss=loss, accuracy=accuracy)
    progress.train_loss, progress.epoch_loss = progress.epoch_loss / (position + 1), 0.0
    progress.validation_loss, progress.validation_accuracy = loss, accuracy


def _is_due(every: int | None, step: int) -> bool:
    return every is not None and step % every == 0


def _run(session: Session, progress: Progress, recorded: list[RecordedStep]) -> Run:
    config = session.config
    return Run(
        model=config.model,
        data=config.data,
        method=config.method,
        nm=config.nm,
        seed=config.seed,
        dtype=str(session.dtype).removeprefix("torch."),
        planned_steps=session.steps,
        steps=progress.step,
        phases=tuple(progress.phases),
        recorded=tuple(recorded),
        train_loss=progress.train_loss,
        validation_loss=progress.validation_loss,
        validation_accuracy=progress.validation_accuracy,
    )


def _write_trace(out: Path, iteration: Trace, run: Run) -> None:
    write_files(out / TRACE, {run_trace.FILE_NAME: RunTrace(iteration, run).to_json()})
