"""`codesign compare`: the lists account for the whole difference, and the words say what the lists say."""

import json
from dataclasses import replace

import pytest
from command_line import run, succeed
from saved_results import SAT, edit, make_hostile, simulated, write

from codesign.report.difference import Change, compare, shown, title
from codesign.report.difference_table import amount
from codesign.report.explanation import explain, largest
from codesign.report.html.difference import difference_page
from codesign.report.numbers import byte_text, compact, interval, joule_unit, short
from codesign.report.saved import load_simulation

FAST = SAT.with_overrides({"array.cols": 64, "vector_unit.lanes": 64, "clock_hz": 250_000_000})
DENSE, SPARSE, LARGE = simulated("dense", None), simulated(), simulated(batch=16)
FASTER = simulated(arch=FAST)
LISTS = ("stage_cycles", "cause_cycles", "layer_cycles")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("results")
    return {
        "dense": write(place / "dense", DENSE),
        "sparse": write(place / "sparse", SPARSE),
        "large": write(place / "large", LARGE),
        "fast": write(place / "fast", FASTER, FAST),
    }


@pytest.fixture(scope="module")
def difference_of(folders):
    return lambda a, b: compare(*(load_simulation(folders[name]) for name in (a, b)))


PAIRS = [("dense", "sparse"), ("sparse", "dense"), ("sparse", "large"), ("sparse", "fast")]


# -- the difference ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_each_list_accounts_for_the_whole_difference(difference_of, a, b):
    found = difference_of(a, b)
    for name in LISTS:
        changes = getattr(found, name)
        assert sum(change.a for change in changes) == found.total.a == found.a.result.total_cycles
        assert sum(change.b for change in changes) == found.total.b == found.b.result.total_cycles
        sizes = [abs(change.difference) for change in changes]
        assert sizes == sorted(sizes, reverse=True)
    for side in ("a", "b"):
        result = getattr(found, side).result
        assert sum(getattr(each, side) for each in found.stage_bytes) == sum(
            result.dram_bytes.model_dump().values()
        )
        joules = sum(getattr(each, side) for each in found.component_joules)
        assert joules == pytest.approx(result.energy.total_j.nominal)


def test_the_other_way_round_is_the_opposite(difference_of):
    there, back = difference_of("dense", "sparse"), difference_of("sparse", "dense")
    for name in LISTS:
        assert {(c.name, c.a, c.b) for c in getattr(there, name)} == {
            (c.name, c.b, c.a) for c in getattr(back, name)
        }


def test_settings_are_those_that_differ(difference_of):
    assert difference_of("dense", "sparse").settings == (("method", "dense", "bdwp"), ("nm", "dense", "2:8"))
    assert difference_of("sparse", "fast").settings == (
        ("clock_hz", 200_000_000, 250_000_000),
        ("array.cols", 32, 64),
        ("vector_unit.lanes", 32, 64),
    )
    assert ("batch", 8, 16) in difference_of("sparse", "large").settings


@pytest.mark.parametrize(
    ("value", "text"),
    [(250_000_000, "250,000,000"), (None, "none"), (True, "True"), (0.8, "0.8"), ("a\n", r"'a\n'")],
)
def test_settings_as_people_read_them(value, text):
    assert shown(value) == text


def test_figures_of_the_iteration(difference_of):
    found = {change.name: change for change in difference_of("sparse", "large").measures}
    assert found["dense_macs"] == ("dense_macs", SPARSE.total.dense_macs, LARGE.total.dense_macs)
    assert found["s_per_sample"].a == pytest.approx(SPARSE.latency_s / 8)
    assert found["s_per_sample"].b == pytest.approx(LARGE.latency_s / 16)
    assert found["cycles_per_dense_mac"].b == pytest.approx(LARGE.total_cycles / LARGE.total.dense_macs)


def test_what_only_one_result_has_counts_as_nought_in_the_other(tmp_path, folders):
    folder = write(tmp_path, SPARSE)
    data = json.loads((folder / "result.json").read_text())
    for row in [*data["layers"], *data["ops"]]:
        row["layer"] = {"fc1": "first"}.get(row["layer"], row["layer"])
    edit(folder, **data)
    found = compare(load_simulation(folders["sparse"]), load_simulation(folder))
    cycles = sum(share.cycles for share in SPARSE.layers["fc1"].values())
    assert {each for each in found.layer_cycles if each.difference} == {
        ("fc1", cycles, 0),
        ("first", 0, cycles),
    }
    assert Change("first", 0, cycles).ratio is None


