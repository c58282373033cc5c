"""The trace file: what is written comes back; what is damaged, foreign or inconsistent is refused with a reason."""

import json
import re
import sys

import pytest
from command_line import run_process
from hypothesis import given
from hypothesis import strategies as st

from codesign.errors import SpecError, TraceError
from codesign.nm.format import NM
from workloads.catalog import load
from workloads.run_trace import (
    FILE_NAME,
    LayerStatistics,
    Phase,
    RecordedStep,
    Run,
    RunTrace,
    load_run_trace,
)
from workloads.sparsity import apply_method

ITERATION = load("mlp:16x32x8", batch=4)
_, DECISIONS = apply_method(ITERATION, "bdwp", NM(2, 8))
_, DENSE = apply_method(ITERATION, "dense", None)

shares = st.none() | st.floats(0, 1)
losses = st.floats(allow_nan=False, allow_infinity=False)


def run_of(**changes):
    values = {"model": "mlp:16x32x8", "data": "digits", "method": "bdwp", "nm": NM(2, 8), "seed": 3}
    values |= {"dtype": "float32", "planned_steps": 50, "steps": 30}
    values |= {"phases": (Phase(0, 10, DENSE), Phase(10, 20, DECISIONS))}
    return Run(**values | changes)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_text(RunTrace(ITERATION, run_of()).to_json())
    return path


@given(losses, losses, shares, st.lists(st.tuples(st.integers(0, 29), losses, shares, shares)))
def test_what_is_written_comes_back(tmp_path_factory, train_loss, validation_loss, accuracy, steps):
    recorded = tuple(
        RecordedStep(step, loss, (LayerStatistics("fc1", ff_churn=a, input_zeros=b),))
        for step, loss, a, b in steps
    )
    run = run_of(recorded=recorded, train_loss=train_loss, validation_loss=validation_loss)
    trace = RunTrace(ITERATION, run_of(validation_accuracy=accuracy) if accuracy else run)
    path = tmp_path_factory.mktemp("trace") / FILE_NAME
    path.write_text(trace.to_json())
    assert load_run_trace(path) == load_run_trace(path.parent) == trace


def test_a_model_that_was_not_trained_has_no_run(file):
    file.write_text(RunTrace(ITERATION).to_json())
    assert load_run_trace(file).run is None


def test_white_space_does_not_matter(file):
    before = load_run_trace(file)
    file.write_text(json.dumps(json.loads(file.read_text()), indent=2))
    assert load_run_trace(file) == before


def test_shapes_are_stored_once(file):
    """A hundred more recorded steps cost what their statistics cost, not a hundred iterations."""
    steps = tuple(RecordedStep(step, 1.0, ()) for step in range(100))
    longer = RunTrace(ITERATION, run_of(recorded=steps)).to_json()
    assert len(longer) - len(file.read_text()) < 100 * 60


def test_reading_needs_no_torch(file):
    code = (
        "import sys; from pathlib import Path; from workloads.run_trace import load_run_trace; "
        f"load_run_trace(Path({str(file)!r})); sys.exit('torch' in sys.modules)"
    )
    assert run_process(sys.executable, "-c", code) == (0, "", "")


def edit(file, change):
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


DAMAGE = {
    "another version": (lambda data: data.update(version=2), "is of version 2, expected 1"),
    "no version": (lambda data: data.pop("version"), "is of version None, expected 1"),
    "another format": (lambda data: data.update(format="x"), 'expected "format": "codesign training trace"'),
    "a changed number": (lambda data: data["content"]["run"].update(steps=31), "is damaged"),
    "no content": (lambda data: data.pop("content"), "is damaged"),
    "no hash": (lambda data: data.pop("sha256"), "is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_changed_is_refused(file, damage):
    change, expected = DAMAGE[damage]
    edit(file, change)
    with pytest.raises(TraceError, match=re.escape(expected)):
        load_run_trace(file)


@given(st.data())
def test_a_file_cut_short_is_refused(tmp_path_factory, data):
    text = RunTrace(ITERATION, run_of()).to_json()
    path = tmp_path_factory.mktemp("trace") / FILE_NAME
    path.write_text(text[: data.draw(st.integers(1, len(text) - 2))])
    with pytest.raises(TraceError, match="is no JSON"):
        load_run_trace(path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "[" * 100_000])
def test_other_json_is_refused(file, text):
    file.write_text(text)
    with pytest.raises(TraceError, match=r"trace\.json: is no"):
        load_run_trace(file)


def test_a_wrong_field_is_named(file, monkeypatch):
    """A file whose hash is right but whose content is not a trace, as another tool may write it."""
    import workloads.run_trace

    edit(file, lambda data: data["content"]["run"].update(seed="3"))
    monkeypatch.setattr(
        workloads.run_trace, "_sha256", lambda content: json.loads(file.read_text())["sha256"]
    )
    with pytest.raises(TraceError, match=r"run\.seed: .*integer"):
        load_run_trace(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"trace\.json: no such file; expected a training trace"):
        load_run_trace(tmp_path)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ((Phase(0, 10, ()), Phase(11, 19, ())), "phase at step 11, expected one at step 10"),
        ((Phase(0, 10, ()), Phase(10, 0, ())), "phase at step 10"),
        ((Phase(0, 10, ()),), "phases of 10 steps in a run of 30"),
    ],
)
def test_phases_cover_the_run(phases, expected):
    with pytest.raises(TraceError, match=expected):
        run_of(phases=phases)
