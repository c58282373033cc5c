"""Architecture specifications: packaged files, validation, overrides and derived quantities."""

import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.strict_yaml import dump, load
from hw_models.arch import Arch, arch_schema, load_arch, packaged
from hw_models.timing import ArrayParams, Dataflow, FillPolicy

SAT_FILE = Path(__file__).parent.parent / "hw_models/archs/sat.yaml"
SAT = load_arch(SAT_FILE)
DATA: dict[str, Any] = SAT.model_dump(mode="json")


def _leaves(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


LEAVES = dict(_leaves(DATA))
NUMBERS = [
    path for path, value in LEAVES.items() if isinstance(value, (int, float)) and not isinstance(value, bool)
]
MAY_BE_ZERO = {"dram.latency_ns", "dma.setup_cycles"}


def _override_error(overrides: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as caught:
        SAT.with_overrides(overrides)
    return str(caught.value)


def _file_error(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_arch(path)
    return str(caught.value)


def test_packaged_architectures_load() -> None:
    assert packaged() == ["dense", "sat", "sat-u280", "sat-zynq"]
    for name in packaged():
        arch = load_arch(name)
        assert arch.name == name
        assert arch == load_arch(f"{name}.yaml")
        assert Arch.model_validate_json(arch.model_dump_json()) == arch
    assert len({load_arch(name).sha256 for name in packaged()}) == 4


def test_dense_differs_from_sat_in_sparsity_alone() -> None:
    dense = load_arch("dense")
    changes = {"name": dense.name, "description": dense.description, "array.sparsity": []}
    assert SAT.with_overrides(changes) == dense
    assert dense != SAT


def test_a_file_wins_over_a_packaged_name_and_a_directory_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_arch("sat") == load_arch(Path("sat.yaml")) == SAT
    (tmp_path / "sat").mkdir()
    assert load_arch("sat") == SAT
    mine = SAT.with_overrides({"array.rows": 64})
    (tmp_path / "sat.yaml").write_text(dump(mine.model_dump(mode="json")))
    assert load_arch("sat.yaml") == mine
    assert load_arch(tmp_path / "sat.yaml") == mine


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sta",
         "no architecture 'sta', did you mean \"sat\"; expected a YAML file or one of: dense, sat,"),
        ("qqq.yaml", "no architecture 'qqq.yaml'; expected a YAML file or one of: dense,"),
        ("x" * 5000, "no architecture 'xxxx"),
        ("a\0", r"no architecture 'a\x00'"),
        ("no/such.yaml", "no/such.yaml: no such file; expected a YAML specification"),
        ("/", "/: is a directory; expected a YAML specification"),
    ],
)  # fmt: skip
def test_unknown_architecture(name: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_arch(name)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 300


# --- Bad values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NUMBERS)
def test_every_number_is_bounded_and_strictly_typed(path: str) -> None:
    bad: list[Any] = [-1, 10**30, float("nan"), float("inf"), -float("inf"), True, "32", None, [], {}]
    if path not in MAY_BE_ZERO:
        bad.append(0)
    if isinstance(LEAVES[path], int):
        bad.append(LEAVES[path] + 0.5)
    for value in bad:
        message = _override_error({path: value})
        assert message.startswith(f"sat with overrides: {path}: got "), message
        assert message.isprintable()


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - set(NUMBERS)))
def test_every_other_value_is_strictly_typed(path: str) -> None:
    bad: list[Any] = [1, 1.5, None, {}, "no such value \x1b", ["no such value"]]
    for value in bad:
        if path == "description" and isinstance(value, str):
            continue
        message = _override_error({path: value})
        assert message.startswith(f"sat with overrides: {path}"), message
        assert message.isprintable()


@pytest.mark.parametrize("path", LEAVES)
def test_every_key_is_required(path: str, tmp_path: Path) -> None:
    data = copy.deepcopy(DATA)
    *parents, key = path.split(".")
    owner = data
    for parent in parents:
        owner = owner[parent]
    del owner[key]
    file = tmp_path / "arch.yaml"
    line = _block_line(data, tuple(parents))
    expected = f"{file}:{line}: {path}: key is missing; expected: "
    assert _file_error(file, dump(data)).startswith(expected)


def _block_line(data: dict[str, Any], parents: tuple[str, ...]) -> int:
    """Line of the block `parents` in dumped `data`: block mappings keep their order."""
    lines = dump(data).splitlines()
    line = 0
    for depth, parent in enumerate(parents):
        line = next(i for i in range(line, len(lines)) if lines[i].startswith("  " * depth + f"{parent}:"))
    return line + 1


