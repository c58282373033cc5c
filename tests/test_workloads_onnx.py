"""ONNX models, built here, against the named networks and counts by hand."""

import dataclasses
import importlib.util
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.errors import CodesignError, SpecError
from workloads.catalog import load
from workloads.ops import VectorOp

onnx = pytest.importorskip("onnx")
from onnx_models import INT64, Model, language_model, resnet18, vision_transformer  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples" / "workloads"


def work(trace):
    """What the operations do, whatever their names and order."""
    return Counter(dataclasses.replace(op, name="", layer="", deps=()) for op in trace.ops)


@pytest.mark.parametrize("exported_batch", ["batch", 1, 8])
def test_resnet18_is_the_named_network(tmp_path, exported_batch):
    trace = load(resnet18(tmp_path / "resnet.onnx", exported_batch), batch=4)
    named = load("resnet18", batch=4)
    assert trace.batch == 4
    assert trace.params == 11_689_512
    assert trace.forward_macs_per_sample == 1_814_073_344
    assert trace.training_macs_per_sample == 5_324_206_080
    assert work(trace) == work(named)
    assert [layer.name for layer in trace.layers if layer.first] == ["stem"]


def test_transformer_exported_at_a_fixed_batch(tmp_path):
    t, d = 5, 16
    trace = load(vision_transformer(tmp_path / "vit.onnx"), batch=6)
    block = 3 * d * d + 3 * d + d * d + d + 8 * d * d + 5 * d + 4 * d
    assert trace.params == (48 * d + d) + d + t * d + block + 2 * d + (10 * d + 10)
    assert trace.forward_macs_per_sample == 4 * 48 * d + t * 12 * d * d + 2 * t * t * d + 10 * d
    first, total = 4 * 48 * d, trace.forward_macs_per_sample
    assert trace.training_macs_per_sample == 3 * total - first
    counts = {op.name: op.gemms[0].count for op in trace.gemms()}
    assert counts["scores.ff"] == counts["context.bp_b"] == 6 * 2
    # The gradients of three slices fill their tensor, nothing is added. Others meet at two residuals and the gate.
    sums = [op.name for op in trace.ops if isinstance(op, VectorOp) and op.kind == "accumulate"]
    assert not [name for name in sums if name.startswith("qkv")]
    assert len(sums) == 3
    biases = {op.name for op in trace.ops if isinstance(op, VectorOp) and op.kind == "bias"}
    assert biases == {"patch.bias", "qkv.bias", "proj.bias", "fc1.bias", "fc2.bias", "head.bias"}


def test_tied_embedding_and_sequence_length(tmp_path):
    path = language_model(tmp_path / "lm.onnx")
    trace = load(path, batch=4, seq_len=8)
    assert trace.params == 100 * 16 + 64 * 16
    assert trace.forward_macs_per_sample == 8 * 16 * 100
    assert next(layer for layer in trace.layers if layer.name == "head").tied_to == "embed"
    with pytest.raises(
        SpecError, match="axis 1 of input 'ids' is symbolic; give its size as the sequence length"
    ):
        load(path)
    with pytest.raises(SpecError, match="no input axis is symbolic"):
        load(resnet18(tmp_path / "r.onnx"), seq_len=8)


def build(path, fill, **inputs):
    m = Model(**(inputs or {"x": ["n", 8, 6, 6]}))
    return m.save(path, fill(m))


def test_layers_that_are_not_in_the_zoo(tmp_path):
    def fill(m):
        x = m.node(
            "Conv",
            "x",
            m.weight("a", 16, 4, 3, 3),
            name="grouped",
            group=2,
            auto_pad="SAME_UPPER",
            strides=[2, 2],
        )
        x = m.node("LeakyRelu", x)
        x = m.node("Conv", x, m.weight("b", 8, 16, 2, 2), name="dilated", dilations=[2, 2])
        gate = m.node("Sigmoid", m.node("ReduceMean", x, m.ints("axes", [2, 3])))
        x = m.node("Mul", x, gate, name="excite")
        x = m.node("AveragePool", x, kernel_shape=[1, 1])
        return m.node("Reshape", m.node("Dropout", x), m.ints("shape", [-1, 8]))

    trace = load(build(tmp_path / "m.onnx", fill), batch=2)
    gemms = {op.name: [(g.i, g.k, g.j, g.count) for g in op.gemms] for op in trace.gemms()}
    assert gemms["grouped.ff"] == [(2 * 9, 4 * 9, 8, 2)]  # 6 x 6 at stride 2 -> 3 x 3
    assert gemms["dilated.ff"] == [(2, 16 * 4, 8, 1)]  # 2 x 2 taps span 3 pixels -> 1 x 1
    assert sum(k for _, k, _, _ in gemms["dilated.bp"]) == 8 * 4
    kinds = {op.layer: op.kind for op in trace.ops if isinstance(op, VectorOp) and op.name.endswith(".ff")}
    assert kinds["excite"] == "binary"
    assert sorted(kinds.values()) == ["avgpool", "avgpool", "binary", "elementwise", "elementwise", "loss"]


