"""From the description of a sweep to its points."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from strategies import SAT

from codesign import __version__
from codesign.energy.technology import TABLES
from codesign.errors import SpecError, TraceError
from codesign.nm.format import NM
from codesign.sweep.point import Point
from codesign.sweep.space import Space, listed
from codesign.sweep.spec import PointSpec, SweepSpec, load_accuracy, load_points, load_sweep, parse_values
from hw_models.arch import load_arch
from workloads.catalog import load
from workloads.run_trace import Phase, Run, RunTrace
from workloads.sparsity import apply_method

GEMM = "gemm:64x64x64"
TECHNOLOGY = (TABLES / "asic45.yaml").read_text()
MLP = load("mlp:64x256x16", batch=32)


def spec_of(**keys):
    keys.setdefault("workloads", ({"name": GEMM},))
    return SweepSpec.model_validate(keys, strict=False)


def grid(**keys):
    return list(Space(spec_of(**keys)).grid())


def what(point):
    """What distinguishes points here."""
    return point.arch.array.rows, point.arch.array.cols, point.method, point.nm and str(point.nm)


@pytest.fixture
def run_trace(tmp_path):
    """The trace of a short run at 2:8."""
    _, decisions = apply_method(MLP, "bdwp", NM(2, 8))
    run = Run(
        "mlp",
        "digits",
        "bdwp",
        NM(2, 8),
        0,
        "float32",
        4,
        4,
        (Phase(0, 4, decisions),),
        validation_accuracy=0.875,
    )
    path = tmp_path / "trace.json"
    path.write_text(RunTrace(MLP, run).to_json())
    return path


# -- the grid ----------------------------------------------------------------------------------------------------


def test_a_grid_is_every_combination_and_dense_takes_part_once():
    points = grid(
        set={"array.rows": [8, 16], "array.cols": [8, 32]}, methods=["dense", "srste"], nm=["2:4", "2:8"]
    )
    sparsity = [("dense", None), ("srste", "2:4"), ("srste", "2:8")]
    assert [what(point) for point in points] == [
        (rows, cols, *how) for rows, cols, how in product((8, 16), (8, 32), sparsity)
    ]


def test_sizes_belong_to_their_workload():
    workloads = [{"name": "resnet18-cifar", "batch": [1, 2], "classes": [10, 100]}, {"name": GEMM}]
    found = [(point.workload.source, point.workload.sizes) for point in grid(workloads=workloads)]
    sizes = [{"batch": batch, "classes": classes} for batch in (1, 2) for classes in (10, 100)]
    assert found == [*(("resnet18-cifar", each) for each in sizes), (GEMM, {})]


def test_the_default_is_that_of_simulate():
    (point,) = Space(SweepSpec()).grid()
    assert (point.arch, point.workload.name, point.workload.batch) == (load_arch("sat"), "resnet18", 64)
    assert (point.method, point.nm) == ("bdwp", NM(2, 8))


def test_what_cannot_be_is_dropped_and_counted():
    space = Space(spec_of(archs=["sat", "dense"], methods=["dense", "bdwp"], nm=["2:4", "2:8"]))
    points = list(space.grid())
    assert [(point.arch.name, point.method) for point in points] == [
        ("sat", "dense"), ("sat", "bdwp"), ("sat", "bdwp"), ("dense", "dense"),
    ]  # fmt: skip
    assert list(space.dropped.values()) == [1, 1]
    assert all("array.sparsity of architecture 'dense'" in reason for reason in space.dropped)


def test_parameters_may_contradict_each_other():
    space = Space(
        spec_of(set={"array.dataflows": [["ws", "os"], ["os"]], "optimizations.fixed_dataflow": ["ws", "os"]})
    )
    assert len(list(space.grid())) == 3
    ((reason, count),) = space.dropped.items()
    assert count == 1 and "fixed_dataflow is ws" in reason


def test_a_grid_counts_anew_each_time():
    space = Space(spec_of(archs=["sat", "dense"], methods=["dense", "bdwp"]))
    assert [len(list(space.grid())), len(list(space.grid()))] == [3, 3]
    assert sum(space.dropped.values()) == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"set": {"array.rows": [16, "abc"]}}, 'array.rows abc: no combination accepts it, for instance: sat with'),
        ({"set": {"array.rowz": [16]}}, 'no architecture parameter .*, did you mean "array.rows"'),
        ({"nm": ["2:8", "3:8"]}, "training gemm:64x64x64 bdwp 3:8: no combination accepts it, .*3:8 is not in array"),
        ({"archs": ["sat", "dense"]}, "arch dense: no combination accepts it, .* has none"),
        ({"methods": ["bdwq"]}, "unknown method 'bdwq', did you mean"),
        ({"workloads": [{"name": GEMM, "batch": [2]}]}, "does not take batch"),
        ({"workloads": [{"name": "resnet"}]}, "unknown workload 'resnet'"),
        ({"archs": ["sta"]}, "no architecture 'sta'"),
        ({"device": "vcu1526"}, 'no device \'vcu1526\', did you mean "vcu1525"'),
    ],
)  # fmt: skip
def test_what_no_combination_accepts_is_refused(keys, message):
    with pytest.raises(SpecError, match=message):
        grid(**keys)


# -- points that are listed --------------------------------------------------------------------------------------


def test_listed_points_have_the_defaults_of_simulate():
    points = (PointSpec(workload=GEMM), PointSpec(workload=GEMM, set={"array.rows": 8}, method="dense"))
    first, second = listed(SweepSpec(points=points))
    assert what(first) == (32, 32, "bdwp", "2:8")
    assert what(second) == (8, 32, "dense", None)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"nm": "3:8"}, "point 2: 3:8 is not in array.sparsity"),
        ({"method": "dense", "nm": "2:8"}, "point 2: nm 2:8 has no meaning with method dense"),
        ({"set": {"array.rows": 0}}, "point 2: .*array.rows: got 0 .*greater than 0"),
        ({"batch": 4}, "point 2: .*does not take batch"),
        ({"trace": "x.json"}, "point 2: a trace has its own workload"),
    ],
)
def test_a_listed_point_that_cannot_be_is_refused_with_its_number(point, message):
    spec = SweepSpec.model_validate(
        {"points": [{"workload": GEMM}, {"workload": GEMM} | point]}, strict=False
    )
    with pytest.raises(SpecError, match=message):
        list(listed(spec))


def test_points_as_yaml_and_as_csv_are_the_same(tmp_path):
    (tmp_path / "p.yaml").write_text(
        f"points:\n- {{workload: '{GEMM}', set: {{array.rows: 8, array.dataflows: [os],"
        " optimizations.fixed_dataflow: os}, nm: 2:4}\n"
        "- {workload: resnet9, batch: 2, arch: sat-zynq, method: dense}\n"
    )
    (tmp_path / "p.csv").write_text(
        "workload,array.rows,array.dataflows,optimizations.fixed_dataflow,nm,batch,arch,method\n"
        f"{GEMM},8,[os],os,2:4,,,\nresnet9,,,,,2,sat-zynq,dense\n"
    )
    assert load_points(tmp_path / "p.yaml") == load_points(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workload,rows\nmlp\n", r"p.csv: row 1: got 1 cells, expected 2 as in the header"),
        ("nm,nm\n2:8,2:8\n", "a column comes twice"),
        ("workload,batch\nmlp,x\n", r'points\[0\].batch: got "x" \(string\), expected a valid integer'),
        ("workload\n", "points: "),
        ('workload\n"mlp\n', "cannot be read as CSV"),
        ("workload\n{a: b\n", "p.csv: row 1:.*not valid YAML"),
    ],
)
def test_bad_csv_is_refused(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(SpecError, match=message):
        load_points(tmp_path / "p.csv")


# -- the description ---------------------------------------------------------------------------------------------


def test_a_sweep_file(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "set: {array.rows: [16, 32]}\nworkloads: [resnet9, {name: gpt-nano, seq_len: [64, 128]}]\n"
        "nm: [2:4, 2:8]\nsearch: {trials: 5, sampler: tpe}\n"
    )
    spec = load_sweep(tmp_path / "s.yaml")
    assert [axis.name for axis in spec.workloads] == ["resnet9", "gpt-nano"]
    assert (spec.workloads[1].seq_len, spec.nm, spec.search.sampler) == (
        (64, 128),
        (NM(2, 4), NM(2, 8)),
        "tpe",
    )
    assert SweepSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_example_is_a_sweep():
    spec = load_sweep(Path(__file__).parents[1] / "examples/sweep.yaml")
    # 2 rows x 2 columns x 2 switches; 1 + 2 workloads, each dense, 2:4 and 2:8
    assert len(list(Space(spec).grid())) == 8 * 3 * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sets: {}\n", 's.yaml:1: sets: unknown key, did you mean "set"'),
        ("nm: 2:8\n", r's.yaml:1: nm: got "2:8" \(string\), expected a list'),
        ("nm: []\n", "s.yaml:1: nm: "),
        ("set: {array.rows: 16}\n", 's.yaml:1: set."array.rows": got 16'),
        ("points: [{workload: mlp}]\nnm: [2:8]\n", "nm beside points: expected a grid or points, not both"),
        ("search: {trials: 0}\n", "search.trials: got 0 .*greater than 0"),
    ],
)
def test_a_bad_sweep_file_is_refused(tmp_path, text, message):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SpecError, match=message):
        load_sweep(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("16,32", [16, 32]),
        ("[ws],[ws, os]", [["ws"], ["ws", "os"]]),
        ("true, 2e8, 2:8, a", [True, 2e8, "2:8", "a"]),
    ],
)
def test_values_of_an_option_are_strict_yaml(text, values):
    assert parse_values(text, "--set") == values


@pytest.mark.parametrize("text", ["", "1], [2", "]", "1\n---\n2"])
def test_what_is_no_list_of_values_is_refused(text):
    with pytest.raises(SpecError, match="--set"):
        parse_values(text, "--set")


# -- training runs -----------------------------------------------------------------------------------------------


def test_a_run_takes_part_once_with_what_it_was_trained_with(run_trace):
    points = grid(workloads=[], traces=[str(run_trace)], methods=["dense", "srste"], nm=["2:4", "1:8"])
    assert [what(point) for point in points] == [(32, 32, "bdwp", "2:8")]
    assert points[0].baseline is None


def test_a_trace_without_a_run_is_a_workload(tmp_path):
    (tmp_path / "trace.json").write_text(RunTrace(MLP).to_json())
    points = grid(workloads=[], traces=[str(tmp_path)], methods=["dense", "bdwp"])
    assert [what(point)[2:] for point in points] == [("dense", None), ("bdwp", "2:8")]


def test_a_run_on_an_array_without_its_ratio_is_a_point(run_trace):
    assert len(grid(archs=["dense"], workloads=[], traces=[str(run_trace)])) == 1


def test_a_listed_run_has_its_own_method(run_trace):
    spec = SweepSpec(points=(PointSpec(trace=str(run_trace), method="dense"),))
    with pytest.raises(SpecError, match="point 1: a training run has its own method"):
        list(listed(spec))


def test_a_damaged_trace_is_refused(run_trace):
    run_trace.write_text(run_trace.read_text().replace("digits", "digitz"))
    with pytest.raises(TraceError, match="is damaged"):
        grid(workloads=[], traces=[str(run_trace)])


def test_accuracy_of_tables_and_of_traces(tmp_path, run_trace):
    (tmp_path / "a.csv").write_text("workload,seeds,method,nm,accuracy\nmlp,3,dense,,0.9\nmlp,3,bdwp,2:8,1\n")
    dense, sparse = load_accuracy(tmp_path / "a.csv")
    assert (dense.method, dense.nm, dense.accuracy) == ("dense", None, 0.9)
    assert (sparse.workload, sparse.nm, sparse.accuracy) == ("mlp", NM(2, 8), 1.0)
    (reached,) = load_accuracy(run_trace)
    assert (reached.workload, reached.method, reached.nm, reached.accuracy) == (
        MLP.name,
        "bdwp",
        NM(2, 8),
        0.875,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workload,method,nm\nmlp,dense,\n", r"accuracy\[0\].accuracy: key is missing"),
        (
            "workload,method,nm,accuracy\nmlp,dense,,91.5\n",
            r"accuracy\[0\].accuracy: got 91.5 .*less than or equal to 1",
        ),
        ("workload,method,nm,accuracy\nmlp,bdwp,8:2,0.9\n", r"accuracy\[0\].nm: N:M ratio 8:2"),
    ],
)
def test_bad_accuracies_are_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(SpecError, match=message):
        load_accuracy(tmp_path / "a.csv")


def test_a_trace_without_accuracy_is_refused(tmp_path):
    (tmp_path / "trace.json").write_text(RunTrace(MLP).to_json())
    with pytest.raises(SpecError, match="holds no accuracy"):
        load_accuracy(tmp_path)


# -- the content hash --------------------------------------------------------------------------------------------


def one(**keys):
    (point,) = grid(**keys)
    return point


def test_the_hash_is_that_of_the_content():
    point = one()
    assert Point.model_validate_json(point.model_dump_json()).sha256 == point.sha256
    assert re.fullmatch("[0-9a-f]{64}", point.sha256)
    assert point.version == __version__


def test_where_a_workload_comes_from_does_not_matter(tmp_path):
    trace = load("resnet9", batch=2)
    (tmp_path / "trace.json").write_text(RunTrace(trace).to_json())
    named = one(workloads=[{"name": "resnet9", "batch": [2]}])
    assert one(workloads=[], traces=[str(tmp_path)]).sha256 == named.sha256
    assert one(workloads=[{"name": "resnet9", "batch": [2], "classes": [10]}]).sha256 == named.sha256


def test_everything_that_matters_changes_it(run_trace, tmp_path):
    (tmp_path / "mine.yaml").write_text(TECHNOLOGY)
    variants = [
        one(),
        one(set={"array.rows": [16]}),
        one(workloads=[{"name": "gemm:64x64x128"}]),
        one(methods=["srste"]),
        one(nm=["2:4"]),
        one(methods=["dense"]),
        one(technology="asic45"),
        one(technology=str(tmp_path / "mine.yaml")),
        one(device="u250"),
        one(workloads=[], traces=[str(run_trace)]),
        replace_version(one()),
    ]
    assert len({point.sha256 for point in variants}) == len(variants)


def replace_version(point):
    return Point(**{name: getattr(point, name) for name in Point.model_fields} | {"version": "0.0.0"})


def test_the_baseline_is_the_dense_point():
    point = one(nm=["2:4"])
    assert point.baseline == one(methods=["dense"])
    assert point.baseline.sha256 == one(methods=["dense"]).sha256 != point.sha256
    assert point.baseline.baseline is None


def test_a_source_that_changes_afterwards_is_noticed(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(RunTrace(MLP).to_json())
    point = one(workloads=[], traces=[str(tmp_path)])
    path.write_text(RunTrace(replace(MLP, name="other")).to_json())
    assert one(workloads=[], traces=[str(tmp_path)]).workload.name == "other"
    with pytest.raises(SpecError, match="has changed since the sweep began"):
        point.workload.load()


def test_an_energy_file_that_changes_afterwards_is_noticed(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TECHNOLOGY)
    technology = one(technology=str(path)).technology
    path.write_text(TECHNOLOGY + "# changed\n")
    with pytest.raises(SpecError, match="has changed since the sweep began"):
        technology.table(SAT)