# -- the words -----------------------------------------------------------------------------------------------------


def test_identical_results(folders, difference_of):
    found = difference_of("sparse", "sparse")
    assert found.identical and not found.settings
    assert explain(found) == [
        "The results are identical: the same configuration, and every figure is the same."
    ]
    out = succeed("compare", folders["sparse"], folders["sparse"])
    assert out.splitlines()[2:] == explain(found)
    assert difference_page(found).title == "Identical results"


def test_words_of_dense_against_sparse(difference_of):
    found = difference_of("dense", "sparse")
    fewer = DENSE.total_cycles - SPARSE.total_cycles
    head, first, *_ = explain(found)
    assert head == (
        f"B takes {fewer:,} cycles fewer than A: {SPARSE.total_cycles:,} instead of {DENSE.total_cycles:,} "
        f"({-fewer / DENSE.total_cycles:+.1%}), which is {SPARSE.speedup_vs_dense:.3f}x as fast in cycles."
    )
    largest_cause = found.cause_cycles[0]
    assert first.startswith(
        f"{largest_cause.name} (too few independent outputs to cover the accumulator's latency): -"
    )
    assert "method dense -> bdwp, nm dense -> 2:8" in first


def hand_made(difference, causes, total):
    """The difference with other causes and totals."""
    return replace(
        difference,
        cause_cycles=tuple(Change(name, *values) for name, values in causes.items()),
        measures=(Change("total_cycles", *total), *difference.measures[1:]),
    )


def test_weights_of_causes(difference_of):
    causes = {"useful": (900, 300), "vector": (100, 200), "sort": (40, 30), "port": (1, 1)}
    words = explain(hand_made(difference_of("dense", "sparse"), causes, (1041, 531)))
    meanings = ("multiply-accumulates that the model needs", "vector unit at work between the GEMMs")
    assert words[1].startswith(
        f"useful ({meanings[0]}): -600 cycles, 118% of the difference; most in "
    )  # of 510
    assert words[2].startswith(f"vector ({meanings[1]}): +100 cycles, against the difference; most in ")
    assert words[3].startswith(("DRAM", "Energy"))  # those two are more than 95 % of all 710 that changed


def test_largest_covers_enough_and_is_short():
    assert largest([]) == []
    changes = [Change("a", 0, 90), Change("b", 0, -6), Change("c", 0, 4)]
    assert largest(changes) == changes[:2]  # 96 of 100
    assert len(largest([Change(str(number), 0, 1) for number in range(50)])) == 6


def test_equal_cycles_are_said_to_be_equal(tmp_path, folders):
    folder = edit(write(tmp_path, SPARSE), method="other")
    found = compare(load_simulation(folders["sparse"]), load_simulation(folder))
    assert explain(found) == [f"Both take {SPARSE.total_cycles:,} cycles."]


def test_places_are_those_that_changed_most(difference_of):
    found = difference_of("dense", "sparse")
    change = found.cause_cycles[0]
    assert change.name == "accumulator" and change.difference < 0

    def waits(result):
        return {stage: share.stall_cycles["accumulator"] for stage, share in result.stages.items()}

    more = {stage: waits(SPARSE)[stage] - waits(DENSE)[stage] for stage in SPARSE.stages}
    assert sum(more.values()) == change.difference
    assert (
        f"most in {min(more, key=more.get).upper()} ({min(more.values()):,}) and in fc" in explain(found)[1]
    )


# -- what limits a comparison --------------------------------------------------------------------------------------


def test_other_work_is_said_to_be_other_work(folders, difference_of):
    found = difference_of("sparse", "large")
    assert not found.as_dict()["same_workload"]
    assert found.notes[0].startswith(f"The workloads differ: {title(found.a)}; {title(found.b)}.")
    assert found.notes[0] in succeed("compare", folders["sparse"], folders["large"])