def lstm(m):
    x = m.node("Reshape", "x", m.ints("s", [0, 8, 36]))
    x = m.node(
        "InstanceNormalization",
        m.node("LSTM", x, m.weight("w", 1, 16, 36), m.weight("r", 1, 16, 4)),
        "w",
        "w",
    )
    return m.node("FusedThing", x, domain="com.example")


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lstm, "not supported: InstanceNormalization, LSTM, com.example.FusedThing; "),
        (
            lambda m: m.node("Conv", "x", m.weight("w", 8, 8, 3, 3), strides=[1, 2]),
            "one stride for both axes",
        ),
        (lambda m: m.node("Conv", "x", m.weight("w", 8, 8, 3)), "unknown or empty|expected 4 axes"),
        (lambda m: m.node("Relu", "x"), "no output depends on a trained parameter"),
        (lambda m: m.node("MatMul", m.weight("w", 6, 6), "x"), "missing or constant, expected an activation"),
        (lambda m: m.node("MatMul", "x", m.weight("w", 5, 6)), "expects 5 inputs, the activation has 6"),
        (lambda m: m.node("Gemm", "x", m.weight("w", 6, 6), transA=1), "transA"),
        (lambda m: m.node("Relu", "nowhere"), "'nowhere' is not defined before its use"),
        (lambda m: m.node("Conv", "x"), "missing"),
        (lambda m: m.node("Conv", "x", m.weight("w", 8, 4, 3, 3)), "expects 4 channels"),
        (lambda m: m.node("Reshape", "x", m.weight("w", 4, data_type=INT64)), "unknown or empty"),
    ],
)
def test_models_that_are_refused(tmp_path, fill, message):
    path = build(tmp_path / "bad.onnx", fill)
    with pytest.raises(SpecError, match=message) as error:
        load(path)
    assert str(error.value).startswith(path)
    assert "\n" not in str(error.value)


@given(st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6))
@settings(deadline=None, max_examples=300)
def test_a_damaged_model_is_read_or_refused(damage):
    content = bytearray((EXAMPLES / "small_resnet.onnx").read_bytes())
    for place, value in damage:
        content[int(place * len(content))] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.onnx"
        path.write_bytes(content)
        try:
            trace = load(str(path), batch=2)
        except CodesignError as error:
            assert "\n" not in str(error)
        else:
            assert trace.training_macs_per_sample > 0


# Parameters as published. The ResNet-50 of that package strides in its 3 x 3 convolutions, as torchvision's does.
@pytest.mark.parametrize(
    ("name", "params", "same_as"),
    [("resnet50", 25_557_032, "resnet50"), ("vgg19", 143_667_240, "vgg19"), ("squeezenet", 1_235_496, None)],
)
def test_models_that_come_with_the_onnx_package(name, params, same_as):
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("this onnx package comes without its test models")
    trace = load(str(path), batch=2)
    assert trace.params == params
    if same_as:
        gemms = [Counter(op.gemms for op in t.gemms()) for t in (trace, load(same_as, batch=2))]
        assert gemms[0] == gemms[1]


def test_names_that_are_no_text(tmp_path):
    path = tmp_path / "m.onnx"
    content = (EXAMPLES / "small_resnet.onnx").read_bytes()
    path.write_bytes(content.replace(b"stem.relu", b"stem\xff\xffelu"))
    with pytest.raises(SpecError, match="not UTF-8"):
        load(str(path))


def test_files_that_are_no_models(tmp_path):
    cases = {
        "junk.onnx": (b"\xff\xff not a model", "cannot be parsed"),
        "nothing.onnx": (b"", "is empty"),
        "version.onnx": (b"\x08\x07", "has no operators"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SpecError, match=message):
            load(str(tmp_path / name))
    with pytest.raises(SpecError, match="no such file"):
        load(str(tmp_path / "absent.onnx"))
    with pytest.raises(SpecError, match="is a directory"):
        (tmp_path / "folder.onnx").mkdir()
        load(str(tmp_path / "folder.onnx"))


def test_a_missing_package_is_explained(tmp_path):
    path = resnet18(tmp_path / "m.onnx")
    code = f"""
import sys
sys.modules["onnx"] = None
from codesign.errors import CodesignError, SpecError
from workloads.catalog import load
try:
    load({path!r})
except SpecError as error:
    assert "pip install codesign[onnx]" in str(error), error
    print("explained")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "explained\n", done.stderr


def test_the_example_is_what_its_script_writes():
    spec = importlib.util.spec_from_file_location("script", EXAMPLES / "make_small_resnet_onnx.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    stored = onnx.load(EXAMPLES / "small_resnet.onnx", load_external_data=False)
    assert script.build().graph == stored.graph


def test_the_example_by_hand():
    trace = load(str(EXAMPLES / "small_resnet.onnx"), batch=2)
    convs = 9 * (3 * 16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 16 * 32 + 32 * 64
    norms = 2 * (3 * 16 + 3 * 32 + 3 * 64)
    assert trace.params == convs + norms + 650
    macs = 1024 * 9 * (3 * 16 + 2 * 16 * 16) + 256 * (9 * (16 * 32 + 32 * 32) + 16 * 32)
    macs += 64 * (9 * (32 * 64 + 64 * 64) + 32 * 64) + 640
    assert trace.forward_macs_per_sample == macs
