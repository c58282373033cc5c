"""Reading a result back: what was written comes back whole; what is damaged, foreign or of another version is not."""

import json

import pytest
from command_line import run
from saved_results import SAT, edit, run_section, rungs, simulated, write

from codesign.errors import SpecError
from codesign.report.saved import load_simulation

RESULT = simulated()


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "result", RESULT)


def content(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("result", [RESULT, simulated("dense", None), simulated("sdgp", "2:4")])
@pytest.mark.parametrize(
    "sections", [{}, {"ablation": True, "run": run_section()}], ids=["plain", "sections"]
)
def test_what_is_written_comes_back(tmp_path, result, sections):
    if sections:
        sections = sections | {"ablation": rungs()}
    folder = write(tmp_path, result, **sections)
    for path in (folder, folder / "result.json"):
        simulation = load_simulation(path)
        assert simulation.result.model_dump(mode="json", exclude_unset=True) == content(folder)
        assert simulation.arch == SAT


def test_the_simulation_is_the_one_that_was_written(folder):
    saved = load_simulation(folder).result
    again = saved.sim_result(SAT.peak_macs_per_cycle)
    assert again.with_baseline(RESULT.baseline).as_dict() | {"actions": {}} == RESULT.as_dict() | {
        "actions": {}
    }


def test_a_result_alone_has_no_architecture(folder):
    (folder / "resolved.yaml").unlink()
    assert load_simulation(folder).arch is None


def test_the_architecture_must_be_that_of_the_result(folder):
    other = write(folder.parent / "other", RESULT, SAT.with_overrides({"array.rows": 16}))
    with pytest.raises(
        SpecError, match=r"resolved.yaml: is not the architecture of the result.json beside it"
    ):
        load_simulation(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a result of `codesign simulate --out`"),
        ("{", "cannot be read as JSON"),
        ("[" * 200_000, "cannot be read as JSON"),
        ("\udcff".encode("utf-8", "surrogateescape"), "cannot be read as JSON"),
        ("[]", "has no version"),
        ("3", "has no version"),
        ('{"version": 1}', "has no version"),
        ('{"version": "99.0"}', r"was written by codesign 99.0, this is \S+; simulate again"),
        ('{"version": "\\u001b[31m\\n9"}', r"was written by codesign '\\x1b\[31m\\n9', this is"),
        ('{"total_cycles": 9223372036854775808}', "is larger than any count"),
        ('{"total_cycles": ' + "9" * 5000 + "}", "is larger than any count"),
        ('{"latency_s": NaN}', "got NaN, expected a number"),
    ],
)
def test_what_is_no_result(folder, text, message):
    (folder / "result.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError, match=message):
        load_simulation(folder)


def test_one_line_and_status_2(folder, tmp_path):
    for path in (tmp_path / "nowhere", tmp_path, folder / "layers.csv"):
        for command in (("report", path), ("compare", folder, path), ("compare", path, folder)):
            code, out, err = run(*command)
            assert (code, out, err.count("\n")) == (2, "", 1), command
            assert err.startswith("codesign: error: ")


SHARE = {"cycles": 0, "macs": 0, "dense_macs": 0, "read_bytes": 0, "write_bytes": 0, "stall_cycles": {}}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("extra",), 1, r'result.json: extra: unknown key; expected one of: version'),
        (("total_cycles",), None, "total_cycles: got null, expected a valid integer"),
        (("total_cycles",), 0, "total_cycles: got 0 .integer., expected greater than 0"),
        (("total_cycles",), 7, "the cycles of all stages are [0-9,]+, expected total_cycles, 7"),
        (("latency_s",), "1", "latency_s: got \"1\" .string., expected a valid number"),
        (("workload", "batch"), -1, "workload.batch: got -1 .integer., expected greater than 0"),
        (("stages", "ff", "cycles"), 1, "the cycles of all stages are"),
        (("stages", "zz"), SHARE, "got 'zz', expected one of: ff, bp, wu, other"),
        (("layers", 0, "stages", "other"), SHARE | {"cycles": 5}, "the cycles of all layers are"),
        (("layers", 0, "stages", "ff", "stall_cycles", "lunch"), 0, "got 'lunch', expected one of: padding"),
        (("stall_cycles", "lunch"), 0, "got 'lunch', expected one of: padding"),
        (("ops", 0, "unit"), "gpu", "got 'gpu', expected one of: stce, vector, update"),
        (("ops", 0, "stage"), "zz", "got 'zz', expected one of: ff"),
        (("ops", 0, "layer"), "nowhere", "multiplies, but its layer has no share"),
        (("energy", "total_j", "high"), float("inf"), "finite number"),
        (("run",), {}, "run.model: key is missing"),
    ],
)  # fmt: skip
def test_what_is_damaged(folder, place, value, message):
    data = content(folder)
    target = data
    for part in place[:-1]:
        target = target[part]
    target[place[-1]] = value
    text = json.dumps(data).replace("Infinity", "1e999")
    (folder / "result.json").write_text(text)
    with pytest.raises(SpecError, match=message):
        load_simulation(folder)


def test_missing_keys_are_named(folder):
    whole = content(folder)
    for key in whole.keys() - {"version", "energy"}:
        (folder / "result.json").write_text(json.dumps({name: whole[name] for name in whole if name != key}))
        with pytest.raises(SpecError, match=f"{key}: key is missing"):
            load_simulation(folder)


def test_lone_surrogates_are_refused(folder):
    edit(folder, method="\udc80")
    assert run("report", folder).code == 2
