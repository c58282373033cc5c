"""Workloads from YAML and SCALE-Sim files: the examples by hand, equivalence with the zoo, and errors."""

from pathlib import Path

import pytest

from codesign.errors import SpecError
from workloads.catalog import load
from workloads.ops import Stage, VectorOp

EXAMPLES = Path(__file__).parents[1] / "examples" / "workloads"


def example(name, **options):
    return load(str(EXAMPLES / name), **options)


def test_alexnet():
    trace = example("alexnet.yaml", batch=2)
    assert (trace.name, trace.batch) == ("alexnet", 2)
    assert trace.params == 61_100_840  # torchvision
    assert trace.forward_macs_per_sample == 714_188_480  # torchvision's 0.71 GFLOPS (MACs)
    first = 55 * 55 * 11 * 11 * 3 * 64
    assert trace.training_macs_per_sample == 3 * 714_188_480 - first


def test_a_yaml_network_is_the_named_one(tmp_path):
    lines = ["name: vgg16-cifar", "input: [3, 32, 32]", "layers:"]
    for stage, (width, convs) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for index in range(1, convs + 1):
            name = f"conv{stage}_{index}"
            lines += [f"  - conv: {{out: {width}, kernel: 3, padding: 1}}", f"    name: {name}"]
            lines += ["  - batchnorm: {}", f"    name: {name}.bn", "  - relu: {}", f"    name: {name}.relu"]
        lines += ["  - maxpool: {kernel: 2}", f"    name: pool{stage}"]
    lines += ["  - flatten", "  - linear: {out: 10}", "    name: fc"]
    path = tmp_path / "vgg.yaml"
    path.write_text("\n".join(lines))
    assert load(str(path), batch=8) == load("vgg16-cifar", batch=8, classes=10)


def test_yaml_gemms():
    trace = example("llama_7b_block.yaml")
    gemms = [(op.gemms[0].i, op.gemms[0].k, op.gemms[0].j) for op in trace.gemms(Stage.FF)]
    assert gemms[0] == (2048, 4096, 4096)
    assert gemms[-1] == (2048, 11008, 4096)
    assert trace.params == 4 * 4096**2 + 3 * 4096 * 11008
    assert trace.training_macs_per_sample == 3 * 2048 * trace.params
    assert trace.optimizer == "adamw"
    assert not [op for op in trace.ops if isinstance(op, VectorOp)]
    with pytest.raises(
        SpecError, match=r"llama_7b_block.yaml:4: gemms: the rows of a GEMM contain the batch"
    ):
        example("llama_7b_block.yaml", batch=8)


YAML_HEAD = "input: [3, 8, 8]\nlayers:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            YAML_HEAD + "  - conv: {out: 4, kernle: 3}",
            r':3: layers\[0\].conv.kernle: .*did you mean "kernel"',
        ),
        (
            YAML_HEAD + "  - relux",
            r':3: layers\[0\].relux: unknown key, did you mean "relu"; expected one of: name, conv',
        ),
        (YAML_HEAD + "  - {relu: {}, gelu: {}}", r":3: layers\[0\]: got gelu and relu, expected one kind"),
        (YAML_HEAD + "  - name: x", "got no kind"),
        (
            YAML_HEAD + "  - relu\n  - conv: {out: 4, kernel: 9}",
            r":4: layers\[1\]: layer 'conv2': output shape .* is empty",
        ),
        (
            YAML_HEAD + "  - conv: {out: 4, kernel: [3]}",
            r"got a list, expected one integer or \[height, width\]",
        ),
        (YAML_HEAD + "  - conv: {out: 4, kernel: 3, groups: 2}", "groups 2 must divide its input channels 3"),
        (YAML_HEAD + "  - conv: {out: true, kernel: 3}", r"conv.out: got true"),
        (YAML_HEAD + "  - linear: {out: 0}", "linear.out: got 0"),
        (YAML_HEAD + "  - linear: {out: 99999999999}", "linear.out: got 99999999999"),
        (YAML_HEAD + "  - maxpool: {kernel: 2, padding: -1}", "padding: got -1"),
        (YAML_HEAD + "  - flatten\n  - maxpool: {kernel: 2}", r":4: layers\[1\]: .*needs an image"),
        ("layers: [relu]", "'layers' need 'input'"),
        ("input: [3]\nlayers: []", "layers: got"),
        ("input: [3]", "expected either 'layers' or 'gemms'"),
        ("gemms: [{m: 1, k: 2}]", r"gemms\[0\].n: key is missing"),
        ("input: [3]\ngemms: [{m: 1, k: 2, n: 3}]", "'gemms' have none"),
        ("input: [1, 2, 3, 4]\nlayers: [relu]", "input: "),
        ("optimizer: adam\ninput: [3]\nlayers: [relu]", ":1: optimizer: "),
        ("name: 'a\tb'\ninput: [3]\nlayers: [relu]", ":1: name: "),
        ("[1, 2]", "expected a mapping"),
    ],
)
def test_yaml_errors(tmp_path, text, message):
    path = tmp_path / "net.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as error:
        load(str(path))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_yaml_names_are_made_unique(tmp_path):
    path = tmp_path / "net.yaml"
    linear = "  - {linear: {out: 8}, name: a}\n"
    path.write_text("input: [8]\nlayers:\n" + linear + linear + "  - {relu: {}, name: loss}")
    assert [op.name for op in load(str(path)).ops][:4] == ["a.ff", "a#2.ff", "loss.ff", "loss#2.ff"]


