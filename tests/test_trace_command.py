"""`codesign trace`: what it writes and prints, and one clear line for everything that cannot be traced."""

import json
import re
import sys
from pathlib import Path

import pytest
from command_line import run, succeed

pytest.importorskip("torch")

from workloads import catalog
from workloads.run_trace import load_run_trace

NETS = """
import torch
from torch import nn

print("imported")

def tiny():
    print("built")
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 10))

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.fc = nn.Linear(8, 4)

    def forward(self, ids):
        import helper_of_nets
        return self.fc(self.table(ids))

def half():
    return nn.Linear(4, 2, dtype=torch.bfloat16)

def takes(size):
    return nn.Linear(size, size)

def fails():
    raise ValueError("no such size" + chr(10) + "at all")

def number():
    return 3

def branches():
    class Branches(nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x
    return Branches(4, 4)
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """Every test works in an empty folder with a module of networks, which is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS)
    Path("helper_of_nets.py").write_text("")
    Path("broken.py").write_text("import missing_package")
    Path("wrong.py").write_text("1 +")
    Path("leaves.py").write_text("raise SystemExit(3)")
    before = sys.path.copy()
    yield
    assert sys.path == before
    for name in ("nets", "helper_of_nets", "broken", "wrong", "leaves"):
        sys.modules.pop(name, None)


def test_a_named_network():
    out = json.loads(succeed("trace", "resnet18", "--batch", 4, "--json"))
    named = catalog.load("resnet18", batch=4)
    assert out == {
        "name": "resnet18",
        "batch": 4,
        "optimizer": "sgd",
        "operations": len(named.ops),
        "layers": len(named.layers),
        "params": 11_689_512,
        "forward_macs_per_sample": 1_814_073_344,
        "training_macs_per_sample": 5_324_206_080,
        "file": "traces/resnet18/trace.json",
    }
    trace = load_run_trace(Path("traces/resnet18"))
    assert trace.run is None
    assert trace.iteration.params == named.params


def test_sizes_of_a_named_network_are_its_own_unless_given():
    out = json.loads(succeed("trace", "gpt-nano", "--json", "--tokens", 97, "--out", "a"))
    assert (out["batch"], out["optimizer"], out["file"]) == (64, "adamw", "a/trace.json")
    assert out["params"] == 12 * 3 * 48**2 + 13 * 3 * 48 + 2 * 48 + (97 + 1024) * 48
    shorter = json.loads(
        succeed("trace", "gpt-nano", "--json", "--tokens", 97, "--input", 32, "--optimizer", "sgd")
    )
    assert shorter["forward_macs_per_sample"] < out["forward_macs_per_sample"] / 4
    assert shorter["optimizer"] == "sgd"


def test_names_that_are_no_file_names():
    assert "traces/mlp-16x8x4/trace.json" in succeed("trace", "mlp:16x8x4", "--batch", 2)


def test_a_function_of_the_user():
    """By hand: 3 x 3 x 3 x 8 products for each of 6 x 6 pixels, 288 x 10; the first layer sends no gradient back."""
    code, out, err = run("trace", "nets:tiny", "--input", "3x8x8", "--batch", 4)
    assert (code, err) == (0, "imported\nbuilt\n")
    assert re.findall(r"^(\S.*?)  +(.*)$", out, re.MULTILINE) == [
        ("name", "tiny"),
        ("batch", "4"),
        ("optimizer", "sgd"),
        ("operations", "13"),
        ("layers", "2"),
        ("params", "3,114"),
        ("forward macs per sample", "10,656"),
        ("training macs per sample", f"{3 * 10_656 - 36 * 216:,}"),
        ("file", "traces/tiny/trace.json"),
    ]
    assert [layer.name for layer in load_run_trace(Path("traces/tiny")).iteration.layers] == ["0", "3"]


def test_a_class_that_reads_tokens():
    code, out, _ = run("trace", "nets:Words", "--input", "7", "--tokens", 50, "--batch", 2, "--json")
    assert code == 0
    assert json.loads(out)["forward_macs_per_sample"] == 7 * 8 * 4


def test_the_input_has_the_type_of_the_parameters():
    assert run("trace", "nets:half", "--input", "4").code == 0


def test_the_trace_can_be_simulated():
    run("trace", "nets:tiny", "--input", "3x8x8", "--batch", 4)
    out = succeed("simulate", "--workload", "traces/tiny/trace.json", "--json")
    assert json.loads(out)


