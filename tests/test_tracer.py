"""Traces of torch models against the named workloads, torch's own count of products, and counts by hand."""

import copy
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from codesign.errors import SpecError  # noqa: E402
from codesign.nm.format import NM  # noqa: E402
from codesign.train import BDWP, follow, sparsify  # noqa: E402
from codesign.train.tracer import trace_model  # noqa: E402
from workloads import catalog  # noqa: E402
from workloads.models import build, model_input  # noqa: E402
from workloads.ops import GemmOp, Role, Stage, UpdateOp, VectorOp  # noqa: E402

META = torch.device("meta")


class Forward(nn.Module):
    """A module made of named parts and a function of itself and the inputs."""

    def __init__(self, function, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, *inputs):
        return self.function(self, *inputs)


def parameter(*shape):
    return nn.Parameter(torch.zeros(*shape))


def empty(shape):
    """An input without memory: real numbers for a tuple, token numbers for a list."""
    return torch.empty(shape, device=META, dtype=torch.int64 if isinstance(shape, list) else torch.float32)


def trace_of(make, *shapes):
    with META:
        model = make()
    return trace_model(model, tuple(map(empty, shapes)), "mine")


def gemms(trace):
    return [(op.layer, op.stage, op.gemms, op.a, op.b) for op in trace.gemms()]


def weight_layers(trace):
    return {layer for layer in trace.layers if layer.cin}


def work(op):
    """What an operation does, whatever it is called."""
    match op:
        case GemmOp():
            return "gemm", op.stage, op.gemms, op.a, op.b, op.pixel_axis
        case VectorOp():
            return op.kind, op.stage, op.operations, op.read_elements, op.write_elements
        case UpdateOp():
            return "update", op.elements


def skeleton(trace):
    """Every operation in order, with the places of those that it depends on."""
    places = {op.name: place for place, op in enumerate(trace.ops)}
    return [(work(op), {places[name] for name in op.deps}) for op in trace.ops]


def vector_work(trace):
    return Counter(work(op) for op in trace.ops if isinstance(op, VectorOp))


def kinds(trace):
    """Kinds of the vector operations of the forward pass, without the loss, in order."""
    return [op.kind for op in trace.ops if isinstance(op, VectorOp) and op.stage is Stage.FF][:-1]


def forward_names(trace):
    return [op.layer for op in trace.gemms(Stage.FF)]


def macs(trace):
    return tuple(sum(op.dense_macs for op in trace.gemms(stage)) for stage in (Stage.FF, None))


# -- the named workloads --------------------------------------------------------------------------------------------


def traced(name):
    read = model_input(name)
    with META:
        model = build(name)
    shape = (catalog.DEFAULT_BATCH, *read.shape)
    x = empty(list(shape) if read.tokens else shape)
    return trace_model(model, x, name, optimizer=catalog.NETWORKS[name].optimizer)


def named_networks():
    """All names but one; in the quick tier, one or two of each family."""
    quick = {"gpt-nano", "mlp", "resnet18", "resnet50", "resnet9", "resnet18-cifar", "vgg16", "vgg19-cifar"}
    quick |= {"gpt2-small", "vit-tiny", "vit-tiny-cifar"}
    for name in catalog.names():
        if name != "bert-base":
            yield pytest.param(name, marks=() if name in quick else pytest.mark.slow)


@pytest.mark.parametrize("name", list(named_networks()))
def test_a_named_network_is_the_named_workload(name):
    """The same operations in the same order, with the same dependences; only vector operations have other names."""
    trace, named = traced(name), catalog.load(name)
    assert gemms(trace) == gemms(named)
    assert weight_layers(trace) == weight_layers(named)
    assert (trace.params, trace.batch, trace.optimizer) == (named.params, named.batch, named.optimizer)
    assert skeleton(trace) == skeleton(named)