def test_mobilenet_topology():
    trace = example("mobilenet_v1_scalesim.csv", batch=2)
    # MobileNetV1 1.0 (Howard et al., 2017): 569 million MACs; 4,231,976 parameters less 2 x 10,944 of BatchNorm and
    # the 1,000 biases of the classifier.
    assert trace.forward_macs_per_sample == 568_740_352
    assert trace.params == 4_231_976 - 2 * 10_944 - 1_000
    assert trace.training_macs_per_sample == 3 * 568_740_352 - 112 * 112 * 27 * 32
    depthwise = next(op for op in trace.gemms() if op.name == "Conv4_DP.ff")
    assert [(g.i, g.k, g.j, g.count) for g in depthwise.gemms] == [(2 * 56 * 56, 9, 1, 64)]


def test_bert_layer_topology():
    trace = example("bert_base_layer_scalesim.csv")
    shapes = {op.name: (op.gemms[0].i, op.gemms[0].k, op.gemms[0].j) for op in trace.gemms()}
    # Columns are M, N, K: Intermediate is 4096 x 768 times 768 x 3072.
    assert shapes["Intermediate.ff"] == (4096, 768, 3072)
    assert shapes["Intermediate.bp"] == (4096, 3072, 768)
    assert shapes["Intermediate.wu"] == (768, 4096, 3072)
    assert "Query.bp" in shapes
    assert trace.batch == 1


CONV_HEAD = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
)
GEMM_HEAD = "Layer,M,N,K,\n"


def topology(tmp_path, text, **options):
    path = tmp_path / "net.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(str(path), **options)


def test_topology_spelling(tmp_path):
    plain = topology(tmp_path, CONV_HEAD + "a,10,9,3,2,4,8,2,\nb,5,5,1,1,8,8,1,\n")
    loose = (
        "\ufeff"
        + CONV_HEAD.upper().replace(", ", "  ,")
        + "\r\n\n  a , 10,9 ,3,2,4,8,2\r\n\tb,5,5,1,1,8,8,1,1:1,#end\r\n"
    )
    assert topology(tmp_path, loose) == plain
    first = next(plain.gemms())
    # ceil((10 - 3) / 2) + 1 = 5 by ceil((9 - 2) / 2) + 1 = 5 outputs, 64 images.
    assert (first.gemms[0].i, first.gemms[0].k, first.gemms[0].j) == (64 * 25, 4 * 6, 8)
    assert [op.name for op in plain.ops] == ["a.ff", "b.ff", "b.bp", "b.wu", "b.update", "a.wu", "a.update"]


def test_topology_layers_of_one_name(tmp_path):
    trace = topology(tmp_path, GEMM_HEAD + "l,4,5,6\nl,4,5,6\nl,4,5,6,\n")
    assert [op.name for op in trace.gemms(Stage.FF)] == ["l.ff", "l#2.ff", "l#3.ff"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        (b"\xff\xfe\x00\x01", "not UTF-8"),
        (GEMM_HEAD, "net.csv:1: 0 layers follow"),
        (
            "Layer,M,K,N,\na,1,2,3,\n",
            "net.csv:1: got the header 'Layer, M, K, N, ', expected 'Layer name, IFMAP",
        ),
        ("Layer\tM\tN\tK\n", "net.csv:1: got the header"),
        (GEMM_HEAD + "a,1,2,\n", "net.csv:2: K is ''"),
        (GEMM_HEAD + "a,1,2\n", "net.csv:2: got 3 fields, expected a name and M, N, K"),
        (GEMM_HEAD + "a,1,2,3\n\nb,1,x,3\n", "net.csv:4: N is 'x', expected an integer from 1"),
        (GEMM_HEAD + "a,1,0,3\n", "N is '0'"),
        (GEMM_HEAD + "a,1,-2,3\n", "N is '-2'"),
        (GEMM_HEAD + "a,1,1e3,3\n", "N is '1e3'"),
        (GEMM_HEAD + "a,1,٣,3\n", "N is '٣'"),
        (GEMM_HEAD + "a,1,123456789,3\n", "N is '123456789'"),
        (GEMM_HEAD + ",1,2,3\n", "expected a name"),
        (GEMM_HEAD + "a,1,2,3,12\n", "unexpected column '12' after K; batches and sparsity"),
        (CONV_HEAD + "a,9,9,3,3,4,8,1,2:4,\n", "unexpected column '2:4' after Strides"),
        (CONV_HEAD + "a,9,9,3,10,4,8,1,\n", "net.csv:2: filter 3 x 10 is larger than its input 9 x 9"),
        (CONV_HEAD + "a,9999,9999,5000,1,4,8,1,\n", "kernel .* must be from 1 to 4096"),
        (CONV_HEAD + "a,9,9,3,3,4,8,\n", "Strides is ''"),
    ],
)
def test_topology_errors(tmp_path, text, message):
    with pytest.raises(SpecError, match=message) as error:
        topology(tmp_path, text)
    assert "\n" not in str(error.value)


def test_topology_gemms_refuse_a_batch(tmp_path):
    with pytest.raises(
        SpecError, match="rows of a GEMM contain the batch; scale them instead of setting batch 8"
    ):
        topology(tmp_path, GEMM_HEAD + "a,1,2,3\n", batch=8)