# What is replaced in sat.yaml, by what, the text on the line that the message must name, and the message.
@pytest.mark.parametrize(
    ("old", "new", "culprit", "message"),
    [
        ("  rows: 32", "  rowz: 32", "rowz",
         'array.rowz: unknown key, did you mean "rows"; expected one of: rows, cols,'),
        ("  rows: 32", "  rows: 9\n  rows: 64", "rows: 64", "array.rows: duplicate key, first set on line"),
        ("  rows: 32", '  rows: "32"', "rows", 'array.rows: got "32" (string), expected a valid integer'),
        ("  rows: 32", "  rows: true", "rows", "array.rows: got true (boolean), expected a valid integer"),
        ("  rows: 32", "  rows: 32.0", "rows", "array.rows: got 32.0 (number), expected a valid integer"),
        ("  rows: 32", "  rows: -32", "rows", "array.rows: got -32 (integer), expected greater than 0"),
        ("  rows: 32", "  rows: 0", "rows", "array.rows: got 0 (integer), expected greater than 0"),
        ("  rows: 32", "  rows: 99999", "rows",
         "array.rows: got 99999 (integer), expected less than or equal to 4096"),
        ("  rows: 32", "  # none", "array:",
         "array.rows: key is missing; expected: Rows of processing elements (count)."),
        ("200e6", "200.0000005e6", "clock_hz", "clock_hz: got 200000000.5 (number), expected a valid integer"),
        ("200e6", "1e12", "clock_hz",
         "clock_hz: got 1000000000000 (integer), expected less than or equal to 5000000000"),
        ("200e6", ".inf", "clock_hz", "clock_hz: got Infinity (number), expected a valid integer"),
        ("y: 0.8", "y: .nan", "y: .nan", "dram.efficiency: got NaN (number), expected a finite number"),
        ("y: 0.8", "y: 1.25", "y: 1.25",
         "dram.efficiency: got 1.25 (number), expected less than or equal to 1"),
        ("2:8,", "8:2,", "sparsity:",
         "array.sparsity[3]: N:M ratio 8:2: expected 1 <= N <= M (N is the number kept)"),
        ("2:8,", "0:8,", "sparsity:",
         "array.sparsity[3]: N:M ratio 0:8: expected 1 <= N <= M (N is the number kept)"),
        ("2:8,", "2/8,", "sparsity:", "array.sparsity[3]: N:M ratio '2/8': expected two integers such as 2:8"),
        ("2:8,", "128,", "sparsity:",
         "array.sparsity[3]: got 128, expected an N:M ratio such as 2:8 (N kept of M)"),
        ("2:8,", "9:16,", "sparsity:",
         "array.sparsity: 9:16 keeps 9 values, expected at most weight_registers=8"),
        ("2:8,", "8:8,", "sparsity:",
         "array.sparsity: 8:8 is dense, which every array supports; expected N < M"),
        ("2:8,", "1:2,", "sparsity:", "array.sparsity: 1:2 is listed twice; expected each value once"),
        ("[ws, os]", "[ws, ws]", "[ws, ws]", "array.dataflows: ws is listed twice; expected each value once"),
        ("[ws, os]", "[]", "dataflows: []", "array.dataflows: got a list, expected at least 1 item, not 0"),
        ("[ws, os]", "[ws, is]", "[ws, is]", "array.dataflows[1]: got \"is\" (string), expected 'ws' or 'os'"),
        ("[ws, os]", "[os]", "\noptimizations:",
         "optimizations: fixed_dataflow is ws, expected one of array.dataflows: os"),
        ("port_bits: 64", "port_bits: 8", "\nprecision:",
         "precision: operand_bits is 16, but array.activation_port_bits is 8;"),
        ("accumulator_bits: 32", "accumulator_bits: 8", "_bits: 8",
         "precision.accumulator_bits: got 8 (integer), expected 16 or 32"),
        ("operand_bits: 16", "operand_bits: 16\n  x: 1", "x: 1",
         "precision.x: unknown key; expected one of: operand_bits,"),
        ("port_bits: 512", "port_bits: 500", "bits: 500",
         "dma.port_bits: got 500 (integer), expected 8, 16, 32, 64, 128, 256, 512 or"),
        ("banks: 32", "banks: 33", "banks: 33",
         "buffers.activation.banks: got 33, expected a divisor of capacity_bytes=4194304:"),
        ("width_bits: 64", "width_bits: 63", "bits: 63",
         "dram.width_bits: got 63 (integer), expected a multiple of 8"),
        ("name: sat", "name: ../sat", "../sat", 'name: got "../sat" (string), expected pattern '),
        ("\nprecision:", "\nprecision: 16\nx:", "\nx:",
         "x: unknown key; expected one of: name, description, clock_hz, array,"),
    ],
)  # fmt: skip
def test_bad_file_is_explained(old: str, new: str, culprit: str, message: str, tmp_path: Path) -> None:
    original = SAT_FILE.read_text()
    assert old in original
    text = original.replace(old, new, 1)
    place = text.index(culprit) + culprit.startswith("\n")
    file = tmp_path / "my.yaml"
    found = _file_error(file, text)
    assert found.startswith(f"{file}:{text.count(chr(10), 0, place) + 1}: {message}")
    assert "\n" not in found