def test_bert_differs_in_its_embeddings_alone():
    """The zoo adds the rows of three tables in one pass, the module one table after the other."""
    trace, named = traced("bert-base"), catalog.load("bert-base")
    assert gemms(trace) == gemms(named)
    assert weight_layers(trace) == weight_layers(named)
    assert (trace.params, trace.batch, trace.optimizer) == (named.params, named.batch, named.optimizer)
    only_traced, only_named = (vector_work(a) - vector_work(b) for a, b in ((trace, named), (named, trace)))
    assert Counter(kind for kind, *_ in only_traced.elements()) == {"embedding": 2, "position": 4}
    assert Counter(kind for kind, *_ in only_named.elements()) == {"embedding": 2}
    # After the embeddings, 1 operation there and 3 here, everything is the same; and so before their backward work.
    here, there = ([step for step, _ in skeleton(t)] for t in (trace, named))
    assert here[3:-6] == there[1:-2]


# -- other networks against torch's count of products ---------------------------------------------------------------


def latent_attention(net, x):
    queries = net.query(net.latents.expand(len(x), -1, -1))
    return (queries @ net.key(x).transpose(1, 2)).softmax(-1) @ x


def grouped_query_attention(net, x):
    q, k, v = (part(x).unflatten(2, (-1, 4)).transpose(1, 2) for part in (net.q, net.k, net.v))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def half_frozen():
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    net[2].weight.requires_grad_(False)
    return net


def low_rank_adapted():
    net = Forward(
        lambda s, x: s.fc(x) + s.up(s.down(x)),
        fc=nn.Linear(8, 6),
        down=nn.Linear(8, 2, bias=False),
        up=nn.Linear(2, 6, bias=False),
    )
    net.fc.requires_grad_(False)
    return net


