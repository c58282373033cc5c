"""Bad input to the command line: exit status 2, one line on stderr that helps, nothing on stdout, nothing written.

Runs are in this process, so whatever escapes as an exception fails its test; one test confirms with a real process.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import run, run_process

import codesign
from workloads.run_trace import FORMAT, VERSION

SAT_TEXT = (Path(codesign.__file__).parent.parent / "hw_models/archs/sat.yaml").read_text()
GEMM = ("--workload", "gemm:8x8x8")

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)


def check_refused(pattern: str, *args: object) -> None:
    """The command fails as bad input must, with a message that matches `pattern`, and leaves no file behind."""
    before = sorted(Path().rglob("*"))
    code, out, err = run(*args)
    assert (code, out) == (2, ""), err
    assert re.fullmatch(r"codesign: error: [^\n]+\n", err)
    assert re.search(pattern, err), err
    assert err[:-1].isprintable()
    assert sorted(Path().rglob("*")) == before


def check_simulation_refused(pattern: str, *args: object) -> None:
    """The same for `simulate`, asked to write a folder."""
    check_refused(pattern, "simulate", *args, "--out", "out")


def replaced(old: str, new: str) -> str:
    """The text of sat.yaml with its only `old` replaced by `new`."""
    assert SAT_TEXT.count(old) == 1
    return SAT_TEXT.replace(old, new)


def line_of(text: str, part: str) -> int:
    """Number of the last line of `text` that holds `part`."""
    return max(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def test_a_process_refuses_in_the_same_way() -> None:
    done = run_process(sys.executable, "-m", "codesign", "simulate", "--workload", "resnet99", "--out", "out")
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"codesign: error: unknown workload 'resnet99'[^\n]+\n", done.err)
    assert not Path("out").exists()


# -- architecture files --------------------------------------------------------------------------------------------

ROWS = "\n  rows: 32 "
RATIOS = "[1:2, 2:4,"

# What is changed in sat.yaml, the key at fault (on the last line of the change), and what is said about it.
ARCH_CASES = {
    "unknown key": (ROWS, "\n  rosw: 32 ", "array.rosw", 'unknown key, did you mean "rows"; expected'),
    "unknown block": ("\nsore:", "\nsort:", "sort", 'unknown key, did you mean "sore"; .* one of: name, '),
    "unknown key, nothing near": (
        ROWS,
        f"{ROWS}\n  zzz: 1 ",
        "array.zzz",
        "unknown key; expected one of: rows",
    ),
    "duplicate key": (ROWS, f"{ROWS}\n  rows: 16 ", "array.rows", "duplicate key, first set on line"),
    "duplicate block": ("\nsore:", "\nsore: {}\nsore:", "sore", "duplicate key, first set on line"),
    "string for integer": (ROWS, "\n  rows: '32' ", "array.rows", r'got "32" \(string\), expected a valid'),
    "word for integer": (ROWS, "\n  rows: many ", "array.rows", r'got "many" \(string\)'),
    "boolean for integer": (ROWS, "\n  rows: true ", "array.rows", r"got true \(boolean\)"),
    "fraction for integer": (ROWS, "\n  rows: 32.5 ", "array.rows", r"got 32\.5 \(number\)"),
    "null for integer": (ROWS, "\n  rows: ", "array.rows", "got null"),
    "list for integer": (ROWS, "\n  rows: [32] ", "array.rows", "got a list"),
    "number for block": (
        "\nsore:\n  lanes: 32 ",
        "\nsore: 3 ",
        "sore",
        r"got 3 \(integer\), expected a mapping",
    ),
    "integer for boolean": ("interleave: true", "interleave: 1", "optimizations.interleave", "got 1"),
    "negative": (ROWS, "\n  rows: -1 ", "array.rows", "got -1 .*, expected greater than 0"),
    "zero": (ROWS, "\n  rows: 0 ", "array.rows", "got 0 .*, expected greater than 0"),
    "absurdly large": (ROWS, "\n  rows: 1000000000 ", "array.rows", "less than or equal to 4096"),
    "6,000 digits": (ROWS, f"\n  rows: {'9' * 6000} ", "array.rows", "an integer of 6000 digits"),
    "clock that overflows": ("clock_hz: 200e6", "clock_hz: 1e999", "clock_hz", "got Infinity"),
    "clock of a watch": (
        "clock_hz: 200e6",
        "clock_hz: 32768",
        "clock_hz",
        "greater than or equal to 1000000",
    ),
    "NaN": ("efficiency: 0.8", "efficiency: .nan", "dram.efficiency", "got NaN .*finite"),
    "infinity": ("latency_ns: 100", "latency_ns: .inf", "dram.latency_ns", "got Infinity .*finite"),
    "more than all": ("efficiency: 0.8", "efficiency: 1.1", "dram.efficiency", "less than or equal to 1"),
    "N > M": (RATIOS, "[1:2, 8:2,", "array.sparsity", "N:M ratio 8:2: expected 1 <= N <= M"),
    "N = 0": (RATIOS, "[1:2, 0:4,", "array.sparsity", "N:M ratio 0:4: expected 1 <= N <= M"),
    "malformed N:M": (RATIOS, "[1:2, 2/4,", "array.sparsity", "N:M ratio '2/4': expected two integers"),
    "N beyond the registers": (RATIOS, "[1:2, 9:16,", "array.sparsity", "at most weight_registers=8"),
    "unknown dataflow": ("[ws, os]", "[ws, is]", "array.dataflows", "expected 'ws' or 'os'"),
    "name for a path": ("name: sat\n", "name: ../sat\n", "name", r'got "\.\./sat"'),
}


@pytest.mark.parametrize(("old", "new", "key", "message"), ARCH_CASES.values(), ids=ARCH_CASES)
def test_architecture_file_is_refused_with_file_line_and_key(
    old: str, new: str, key: str, message: str
) -> None:
    text = replaced(old, new)
    Path("bad.yaml").write_text(text)
    line = line_of(text, new.strip().splitlines()[-1])
    where = rf"bad\.yaml:{line}: {re.escape(key)}(\[\d+\])?: "
    check_simulation_refused(where + r".*" + message, *GEMM, "--arch", "bad.yaml")


def test_missing_key_is_refused_on_the_line_of_its_block() -> None:
    text = replaced("\n  cols: 32 ", "\n  # cols: 32 ")
    Path("bad.yaml").write_text(text)
    where = rf"bad\.yaml:{line_of(text, 'array:')}: array\.cols: "
    check_simulation_refused(
        where + r"key is missing; expected: Columns of processing elements", *GEMM, "--arch", "bad.yaml"
    )


@pytest.mark.parametrize("buffer", ["activation", "weight", "output"])
@pytest.mark.parametrize("command", ["simulate", "schedule"])
def test_buffer_that_holds_no_tile_is_refused(buffer: str, command: str) -> None:
    """32 bytes double-buffered hold 8 FP16 values or 4 FP32 sums: no group of 16, and no row of a 32-wide array."""
    text = re.sub(rf"(\n  {buffer}: .*\n    capacity_bytes: )\d+", r"\g<1>32", SAT_TEXT)
    assert text != SAT_TEXT
    Path("small.yaml").write_text(text)
    message = (
        rf"operation 'gemm.ff': the smallest tile .* buffers\.{buffer} holds 16 B a tile, needs \d\d+ B;"
    )
    workload = ("--workload", "gemm:64x64x64", "--nm", "2:16")
    check_refused(message, command, *workload, "--arch", "small.yaml", "--out", "out/x")


def test_work_beyond_reason_is_refused() -> None:
    """16 bytes hold a row of 8 values, so 99,999,999 rows of 4,096 values take 51,199,999,488 tiles in FF alone."""
    text = re.sub(r"(\n  activation: .*\n    capacity_bytes: )\d+", r"\g<1>32", SAT_TEXT)
    Path("small.yaml").write_text(text)
    workload = ("--workload", "gemm:99999999x4096x64", "--arch", "small.yaml")
    check_simulation_refused(r"\d{11,} tiles, expected at most \d+", *workload)


def _alias_bomb() -> str:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(["l0: &l0 [x]", *levels])


FILES = {
    "empty": (b"", "is empty; expected a YAML specification"),
    "only a comment": (b"# nothing\n", "is empty"),
    "binary": (bytes(range(256)) * 8, "binary file"),
    "not UTF-8": (b"name: \xff\n", r":1: got byte 0xff, expected UTF-8 text"),
    "NUL": (b"name: sat\nx: \x00\n", r":2: got control character"),
    "alias bomb": (_alias_bomb().encode(), "counting what aliases repeat"),
    "deep nesting": (b"[" * 10_000, "more than 64 levels"),
    "unclosed bracket": (b"name: [\n", "not valid YAML"),
    "list": (b"- name\n- sat\n", "got a list, expected a mapping"),
    "bare word": (b"sat\n", r'got "sat" \(string\), expected a mapping'),
    "python object": (b"name: !!python/object/apply:os.system [touch owned]\n", "tag .* is not allowed"),
    "two documents": (SAT_TEXT.encode() + b"---\nname: x\n", "a second document starts here"),
    "2 MB": (b"#" * (2 << 20), "larger than 1048576 bytes"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("option", ["--arch", "--workload"])
def test_file_that_is_no_specification_is_refused(content: bytes, message: str, option: str) -> None:
    Path("bad.yaml").write_bytes(content)
    check_simulation_refused(rf"bad\.yaml\b.*{message}", *GEMM, option, "bad.yaml")


@pytest.mark.parametrize("option", ["--arch", "--workload"])
def test_file_that_cannot_be_read_is_refused(option: str) -> None:
    Path("here/folder.yaml").mkdir(parents=True)
    os.mkfifo("here/pipe.yaml")
    check_simulation_refused(r"here/folder\.yaml: is a directory", *GEMM, option, "here/folder.yaml")
    check_simulation_refused(r"here/pipe\.yaml: is not a regular file", *GEMM, option, "here/pipe.yaml")
    check_simulation_refused(r"here/no\.yaml: no such file", *GEMM, option, "here/no.yaml")
    check_simulation_refused("File name too long", *GEMM, option, f"here/{'a' * 300}.yaml")
    check_simulation_refused(r"\\x1b\[31m\\n\.yaml': no such file", *GEMM, option, "here/\x1b[31m\n.yaml")


def test_folder_as_architecture_is_refused() -> None:
    Path("here/folder").mkdir(parents=True)
    check_simulation_refused("folder: is a directory; expected a YAML", *GEMM, "--arch", "here/folder")
    check_simulation_refused("no architecture 'here'; expected", *GEMM, "--arch", "here")


def test_path_of_an_architecture_is_not_taken_for_a_packaged_name() -> None:
    check_simulation_refused(r"sat\.yaml: no such file", *GEMM, "--arch", "./sat.yaml")


@needs_permissions
@pytest.mark.parametrize("option", ["--arch", "--workload"])
def test_unreadable_file_is_refused(option: str) -> None:
    Path("secret.yaml").write_text(SAT_TEXT)
    Path("secret.yaml").chmod(0)
    check_simulation_refused(r"secret\.yaml: cannot be read: Permission denied", *GEMM, option, "secret.yaml")


# -- options -------------------------------------------------------------------------------------------------------

OPTIONS = {
    "unknown architecture": (["--arch", "sta"], """no architecture 'sta', did you mean "sat"; expected"""),
    "unknown architecture file": (["--arch", "sta.yaml"], 'did you mean "sat"'),
    "unknown workload": (
        ["--workload", "resnet1"],
        "unknown workload 'resnet1', did you mean \"resnet18\"",
    ),
    "unknown workload, nothing near": (
        ["--workload", "zzz"],
        r"unknown workload 'zzz'; .* one of: bert-base, ",
    ),
    "unknown method": (
        ["--method", "bdpw"],
        "unknown method 'bdpw', did you mean \"bdwp\"; expected one of: dense",
    ),
    "unknown method, dense array": (["--arch", "dense", "--method", "bdpw"], "unknown method 'bdpw'"),
    "N > M": (["--nm", "8:2"], "N:M ratio 8:2: expected 1 <= N <= M"),
    "N = 0": (["--nm", "0:4"], "N:M ratio 0:4: expected 1 <= N <= M"),
    "negative N": (["--nm", "-2:8"], "N:M ratio '-2:8': expected two integers"),
    "N:M that the array lacks": (
        ["--nm", "3:7"],
        "--nm 3:7: not in array.sparsity of .*'sat'.* one of: 1:2, 2:4",
    ),
    "N:M without colon": (["--nm", "28"], "N:M ratio '28': expected two integers such as 2:8"),
    "N:M in words": (["--nm", "two:eight"], "N:M ratio 'two:eight': expected two integers"),
    "N:M of three": (["--nm", "1:2:4"], "N:M ratio '1:2:4'"),
    "N:M empty": (["--nm", ""], "N:M ratio ''"),
    "N:M with dense": (["--method", "dense", "--nm", "2:8"], "--nm 2:8 has no meaning with --method dense"),
    "sparse method on dense array": (
        ["--arch", "dense", "--method", "bdwp"],
        "'dense'; .*use --method dense",
    ),
    "N:M on dense array": (
        ["--arch", "dense", "--nm", "2:8"],
        "--nm 2:8: not in array.sparsity of .*'dense'",
    ),
    "batch 0": (["--workload", "mlp", "--batch", "0"], "batch 0: expected an integer from 1 to"),
    "batch -1": (["--workload", "mlp", "--batch", "-1"], "batch -1: expected an integer from 1 to"),
    "batch abc": (["--workload", "mlp", "--batch", "abc"], "'--batch': 'abc' is not a valid integer"),
    "batch 1.5": (["--workload", "mlp", "--batch", "1.5"], "'--batch': '1.5' is not a valid integer"),
    "batch beyond reason": (
        ["--workload", "mlp", "--batch", 10**18],
        "batch 10+: expected an integer from 1 to",
    ),
    "batch of a GEMM": (["--workload", "gemm:8x8x8", "--batch", "2"], "'gemm:8x8x8' does not take batch"),
    "tokens of a ResNet": (["--workload", "resnet18", "--seq-len", "8"], "'resnet18' does not take seq_len"),
    "tokens 0": (["--workload", "bert-base", "--seq-len", "0"], "seq_len 0: expected"),
    "too many tokens": (
        ["--workload", "bert-base", "--seq-len", "513"],
        "sequence length 513: .* at most 512",
    ),
    "classes of BERT": (["--workload", "bert-base", "--classes", "8"], "does not take classes"),
    "input too small": (["--workload", "vgg16", "--input-size", "1"], "'pool1': .* use a larger input"),
    "input of no patches": (
        ["--workload", "vit-base", "--input-size", "100"],
        "100 must be a multiple of .* 16",
    ),
    "gemm without sizes": (["--workload", "gemm:"], "'gemm:': expected sizes from 1"),
    "gemm of two": (["--workload", "gemm:8x8"], "'gemm:8x8': got 2 sizes, expected gemm:MxKxN"),
    "gemm of four": (["--workload", "gemm:8x8x8x8"], "got 4 sizes, expected gemm:MxKxN"),
    "gemm of 0": (["--workload", "gemm:0x8x8"], "expected sizes from 1 to 99999999"),
    "gemm of -1": (["--workload", "gemm:-1x8x8"], "expected sizes from 1 to 99999999"),
    "gemm of words": (["--workload", "gemm:axbxc"], "expected sizes from 1 to 99999999"),
    "gemm beyond reason": (["--workload", f"gemm:8x8x{10**12}"], "expected sizes from 1 to 99999999"),
    "mlp of one": (["--workload", "mlp:8"], "'mlp:8': got 1 sizes, expected mlp: and at least two sizes"),
    "unknown dataflow": (["--dataflow", "is"], "'--dataflow': 'is' is not one of 'auto', 'ws', 'os'"),
    "unknown option": (["--bacth", "8"], "No such option '--bacth'.*--batch"),
    "option without value": (["--batch"], "--batch"),
    "surplus argument": (["resnet18"], "unexpected extra argument"),
}


@pytest.mark.parametrize(("args", "message"), OPTIONS.values(), ids=OPTIONS)
def test_option_is_refused(args: list[object], message: str) -> None:
    if "--workload" not in args:
        args = [*GEMM, *args]
    check_refused(message, "simulate", "--out", "out", *args)
    check_refused(message, "schedule", "--out", "out/program.json", *args)


def test_default_ratio_that_the_array_lacks_is_called_a_default() -> None:
    Path("half.yaml").write_text(re.sub(r"sparsity: \[.*\]", "sparsity: [1:2]", SAT_TEXT))
    check_simulation_refused(r"2:8 \(default\): not in array\.sparsity .* 1:2", *GEMM, "--arch", "half.yaml")


def test_dataflow_that_the_array_lacks_is_refused() -> None:
    text = replaced("dataflows: [ws, os]", "dataflows: [os]").replace(
        "fixed_dataflow: ws", "fixed_dataflow: os"
    )
    Path("os.yaml").write_text(text)
    check_simulation_refused(
        "--dataflow ws: not in array.dataflows of .*: os", *GEMM, "--arch", "os.yaml", "--dataflow", "ws"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["simulat"], "No such command 'simulat'"),
        (["--verbose"], "No such option '--verbose'"),
        (["list"], "Missing argument"),
        (["list", "planets"], "'planets' is not one of 'archs', 'workloads', 'methods'"),
        (["schema", "planets"], "'planets' is not"),
        (["headline", "--batch", "0"], "batch 0: expected an integer from 1 to"),
        (["headline", "--nm", "3:7"], "--nm 3:7: not in array.sparsity"),
        (["headline", "--arch", "dense"], "not in array.sparsity of .*'dense'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_command_is_refused(args: list[str], message: str) -> None:
    check_refused(message, *args)


# -- workload files ------------------------------------------------------------------------------------------------

CSV_HEADER = "Layer, M, N, K,\n"
CSV_FILES = {
    "empty": (b"", "is empty"),
    "binary": (bytes(range(256)), "is not UTF-8 text"),
    "prose": (b"It was a dark and stormy night, said she,\n", r":1: got the header"),
    "no layers": (CSV_HEADER.encode(), r":1: 0 layers follow the header, expected 1 to"),
    "short row": ((CSV_HEADER + "fc, 8, 8\n").encode(), r":2: got 3 fields, expected a name and M, N, K"),
    "word": ((CSV_HEADER + "fc, 8, many, 8,\n").encode(), r":2: N is 'many', expected an integer from 1"),
    "negative": ((CSV_HEADER + "\nfc, 8, 8, -8,\n").encode(), r":3: K is '-8', expected an integer from 1"),
    "zero": ((CSV_HEADER + "fc, 0, 8, 8,\n").encode(), r":2: M is '0', expected an integer from 1"),
    "huge": ((CSV_HEADER + f"fc, {10**30}, 8, 8,\n").encode(), r":2: M is '10+', expected an integer"),
    "surplus": ((CSV_HEADER + "fc, 8, 8, 8, 2:4,\n").encode(), r":2: unexpected column '2:4' after K"),
}


@pytest.mark.parametrize(("content", "message"), CSV_FILES.values(), ids=CSV_FILES)
def test_scalesim_file_is_refused_with_its_line(content: bytes, message: str) -> None:
    Path("net.csv").write_bytes(content)
    check_simulation_refused(rf"net\.csv.*{message}", "--workload", "net.csv")


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not a protobuf at all", bytes(range(256)) * 64])
def test_onnx_file_is_refused(content: bytes) -> None:
    pytest.importorskip("onnx")
    Path("net.onnx").write_bytes(content)
    check_simulation_refused(r"net\.onnx: is (empty|no ONNX model)", "--workload", "net.onnx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "input: [8]\nlayers:\n  - linear: {uot: 8}\n",
            r':3: layers\[0\]\.linear\.uot: unknown key, did you mean "out"',
        ),
        (
            "gemms:\n  - {m: 8, k: 0, n: 8}\n",
            r":2: gemms\[0\]\.k: got 0 .*, expected greater than or equal to 1",
        ),
        ("gemms: []\n", r":1: gemms: "),
        ("gemms:\n  - {m: 8, k: 8}\n", r":2: gemms\[0\]\.n: key is missing"),
    ],
    ids=["unknown key", "zero", "empty", "missing key"],
)
def test_yaml_workload_is_refused_with_line_and_key(text: str, message: str) -> None:
    Path("net.yaml").write_text(text)
    check_simulation_refused(rf"net\.yaml{message}", "--workload", "net.yaml")


def _trace(*ops: str) -> str:
    layer = '{"name": "l", "kind": "linear", "params": 64, "weight_params": 64, "cin": 8, "cout": 8}'
    iteration = f'{{"name": "net", "batch": 1, "layers": [{layer}], "ops": [{", ".join(ops)}]}}'
    content = json.loads(f'{{"iteration": {iteration}, "run": null}}')
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps({"format": FORMAT, "version": VERSION, "sha256": digest, "content": content})


def _gemm_op(gemms: str, deps: str = "[]") -> str:
    roles = '"a": "activation", "b": "weight"'
    return f'{{"name": "f", "layer": "l", "stage": "ff", "gemms": {gemms}, {roles}, "deps": {deps}}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("{", r"net\.json: is no JSON"),
        ("[1, 2]", r"net\.json: is no training trace"),
        (_trace(), "trace 'net': .*operation"),
        (_trace(_gemm_op("[]")), "operation 'f'"),
        (_trace(_gemm_op('[{"i": 8, "k": 0, "j": 8}]')), "size 0, expected at least 1"),
        (
            _trace(_gemm_op('[{"i": 8, "k": 8, "j": 8}]', deps='["g"]')),
            "depends on 'g', which does not come before",
        ),
        (_trace(_gemm_op('[{"i": 8, "k": 8, "j": 8, "count": 1000000000000000}]')), "operation 'f'"),
    ],
    ids=[
        "empty",
        "not JSON",
        "list",
        "no operations",
        "no products",
        "zero",
        "unknown dependence",
        "10^15 products",
    ],
)
def test_saved_trace_is_refused(text: str, message: str) -> None:
    Path("net.json").write_text(text)
    check_simulation_refused(message, "--workload", "net.json")


# -- places that cannot be written -----------------------------------------------------------------------------


def _below_a_file() -> str:
    Path("file").write_text("")
    return "file/below/out"


def _read_only_folder() -> str:
    Path("locked").mkdir(mode=0o555)
    return "locked/out"


def _hidden_folder() -> str:
    Path("hidden/inner").mkdir(parents=True)
    Path("hidden").chmod(0)
    return "hidden/inner/out"


PLACES = [
    pytest.param(_below_a_file, "file is not a directory", id="below a file"),
    pytest.param(lambda: "a" * 300, "File name too long", id="long name"),
    pytest.param(
        _read_only_folder, "no permission in locked", id="read-only folder", marks=needs_permissions
    ),
    pytest.param(_hidden_folder, "no permission in hidden", id="hidden folder", marks=needs_permissions),
]


@pytest.fixture
def opened_again() -> Iterator[None]:
    """Lets pytest remove what a test has locked."""
    yield
    for folder in ("locked", "hidden"):
        if Path(folder).exists():
            Path(folder).chmod(0o755)


@pytest.mark.usefixtures("opened_again")
@pytest.mark.parametrize(("place", "message"), PLACES)
def test_place_that_cannot_be_written_is_refused(place: Callable[[], str], message: str) -> None:
    out = place()
    check_refused(message, "simulate", *GEMM, "--out", out)
    check_refused(message, "schedule", *GEMM, "--out", f"{out}/program.json")


def test_folder_as_the_file_of_a_schedule_is_refused() -> None:
    Path("folder").mkdir()
    check_refused("folder: is a directory", "schedule", *GEMM, "--out", "folder")


@pytest.mark.parametrize("command", ["simulate", "schedule"])
def test_place_is_checked_before_the_work(command: str) -> None:
    """The unusable place is reported, not the unknown workload."""
    check_refused("is not a directory", command, "--workload", "zzz", "--out", f"{_below_a_file()}/x")