def test_cross_field_checks_of_precision() -> None:
    message = _override_error({"precision.operand_bits": 32, "precision.accumulator_bits": 16})
    assert (
        message == "sat with overrides: precision.accumulator_bits: got 16, expected at least operand_bits=32"
    )


# --- Overrides and identity -------------------------------------------------------------------------------------


def test_overrides_replace_and_revalidate() -> None:
    changed = SAT.with_overrides(
        {
            "array.rows": 64,
            "clock_hz": 250e6,
            "array.sparsity": ["2:8"],
            "optimizations.fixed_dataflow": Dataflow.OS,
        }
    )
    assert (changed.array.rows, changed.clock_hz) == (64, 250_000_000)
    assert changed.array.sparsity == (NM(2, 8),)
    assert changed.optimizations.fixed_dataflow is Dataflow.OS
    assert SAT.array.rows == 32
    assert SAT.with_overrides({"array.sparsity": (NM(2, 4),)}).array.sparsity == (NM(2, 4),)
    assert SAT.with_overrides({"sore": {"lanes": 7}}).sore.lanes == 7
    assert SAT.with_overrides({}) == SAT


def test_overrides_apply_in_order_and_leave_their_values_alone() -> None:
    array = {**DATA["array"], "cols": 8}
    changed = SAT.with_overrides({"array": array, "array.rows": 64})
    assert (changed.array.rows, changed.array.cols, array["rows"]) == (64, 8, 32)
    assert _override_error({"array": 3, "array.rows": 64}).startswith(
        "sat: no architecture parameter 'array.rows'"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("array.rowz",
         "sat: no architecture parameter 'array.rowz', did you mean \"array.rows\"; expected one of: array.rows,"),
        ("rows", "sat: no architecture parameter 'rows'"),
        ("aray.rows",
         "sat: no architecture parameter 'aray.rows', did you mean \"array.rows\"; expected one of: name,"),
        ("array.rows.x", "sat: no architecture parameter 'array.rows.x', did you mean \"array.rows\""),
        ("", "sat: no architecture parameter ''; expected one of: name, description,"),
    ],
)  # fmt: skip
def test_unknown_override(path: str, message: str) -> None:
    assert _override_error({path: 1}).startswith(message)


def test_sha256_depends_on_content_alone(tmp_path: Path) -> None:
    def reverse(data: Any) -> Any:
        return {key: reverse(data[key]) for key in reversed(data)} if isinstance(data, dict) else data

    file = tmp_path / "other.yaml"
    file.write_text("# another layout\n" + dump(reverse(DATA)))
    assert load_arch(file).sha256 == SAT.sha256
    assert SAT.with_overrides({"clock_hz": 200_000_000}).sha256 == SAT.sha256


def test_sha256_sees_every_number() -> None:
    halved = {
        path: LEAVES[path] / 2 if isinstance(LEAVES[path], float) else LEAVES[path] // 2 for path in NUMBERS
    }
    halved |= {"array.weight_registers": 16, "dma.setup_cycles": 5, "precision.operand_bits": 32}
    halved |= {"precision.accumulator_bits": 16, "precision.master_bits": 16}
    hashes = {SAT.with_overrides({path: value}).sha256 for path, value in halved.items()}
    assert len(hashes | {SAT.sha256}) == len(NUMBERS) + 1


def test_arch_is_an_immutable_value() -> None:
    fresh = load_arch("sat")
    assert fresh == SAT and hash(fresh) == hash(SAT)
    assert SAT.sha256 and fresh == SAT  # a computed hash does not make it another value
    assert pickle.loads(pickle.dumps(SAT)) == SAT
    with pytest.raises(ValueError, match="frozen"):
        SAT.array.rows = 64  # type: ignore[misc]


# --- Derived quantities -----------------------------------------------------------------------------------------


def test_array_params_of_sat() -> None:
    expected = ArrayParams(
        rows=32,
        cols=32,
        interleave_depth=8,
        multiplier_latency_cycles=3,
        accumulator_latency_cycles=8,
        activation_port_values=4,  # 64 bits of FP16
        double_weights=True,
        double_accumulators=True,
        fill_policy=FillPolicy.HIDDEN,
    )
    assert SAT.array_params == expected
    assert SAT.with_overrides({"optimizations.interleave": False}).array_params.interleave_depth == 1
    single = SAT.with_overrides({"precision.operand_bits": 32})
    assert single.array_params.activation_port_values == 2
    assert SAT.peak_macs_per_cycle == 1024