ENCODER = {"d_model": 16, "nhead": 2, "dim_feedforward": 32, "batch_first": True}
SELF_ATTENTION = [f"self_attn.{name}" for name in ("in_proj", "scores", "context", "out_proj")]
NAMES = ("input", "add", "loss")
WEIGHTS = {
    "attention": (
        lambda: Forward(lambda s, x: s.a(x, x, x)[0], a=nn.MultiheadAttention(16, 2, batch_first=True)),
        [(4, 5, 16)],
        ["a.in_proj", "a.scores", "a.context", "a.out_proj"],
    ),
    "attention without weights": (
        lambda: Forward(
            lambda s, x: s.a(x, x, x, need_weights=False)[0], a=nn.MultiheadAttention(16, 2, dropout=0.1)
        ),
        [(5, 4, 16)],
        ["a.in_proj", "a.scores", "a.context", "a.out_proj"],
    ),
    "cross attention": (
        lambda: Forward(lambda s, x, y: s.a(x, y, y)[0], a=nn.MultiheadAttention(16, 2, batch_first=True)),
        [(4, 5, 16), (4, 7, 16)],
        ["a.in_proj", "a.in_proj#2", "a.scores", "a.context", "a.out_proj"],
    ),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(**ENCODER),
        [(4, 5, 16)],
        [*SELF_ATTENTION, "linear1", "linear2"],
    ),
    "encoder layer in evaluation": (
        lambda: nn.TransformerEncoderLayer(**ENCODER).eval(),
        [(4, 5, 16)],
        [*SELF_ATTENTION, "linear1", "linear2"],
    ),
    "decoder layer": (
        lambda: nn.TransformerDecoderLayer(**ENCODER),
        [(4, 5, 16), (4, 7, 16)],
        [
            *SELF_ATTENTION,
            *(f"multihead_attn.{name}" for name in ("in_proj", "in_proj#2", "scores", "context", "out_proj")),
            *("linear1", "linear2"),
        ],
    ),
    "grouped queries": (
        lambda: Forward(grouped_query_attention, q=nn.Linear(8, 16), k=nn.Linear(8, 8), v=nn.Linear(8, 8)),
        [(4, 5, 8)],
        ["q", "k", "v", "scores", "context"],
    ),
    "a parameter as activation": (
        lambda: Forward(
            latent_attention, latents=parameter(6, 8), query=nn.Linear(8, 8), key=nn.Linear(8, 8)
        ),
        [(4, 5, 8)],
        ["query", "key", "scores", "context"],
    ),
    "a layer called twice": (
        lambda: Forward(lambda s, x: s.fc(s.fc(x).relu()), fc=nn.Linear(8, 8)),
        [(4, 8)],
        ["fc", "fc#2"],
    ),
    "a table as weight": (
        lambda: Forward(lambda s, ids: s.table(ids) @ s.table.weight.t(), table=nn.Embedding(11, 6)),
        [[4, 5]],
        ["table#2"],
    ),
    "a product written out": (
        lambda: Forward(lambda s, x: x @ s.w + s.b, w=parameter(8, 5), b=parameter(5)),
        [(4, 3, 8)],
        ["w"],
    ),
    "a weight on the left": (lambda: Forward(lambda s, x: s.w @ x, w=parameter(5, 8)), [(8, 3)], ["w"]),
    "channels by einsum": (
        lambda: Forward(lambda s, x: torch.einsum("bchw,cd->bdhw", x, s.w), w=parameter(8, 5)),
        [(4, 8, 3, 3)],
        ["w"],
    ),
    "groups by einsum": (
        lambda: Forward(lambda s, x: torch.einsum("bgi,gio->bgo", x, s.w), w=parameter(3, 8, 5)),
        [(4, 3, 8)],
        ["w"],
    ),
    "a frozen layer": (half_frozen, [(4, 8)], ["0", "2.matmul", "4"]),
    "a frozen layer with an adapter": (low_rank_adapted, [(4, 8)], ["fc.matmul", "down", "up"]),
    "a weight that is computed": (
        lambda: nn.Sequential(
            nn.Linear(8, 8), nn.utils.parametrizations.weight_norm(nn.Linear(8, 6, bias=False))
        ),
        [(4, 8)],
        ["0", "1.matmul"],
    ),
    "a matrix outside the model": (
        lambda: Forward(lambda s, x: s.fc(x) @ s.parts[0], fc=nn.Linear(8, 8), parts=[torch.zeros(8, 3)]),
        [(4, 8)],
        ["fc", "matmul"],
    ),
    "a recomputed layer": (
        lambda: Forward(lambda s, x: checkpoint(s.fc, x, use_reentrant=False), fc=nn.Linear(8, 8)),
        [(4, 8)],
        ["fc"],
    ),
    "a recurrent layer": (
        lambda: Forward(lambda s, x: s.cell(x)[0], cell=nn.GRU(8, 6)),
        [(2, 4, 8)],
        ["cell.weight_ih_l0", "cell.weight_hh_l0", "cell.weight_ih_l0#2", "cell.weight_hh_l0#2"],
    ),
    "a sequence": (
        lambda: nn.Sequential(nn.Conv1d(8, 6, 3, stride=2, dilation=2), nn.Conv1d(6, 4, 3, padding="same")),
        [(4, 8, 17)],
        ["0", "1"],
    ),
    "padding": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"),
            nn.Conv2d(6, 6, 4, padding="same"),
            nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"),
        ),
        [(4, 3, 9, 9)],
        ["0", "1", "2"],
    ),
    "names that operations have": (
        lambda: Forward(lambda s, x: s.loss(s.add(s.input(x) + x)), **{n: nn.Linear(8, 8) for n in NAMES}),
        [(4, 8)],
        ["input", "add", "loss"],
    ),
}