def test_clocks_prices_and_missing_architectures_are_noted(tmp_path, folders, difference_of):
    assert difference_of("sparse", "fast").notes == (
        "The clocks differ (200 MHz and 250 MHz): compare times where cycles mislead.",
    )
    folder = write(tmp_path, SPARSE)
    energy = json.loads((folder / "result.json").read_text())["energy"]
    edit(folder, energy=energy | {"source": "mine"})
    (folder / "resolved.yaml").unlink()
    found = compare(load_simulation(folders["fast"]), load_simulation(folder))
    assert found.notes[1:] == (
        f"No resolved.yaml beside {folder}: parameters of the architectures are not compared.",
        "Energies rest on different prices: fpga16, mine.",
    )
    assert [setting.key for setting in found.settings] == ["energy"]
    edit(folder, energy=None)
    found = compare(load_simulation(folders["fast"]), load_simulation(folder))
    assert found.notes[-1].startswith("Only one result has energies")
    assert found.component_joules == ()


# -- the command ---------------------------------------------------------------------------------------------------


def test_json_is_one_object_with_the_words(folders, difference_of):
    data = json.loads(succeed("compare", folders["dense"], folders["sparse"] / "result.json", "--json"))
    found = difference_of("dense", "sparse")
    assert data["explanation"] == explain(found)
    assert data["settings"] == [setting._asdict() for setting in found.settings]
    assert data["cause_cycles"][0] == found.cause_cycles[0].as_dict()
    assert (data["identical"], data["same_workload"]) == (False, True)


def test_the_terminal_shows_every_list(folders):
    out = succeed("compare", folders["dense"], folders["fast"])
    for heading in ("Configuration", "Iteration", "Cycles by stage", "Cycles by cause", "Cycles by layer",
                    "DRAM bytes by stage", "Energy by component, J"):  # fmt: skip
        assert f"\n{heading}" in out


def test_the_page_has_words_settings_and_all_layers(tmp_path, folders, difference_of):
    path = tmp_path / "new" / "page.html"
    out = succeed("compare", folders["dense"], folders["fast"], "--html", path)
    assert out.endswith(f"Written to {path}\n")
    page = difference_page(difference_of("dense", "fast"))
    assert {trace.type for chart in page.charts for trace in chart.figure.data} == {"bar"}
    html = path.read_text()
    assert "array.cols" in html and "B takes" in html


def test_the_steps_from_a_to_b(difference_of):
    found = difference_of("dense", "fast")
    (bars,) = next(chart for chart in difference_page(found).charts if chart.name == "waterfall").figure.data
    assert (bars.y[0], bars.y[-1]) == (found.total.a, found.total.b)
    for position in range(1, len(bars.x) - 1):
        before = bars.base[position - 1] + bars.y[position - 1]
        assert bars.base[position] == before
    assert bars.base[-2] + bars.y[-2] == found.total.b


def test_hostile_names_reach_the_terminal_harmless(tmp_path, folders):
    folder = write(tmp_path, SPARSE)
    make_hostile(folder)
    out = succeed("compare", folders["sparse"], folder)
    assert "\x1b" not in out and "\r" not in out
    assert "</script><script>window.pwned = 1</script>" in out
    code, _, err = run("compare", folders["sparse"], folder, "--html", tmp_path)
    assert (code, err.count("\n")) == (2, 1) and "is a directory" in err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (compact(999_999), "999,999"),
        (compact(228_947_963), "228.9 M"),
        (compact(1.5e9), "1.5 G"),
        (byte_text(7.27e9), "7.27 GB"),
        (byte_text(-2_000), "-2 kB"),
        (byte_text(999), "999 B"),
        (short(0.012345), "0.0123"),
        (short(-1234.5), "-1,234"),
        (interval(1.0, 2.5), "1 to 2.5"),
        (interval(3, 3), "3"),
        (interval(0, 0), ""),
        (joule_unit(0.5), ("mJ", 1e-3)),
        (joule_unit(1e-12), ("nJ", 1e-9)),
        (amount(1234567, "+"), "+1,234,567"),
        (amount(-0.000123456), "-0.0001235"),
        (amount(0), "0"),
    ],
)
def test_numbers(text, expected):
    assert text == expected