def test_memory_of_sat() -> None:
    # 4 channels x 8 B x 2400 MT/s = 76.8 GB/s, the figure of the VCU1525's four DIMMs; 80 % of it at 200 MHz is
    # 307.2 B a cycle, 1536 B in 5 cycles.
    assert SAT.dram.peak_bytes_per_second == 76_800_000_000
    assert SAT.dram.bytes_per_second == 61_440_000_000
    assert [SAT.dram_cycles(byte_count) for byte_count in (0, 1, 307, 308, 1536, 1537)] == [0, 1, 1, 2, 5, 6]
    assert SAT.dram_latency_cycles == 20  # 100 ns of 5 ns each
    assert SAT.dma.port_bytes_per_cycle == 64
    assert SAT.dma_bytes_per_cycle == 256


def test_u280_bandwidth_is_the_published_one() -> None:
    # AMD UG1393: 32 pseudo-channels, 460 GB/s.
    assert abs(load_arch("sat-u280").dram.peak_bytes_per_second / 10**9 - 460) < 1


def test_buffers_are_made_of_whole_memory_blocks() -> None:
    # A BRAM36 holds 4 KiB of data, a URAM288 32 KiB (AMD UG573); device totals as in the files' comments.
    blocks_4kib = {
        "dense": 8 * 800 + 1602,
        "sat": 8 * 800 + 1602,
        "sat-u280": 8 * 960 + 2016,
        "sat-zynq": 912,
    }
    for name in packaged():
        buffers = [buffer for _, buffer in load_arch(name).buffers]
        assert all(buffer.capacity_bytes // buffer.banks % 4096 == 0 for buffer in buffers)
        assert sum(buffer.capacity_bytes for buffer in buffers) // 4096 < 0.8 * blocks_4kib[name]


def test_a_tile_has_half_of_a_double_buffer() -> None:
    assert SAT.buffers.weight.tile_bytes == 1 << 20
    single = SAT.with_overrides({"buffers.weight.double_buffered": False})
    assert single.buffers.weight.tile_bytes == 2 << 20


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1 << 40), st.sampled_from([0.1, 0.7, 0.8, 0.93, 1.0]))
def test_dram_cycles_cover_the_bytes_and_no_cycle_more(byte_count: int, efficiency: float) -> None:
    arch = SAT.with_overrides({"dram.efficiency": efficiency})
    cycles = arch.dram_cycles(byte_count)
    # Percent, so that both sides are integers: bytes that pass in a second, times 100.
    per_second = 76_800_000_000 * round(efficiency * 100)
    assert cycles * per_second >= byte_count * 200_000_000 * 100 > (cycles - 1) * per_second


# --- Schema -----------------------------------------------------------------------------------------------------


def test_schema_describes_every_field() -> None:
    schema = json.loads(json.dumps(arch_schema()))
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["title"] == "codesign architecture"
    models = [schema, *(model for model in schema["$defs"].values() if "properties" in model)]
    fields = [(name, field) for model in models for name, field in model["properties"].items()]
    assert len(fields) > 50
    for name, field in fields:
        assert len(field.get("description", "")) > 10, name
        assert field["description"].endswith(".")
    assert all(model["additionalProperties"] is False for model in models)
    assert all(set(model["required"]) == set(model["properties"]) for model in models)


def test_names_and_descriptions_agree_on_units() -> None:
    words = {"_cycles": "cycles", "_bits": "bits", "_bytes": "bytes", "_hz": "hertz", "_ns": "nanoseconds"}
    for model in [arch_schema(), *arch_schema()["$defs"].values()]:
        for name, field in model.get("properties", {}).items():
            for suffix, word in words.items():
                assert not name.endswith(suffix) or word in field["description"], name
            if field.get("type") in ("integer", "number"):
                assert "(" in field["description"], f"{name} states no unit"


def test_schema_accepts_the_packaged_files_and_refuses_slips() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(arch_schema())
    for name in packaged():
        assert not list(validator.iter_errors(load(SAT_FILE.with_stem(name)).data))
    for path, value in {
        "array.rows": 0,
        "array.sparsity": ["2/8"],
        "dma.port_bits": 500,
        "array.rowz": 1,
    }.items():
        data = copy.deepcopy(DATA)
        block, key = path.split(".")
        data[block][key] = value
        assert list(validator.iter_errors(data)), path