def counted_macs(model, inputs):
    """Multiply-accumulates that torch counts in a forward pass, and in that and the backward pass."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        output = model(*inputs)
        forward = counter.get_total_flops()
        output.sum().backward()
    return forward // 2, counter.get_total_flops() // 2


def trained_elements(model):
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(("make", "shapes", "names"), WEIGHTS.values(), ids=WEIGHTS)
def test_products_are_those_that_torch_counts(make, shapes, names):
    trace = trace_of(make, *shapes)
    model = make()  # for torch, with memory
    inputs = [torch.zeros(shape, dtype=empty(shape).dtype) for shape in shapes]
    assert macs(trace) == counted_macs(model, inputs)
    assert trace.params == trained_elements(model)
    assert forward_names(trace) == names


class Drawn(nn.Module):
    """Layers of the kinds that are named, one after the other, and a classifier."""

    def __init__(self, layers, width):
        super().__init__()
        self.layers = layers
        self.stem = nn.Conv2d(3, width, 1)
        for index, layer in enumerate(layers):
            self.add_module(f"{layer}{index}", DRAWN[layer][0](width))
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        x = self.stem(x)
        for index, layer in enumerate(self.layers):
            y = self.get_submodule(f"{layer}{index}")(x)
            x = x + y if layer == "residual" else x * y.sigmoid() if layer == "gate" else y
        return self.head(x.mean((2, 3)))


# Kinds of layers: how they are made, and the vector operations that they need.
DRAWN = {
    "conv": (lambda width: nn.Conv2d(width, width, 3, padding=1), []),
    "strided": (lambda width: nn.Conv2d(width, width, 3, padding=1, stride=2, bias=False), []),
    "dilated": (lambda width: nn.Conv2d(width, width, (3, 2), padding=3, dilation=2), []),
    "norm": (lambda width: nn.BatchNorm2d(width), ["batchnorm"]),
    "relu": (lambda _: nn.ReLU(), ["relu"]),
    "pool": (lambda _: nn.MaxPool2d(3, 1, 1), ["maxpool"]),
    "residual": (lambda width: nn.Conv2d(width, width, 1), ["add"]),
    "gate": (lambda width: nn.Conv2d(width, width, 1), ["elementwise", "binary"]),
}


@given(st.lists(st.sampled_from(list(DRAWN)), max_size=6), st.sampled_from([1, 4]), st.integers(2, 3))
@settings(deadline=None, max_examples=12)
def test_networks_of_random_layers(layers, width, batch):
    model = Drawn(layers, width)
    x = torch.zeros(batch, 3, 9, 9)
    trace = trace_model(model, x, "drawn")
    assert macs(trace) == counted_macs(model, [x])
    assert trace.params == trained_elements(model)
    assert kinds(trace) == [kind for layer in layers for kind in DRAWN[layer][1]] + ["avgpool"]


# -- a model in use -------------------------------------------------------------------------------------------------


def sparse_network():
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.Conv2d(16, 16, 3), nn.Dropout(0.5)
    )
    model.append(nn.Flatten()).append(nn.Linear(16 * 16, 32)).append(nn.Linear(32, 4))
    dense = copy.deepcopy(model)
    model, report = sparsify(model, BDWP(nm=NM(2, 8)))
    return model, dense, report


def test_a_model_in_training_is_left_as_it_is():
    model, dense, report = sparse_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    follow(model, optimizer)
    x = torch.randn(2, 3, 8, 8)
    model(x).sum().backward()
    optimizer.step()

    def state():
        tensors = [*model.parameters(), *model.buffers(), *(weight.grad for weight in model.parameters())]
        modules = [(type(module), module.training, dict(module.__dict__)) for module in model.modules()]
        return [(id(t), t._version) for t in tensors], torch.random.get_rng_state().tolist(), modules

    before = state()
    trace = trace_model(model, x, "live")
    assert state() == before
    assert trace.to_json() == trace_model(dense, x, "live").to_json()
    assert (
        {row.layer for row in report}
        == {layer.name for layer in weight_layers(trace)}
        == {"0", "3", "6", "7"}
    )
    assert any(row.nm for row in report)


def test_a_failed_trace_leaves_a_model_as_it_is():
    model, _, _ = sparse_network()
    classes = [type(module) for module in model.modules()]
    with pytest.raises(SpecError):
        trace_model(model, empty((2, 5, 8, 8)), "live")
    assert [type(module) for module in model.modules()] == classes
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 4)


def test_evaluation_and_training_have_the_same_trace():
    model = nn.TransformerEncoderLayer(**ENCODER, dropout=0.3)
    x = empty((4, 5, 16))
    assert trace_model(model, x, "x").to_json() == trace_model(model.eval(), x, "x").to_json()


def test_names_of_a_shared_module_are_those_of_its_first_place():
    shared = nn.Linear(8, 8)
    model = Forward(lambda s, x: s.b(s.a(x)), a=shared, b=shared)
    trace = trace_model(model, empty((4, 8)), "x")
    assert forward_names(trace) == ["a", "a#2"]
    assert [(layer.name, layer.tied_to, layer.params) for layer in trace.layers] == [
        ("a", "", 72),
        ("a#2", "a", 0),
    ]
    _, report = sparsify(model, BDWP(nm=NM(2, 8)))
    assert {row.layer for row in report} == {"a"}


def test_a_shared_weight_has_the_name_of_the_module_that_uses_it():
    model = Forward(lambda s, x: s.second(s.first(x)), first=nn.Linear(8, 8), second=nn.Linear(8, 8))
    model.second.weight = model.first.weight
    trace = trace_model(model, empty((4, 8)), "x")
    assert [(layer.name, layer.tied_to, layer.params) for layer in trace.layers] == [
        ("first", "", 72),
        ("second", "first", 8),
    ]
    updates = {op.layer: op.deps for op in trace.ops if isinstance(op, UpdateOp)}
    assert updates == {"first": ("first.wu", "first.bias", "second.wu"), "second": ("second.bias",)}


# -- what becomes of operations -------------------------------------------------------------------------------------


def masked(_, x):
    later = torch.ones(x.shape[-1], x.shape[-1], dtype=torch.bool, device=x.device).triu(1)
    return x.masked_fill(later, -torch.inf) + torch.where(later, 0.0, 1.0) - 1


def rotated(_, x):
    angles = torch.outer(torch.arange(x.shape[1], device=x.device), torch.arange(8, device=x.device)).float()
    return x * angles.cos() + x.roll(1, -1) * angles.sin()


KINDS = {
    "residual": (lambda s, x: s.fc(x) + x, ["add"]),
    "difference": (lambda s, x: s.fc(x) - x, ["add"]),
    "broadcast sum": (lambda s, x: s.fc(x) + s.fc(x)[:, :1], ["binary"]),
    "gate": (lambda s, x: s.fc(x).sigmoid() * x, ["elementwise", "binary"]),
    "numbers": (lambda s, x: (2 * s.fc(x) / 3 + 1) * torch.tensor(4.0), []),
    "reciprocal": (lambda s, x: 2 / s.fc(x), ["elementwise"]),
    "masks": (lambda s, x: masked(s, s.fc(x)[:, :5, :5]), []),
    "dropout": (lambda s, x: functional.dropout(s.fc(x), 0.5), []),
    "dropped paths": (lambda s, x: s.fc(x) * x.new_empty(4, 1, 1).bernoulli_(0.9), []),
    "rotation": (lambda s, x: rotated(s, s.fc(x)), ["elementwise", "elementwise", "add"]),
    "views": (lambda s, x: s.fc(x).transpose(1, 2).reshape(4, -1).unflatten(1, (5, 8)).flip(1)[:, 1:3], []),
    "types": (lambda s, x: s.fc(x).half().float().contiguous(), []),
    "known places": (lambda s, x: s.fc(x)[:, torch.tensor([0, 2])], []),
    "softmax": (lambda s, x: s.fc(x).log_softmax(-1), ["softmax"]),
    "functions": (
        lambda s, x: functional.gelu(functional.silu(s.fc(x).tanh()).relu()),
        ["tanh", "elementwise", "relu", "gelu"],
    ),
    "scale": (lambda s, x: s.fc(x) * s.scale, ["scale"]),
    "shift": (lambda s, x: s.fc(x).relu() + s.scale, ["relu", "position"]),
    "exponential of a scale": (lambda s, x: s.fc(x) * s.scale.exp(), ["scale"]),
    "concatenation": (lambda s, x: torch.cat([s.fc(x), x, torch.zeros(4, 5, 1)], -1), ["concat"]),
    "nothing to concatenate": (lambda s, x: torch.cat([torch.zeros(4, 0, 8), s.fc(x)], 1), []),
    "stack": (lambda s, x: torch.stack([s.fc(x), x]), ["concat"]),
    "mean": (lambda s, x: s.fc(x).mean(1), ["avgpool"]),
    "largest": (lambda s, x: s.fc(x).amax(1) + s.fc(x).max(1).values, ["maxpool", "maxpool", "add"]),
    "variance": (lambda s, x: s.fc(x).var(1), ["elementwise", "avgpool"]),
    "pools": (
        lambda s, x: functional.max_pool1d(functional.adaptive_avg_pool1d(s.fc(x), 2), 2),
        ["avgpool", "maxpool"],
    ),
    "pool to the same size": (lambda s, x: functional.adaptive_avg_pool2d(s.fc(x), (5, 8)), []),
    "norms": (
        lambda s, x: functional.group_norm(functional.layer_norm(s.fc(x), (8,)), 5),
        ["layernorm", "layernorm"],
    ),
    "norm of each sample": (lambda s, x: functional.instance_norm(s.fc(x)), ["batchnorm"]),
    "larger image": (lambda s, x: functional.interpolate(s.fc(x), scale_factor=2), ["avgpool"]),
    "what is not used": (lambda s, x: (s.fc(x), s.fc(x).topk(2), s.scale * x), []),
    "nested output": (lambda s, x: {"ids": x.long(), "all": [(s.fc(x).relu(), x)]}, ["relu"]),
    "logits first": (lambda s, x: {"hidden": s.fc(x), "logits": s.fc(x).relu()}, ["relu"]),
}


@pytest.mark.parametrize(("function", "expected"), KINDS.values(), ids=KINDS)
def test_kinds_of_operations(function, expected):
    trace = trace_of(lambda: Forward(function, fc=nn.Linear(8, 8), scale=parameter(8)), (4, 5, 8))
    assert kinds(trace) == expected


def test_tokens_before_a_sequence():
    def tokens(net, x):
        return torch.cat([net.token.expand(len(x), -1, -1), x], 1)

    parts = {"token": parameter(1, 1, 8), "places": parameter(1, 6, 8)}
    trace = trace_of(lambda: Forward(lambda s, x: (tokens(s, x) + s.places).relu(), **parts), (4, 5, 8))
    assert kinds(trace) == ["position", "relu"]
    assert trace.params == 56
    trace = trace_of(lambda: Forward(lambda s, x: tokens(s, x).relu() + s.places, **parts), (4, 5, 8))
    assert kinds(trace) == ["prepend", "relu", "position"]
    assert [(layer.name, layer.params) for layer in trace.layers] == [("token", 8), ("places", 48)]


def test_what_depends_on_token_numbers_is_an_operation():
    """Positions that are counted past the padding, as in RoBERTa: the table is looked up by what is computed."""
    net = lambda: Forward(  # noqa: E731
        lambda s, ids: s.words(ids) + s.places(ids.ne(1).cumsum(1)),
        words=nn.Embedding(9, 8),
        places=nn.Embedding(7, 8),
    )
    trace = trace_of(net, [4, 5])
    assert kinds(trace) == ["embedding", "elementwise", "elementwise", "embedding", "add"]
    assert [(layer.name, layer.params) for layer in trace.layers] == [("words", 72), ("places", 56)]


def written_in_place(net, x):
    y = net.a(x)
    shown = y.view(-1, 8)
    y.relu_()
    y += x
    return net.b(shown)


def test_writing_in_place_changes_what_shows_the_same_memory():
    parts = {"a": nn.Linear(8, 8), "b": nn.Linear(8, 8)}
    in_place = trace_of(lambda: Forward(written_in_place, **parts), (4, 5, 8))
    plain = trace_of(lambda: Forward(lambda s, x: s.b(s.a(x).relu() + x), **parts), (4, 5, 8))
    assert skeleton(in_place) == skeleton(plain)


def filled(net, x):
    out = x.new_zeros(len(x), 2, 8)
    out[:, 0] = net.a(x)
    out[:, 1] = net.b(x)
    return net.c(out)


def test_writing_slices():
    trace = trace_of(lambda: Forward(filled, **{name: nn.Linear(8, 8) for name in "abc"}), (4, 8))
    copies = [op for op in trace.ops if isinstance(op, VectorOp) and op.kind == "concat"]
    assert [(op.read_elements, op.write_elements, op.deps) for op in copies] == [
        (32, 32, ("a.ff",)),
        (32, 32, ("b.ff",)),
    ]
    product = next(op for op in trace.ops if op.name == "c.ff")
    assert set(product.deps) == {op.name for op in copies}


def scaled_slice(net, x):
    qkv = net.qkv(x)
    q, k = qkv[..., :8], qkv[..., 8:]
    q *= 0.5
    return (q @ k.transpose(1, 2)).softmax(-1)


def test_writing_a_slice_leaves_the_others():
    trace = trace_of(lambda: Forward(scaled_slice, qkv=nn.Linear(8, 16)), (4, 5, 8))
    assert kinds(trace) == ["softmax"]
    assert next(op for op in trace.ops if op.name == "scores.ff").deps == ("qkv.ff",)
    sums = [op for op in trace.ops if isinstance(op, VectorOp) and op.kind == "accumulate"]
    assert not sums  # the gradients of both slices fill that of the whole


def test_constants_may_be_looked_at():
    def forward(net, x):
        steps = torch.arange(x.shape[1], device=x.device)
        steps += net.offset
        known = steps.max() == 7 and (steps.diff() == 1).sum().item() == 4
        return net.fc(x) if known and torch.ones_like(x).all() else x

    net = Forward(forward, fc=nn.Linear(8, 8))
    net.register_buffer("offset", torch.tensor(3))
    assert forward_names(trace_model(net, empty((4, 5, 8)), "x")) == ["fc"]


def test_a_frozen_weight_is_one_of_two_activations():
    trace = trace_of(half_frozen, (4, 8))
    roles = {op.name: (op.a, op.b) for op in trace.gemms() if op.layer == "2.matmul"}
    assert roles == {
        "2.matmul.ff": (Role.ACTIVATION, Role.ACTIVATION),
        "2.matmul.bp_a": (Role.GRADIENT, Role.ACTIVATION),
    }
    assert {layer.name: layer.params for layer in trace.layers} == {"0": 54, "2.bias": 5, "4": 18}


def test_without_a_loss_the_gradient_comes_from_outside():
    model = Forward(lambda s, x: s.fc(x)[:, 1:].transpose(1, 2), fc=nn.Linear(8, 4))
    trace = trace_model(model, empty((4, 5, 8)), "x", loss=False, optimizer="adamw")
    assert [op.name for op in trace.ops] == ["fc.ff", "fc.bias", "fc.wu", "fc.update"]
    assert trace.optimizer == "adamw"


# -- refusals -------------------------------------------------------------------------------------------------------

REFUSED = {
    "value": (lambda s, x: s.fc(x) if x.sum().item() > 0 else x, "looks at the values of a tensor"),
    "condition": (lambda s, x: s.fc(x) if (x > 0).all() else x, "its forward pass looks at the values"),
    "mask as index": (lambda s, x: s.fc(x[x > 0]), "looks at the values of a tensor"),
    "list": (lambda s, x: s.fc(x) * x.tolist()[0], "looks at the values of a tensor"),
    "numpy": (lambda s, x: s.fc(x) * x.numpy().sum(), "looks at the values of a tensor"),
    "random": (lambda s, x: s.fc(x) if torch.rand((), device=x.device) > 0.5 else x, "looks at the values"),
    "operation": (lambda s, x: s.fc(x).topk(2).values, "operation topk in the forward pass: has no place"),
    "shape": (lambda s, x: s.fc(x[..., :7]), r"module 'fc' fails: RuntimeError: .*8.*is the input what it"),
    "error": (lambda s, x: {}["a\nb"], "its forward pass fails: KeyError: "),
    "no tensor": (lambda s, x: ("text", x.long()), "returns no tensor of real numbers"),
    "no parameters": (lambda s, x: x.relu(), "no trained parameter lies before the output"),
    "nothing from the input": (lambda s, x: s.fc.weight.exp(), "no trained parameter lies before the output"),
    "empty": (lambda s, x: s.fc(x)[:0].relu(), "operation slice in the forward pass: .*is empty"),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(function, message):
    with pytest.raises(SpecError, match=f"^model 'mine': .*{message}") as error:
        trace_of(lambda: Forward(function, fc=nn.Linear(8, 8)), (4, 5, 8))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


def frozen_conv():
    return nn.Conv2d(8, 4, 3).requires_grad_(False)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: nn.ConvTranspose2d(8, 4, 3), (2, 8, 9, 9), "is transposed; expected a plain convolution"),
        (lambda: nn.Conv3d(8, 4, 3), (2, 8, 9, 9, 9), "is 3-dimensional; expected a plain convolution"),
        (lambda: nn.Conv2d(8, 4, 3, stride=(1, 2)), (2, 8, 9, 9), r"strides \[1, 2\], expected one stride"),
        (frozen_conv, (2, 8, 9, 9), "its weight is frozen or computed from others"),
        (lambda: nn.LazyLinear(4), (2, 8), "parameter 'weight' has no shape yet; call the model once"),
        (lambda: nn.Linear(8, 4), (), "expected an input with a batch axis"),
    ],
)
def test_layers_that_are_refused(make, shape, message):
    with pytest.raises(SpecError, match=f"^model 'mine': .*{message}"):
        trace_of(make, shape)


# -- Hugging Face ---------------------------------------------------------------------------------------------------

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
HUGGING_FACE = {
    "bert": ("BertForSequenceClassification", SMALL | {"vocab_size": 50}, [3, 16]),
    "gpt2": ("GPT2LMHeadModel", GPT2 | {"vocab_size": 50}, [3, 16]),
    "llama": ("LlamaForCausalLM", SMALL | {"num_key_value_heads": 2, "vocab_size": 50}, [3, 16]),
    "vit": ("ViTForImageClassification", SMALL | {"image_size": 32, "patch_size": 8}, (3, 3, 32, 32)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "case"), HUGGING_FACE.items())
def test_models_of_transformers(model_type, case):
    transformers = pytest.importorskip("transformers")
    model_class, sizes, shape = case
    config = transformers.AutoConfig.for_model(model_type, **sizes, use_cache=False)
    model = getattr(transformers, model_class)(config)
    trace = trace_model(model, empty(shape), model_type)
    x = torch.zeros(shape, dtype=empty(shape).dtype)
    assert macs(trace) == counted_macs(Forward(lambda s, x: s.model(x).logits, model=model), [x])
    assert trace.params == trained_elements(model)
    _, report = sparsify(model, BDWP(nm=NM(2, 8)))
    assert {row.layer for row in report} == {layer.name for layer in weight_layers(trace)}