REFUSED = [
    ("unknown network 'resnet_18', did you mean \"resnet18\"; expected module:function", "resnet_18"),
    ("expected either a target .* or --hf-config",),
    ("expected either a target .* or --hf-config", "resnet18", "--hf-config", "config.json"),
    ("no module 'nowhere' here or among the installed packages", "nowhere:net"),
    ("no module 'nowhere' here or among the installed packages", "nowhere.at.all:net"),
    ("no module 'nets.inner'", "nets.inner:net"),
    ("is no module:function", ":net"),
    ("is no module:function", "a b:net"),
    ("importing the module raises ModuleNotFoundError: No module named 'missing_package'", "broken:net"),
    ("importing the module raises SyntaxError", "wrong:net"),
    ("importing the module raises SystemExit: 3", "leaves:net"),
    ('nets:tinny: no such function in the module, did you mean "tiny"', "nets:tinny"),
    ("nets:NETS", "nets:NETS"),
    ("called without arguments, raises TypeError: .*'size'", "nets:takes"),
    ("called without arguments, raises ValueError: no such size", "nets:fails"),
    ("nets:number: returns int, expected a torch.nn.Module", "nets:number"),
    ("--input is missing; expected the shape of one sample", "nets:tiny"),
    ("--input '3x': expected the shape of one sample", "nets:tiny", "--input", "3x"),
    ("expected the shape of one sample", "nets:tiny", "--input", "3x0x4"),
    ("expected the shape of one sample", "nets:tiny", "--input", "3\n4"),
    ("--batch 64: .*use a smaller one", "nets:tiny", "--input", "99999999x99999999x99999999"),
    ("model 'tiny': .*is the input what it expects", "nets:tiny", "--input", "4x8x8"),
    ("model 'Words': .*is the input what it expects", "nets:Words", "--input", "8"),
    ("model 'branches': its forward pass looks at the values of a tensor", "nets:branches", "--input", "4"),
    ("--batch 0: expected an integer from 1", "resnet18", "--batch", "0"),
    ("'resnet18' does not take vocab", "resnet18", "--tokens", "8"),
    ("--optimizer", "resnet18", "--optimizer", "lion"),
    ("cannot write to nets.py", "resnet18", "--out", "nets.py"),
    ("nowhere.json: no such file", "--hf-config", "nowhere.json"),
]


@pytest.mark.parametrize(("message", "arguments"), [(message, rest) for message, *rest in REFUSED])
def test_refusals(message, arguments):
    before = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    code, out, err = run("trace", *arguments)
    *printed, last = err.splitlines()
    assert (code, out) == (2, "")
    assert set(printed) <= {"imported", "built"}
    assert re.search(f"^codesign: error: .*{message}", last), last
    assert last.isprintable()
    assert {path for path in Path().rglob("*") if "__pycache__" not in path.parts} == before


def test_help_warns_that_code_is_run():
    assert "IMPORTING IT RUNS ITS CODE" in " ".join(succeed("trace", "--help").split())


# -- Hugging Face ----------------------------------------------------------------------------------------------------


def write_config(**settings):
    Path("config.json").write_text(json.dumps(settings))
    return "--hf-config", "config.json"


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    code, _, err = run("trace", *write_config(model_type="bert"), "--input", 8)
    assert code == 2
    assert "needs transformers; run: pip install codesign[hf]" in err


@pytest.mark.slow
def test_a_configuration_of_transformers():
    pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = write_config(model_type="bert", vocab_size=50, **sizes)
    code, out, _ = run("trace", *config, "--input", 16, "--batch", 2, "--json")
    assert code == 0
    # Products of a block for each token: 4 of 32 x 32 in the attention, 2 of 32 x 64; two more of 16 x 32.
    assert json.loads(out)["forward_macs_per_sample"] == 2 * 16 * (4 * 32 * 32 + 2 * 32 * 64 + 2 * 16 * 32)
    assert json.loads(out)["file"] == "traces/bert/trace.json"
    vision = write_config(model_type="vit", image_size=32, patch_size=8, dtype="bfloat16", **sizes)
    assert run("trace", *vision, "--input", "3x32x32", "--batch", 2).code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON; expected a config.json"),
        ("[1]", 'has no "model_type", such as "bert"'),
        ('{"model_type": 3}', 'has no "model_type", such as "bert"'),
        ('{"model_type": "no-such"}', "transformers cannot build this model: ValueError: Unrecognized"),
        ('{"model_type": "bert", "hidden_size": 30}', "cannot build this model: ValueError: .*multiple"),
        (
            '{"model_type": "no-such", "auto_map": {"AutoConfig": "code.Config"}}',
            "transformers cannot build this model",
        ),
    ],
)
def test_bad_configurations(content, message):
    pytest.importorskip("transformers")
    Path("config.json").write_text(content)
    code, out, err = run("trace", "--hf-config", "config.json", "--input", "8")
    assert (code, out) == (2, "")
    assert re.search(f"codesign: error: config.json: .*{message}", err), err
