"""The door to all workloads: what it accepts, refuses and imports."""

import subprocess
import sys

import pytest

from codesign.errors import SpecError, TraceError
from workloads.catalog import load, names
from workloads.run_trace import RunTrace
from workloads.sparsity import apply_method
from workloads.trace import Trace


def test_names():
    wanted = (
        "resnet9 resnet18 resnet34 resnet50 resnet18-cifar resnet34-cifar resnet50-cifar vgg16 vgg19 mlp "
    )
    wanted += (
        "vgg16-cifar vgg19-cifar vit-tiny vit-small vit-base vit-tiny-cifar vit-small-cifar vit-base-cifar "
    )
    wanted += "deit-tiny bert-base gpt-mini gpt2-small"
    assert set(wanted.split()) <= set(names())
    assert list(names()) == sorted(names())


@pytest.mark.parametrize(
    ("workload", "options", "message"),
    [
        (
            "resnet_18",
            {},
            r"unknown workload 'resnet_18', did you mean \"resnet18\"; expected a file .* resnet18,",
        ),
        ("zzz", {}, r"unknown workload 'zzz'; expected .*bert-base, .*vit-tiny"),
        ("", {}, "unknown workload ''"),
        ("net.txt", {}, "expected a file"),
        ("net\n\x1b[2J", {}, r"'net\\n\\x1b"),
        ("x" * 5000, {}, r"x\.\.\."),
        ("resnet18", {"batch": 0}, "batch 0: expected an integer from 1 to 1048576"),
        ("resnet18", {"batch": -4}, "batch -4"),
        ("resnet18", {"batch": 1 << 40}, "batch 1099511627776"),
        ("resnet18", {"seq_len": 128}, "'resnet18' does not take seq_len; it takes only batch and classes"),
        ("resnet18", {"classes": 0}, "classes 0"),
        ("resnet18", {"input_size": 1 << 20}, "input_size 1048576"),
        ("vgg16", {"input_size": 16}, "output shape .* is empty; use a larger input"),
        ("vit-base", {"input_size": 225}, "multiple of the patch size 16"),
        ("bert-base", {"input_size": 64}, "does not take input_size"),
        ("bert-base", {"seq_len": 513}, "sequence length 513: this network has 512 trained positions"),
        ("gpt2-small", {"seq_len": 1025}, "1024 trained positions"),
        ("gpt2-small", {"classes": 10}, "does not take classes"),
        ("mlp", {"classes": 10}, "does not take classes"),
        ("mlp:10", {}, "got 1 sizes, expected mlp: and at least two sizes"),
        ("mlp:10x0x3", {}, "expected sizes from 1"),
        ("gemm:10x20", {}, "got 2 sizes, expected gemm:MxKxN"),
        ("gemm:10x20x-3", {}, "expected sizes from 1"),
        ("gemm:", {}, "expected sizes from 1"),
        ("gemm:1x1x1000000000", {}, "expected sizes from 1"),
        ("gemm:8x8x8", {"batch": 8}, "does not take batch; it takes no size options"),
        ("absent.yaml", {}, "absent.yaml: no such file"),
        ("absent.csv", {}, "absent.csv: no such file"),
        ("absent.onnx", {}, "absent.onnx: no such file"),
        ("absent.json", {}, "absent.json: no such file"),
        ("absent.csv", {"seq_len": 4}, "does not take seq_len; it takes only batch"),
        ("nul\0.csv", {}, "cannot be read"),
    ],
)
def test_refusals(workload, options, message):
    with pytest.raises(SpecError, match=message) as error:
        load(workload, **options)
    assert "\n" not in str(error.value)


def test_saved_traces(tmp_path):
    trace, _ = apply_method(load("resnet9", batch=2), "dense", None)
    path = tmp_path / "trace.json"
    path.write_text(RunTrace(trace).to_json())
    assert load(str(path)) == trace
    with pytest.raises(SpecError, match="does not take batch"):
        load(str(path), batch=2)
    path.write_text('{"name": 3}')
    with pytest.raises(TraceError, match="is no training trace"):
        load(str(path))


def test_the_default_batch_is_64():
    assert load("mlp") == load("mlp", batch=64)
    assert isinstance(load("mlp"), Trace)


def test_heavy_packages_are_not_imported():
    code = """
import sys
from workloads.catalog import load
for name in ("resnet18", "vit-base", "gemm:8x8x8"):
    load(name)
print([name for name in ("numpy", "yaml", "onnx", "pydantic", "torch", "simpy", "numba") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
