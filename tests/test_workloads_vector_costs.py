"""Costs of vector work against formulas that are carried out on counting numbers, and traffic by hand.

Each formula is written out on scalars that count their own arithmetic. The growth of the count with the number of
elements is the cost for each element, free of what a row or channel costs once. Backward formulas are checked
against finite differences first, so that what is counted is a gradient.
"""

import math

import pytest

from workloads.graph import Graph
from workloads.ops import Stage, VectorOp
from workloads.training import training_trace
from workloads.vector_costs import COSTS, Sizes, Work


class Counted(float):
    """A number that counts the operations done on such numbers."""

    count = 0


def _counting(name):
    def method(self, *others):
        Counted.count += 1
        return Counted(getattr(float, name)(self, *map(float, others)))

    return method


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv"):
    setattr(Counted, f"__{_name}__", _counting(f"__{_name}__"))


def function(f, *values):
    """One operation that is no plain arithmetic: exp, tanh, max, select."""
    Counted.count += 1
    return Counted(f(*values))


def total(values):
    """Sum with one addition for each value."""
    result = Counted(0.0)
    for value in values:
        result = result + value
    return result


def row(n, seed):
    return [Counted(math.sin(seed + 1.7 * i) * 1.3 + 0.1) for i in range(n)]


EPSILON = 1e-5


def statistics(x):
    """Mean and reciprocal deviation, with the sums that they take."""
    n = len(x)
    mean = float(total(x)) / n
    return mean, 1 / math.sqrt(float(total([v * v for v in x])) / n - mean**2 + EPSILON)


def saved_statistics(x):
    """The same, kept from the forward pass: nothing is counted."""
    mean = math.fsum(x) / len(x)
    return mean, 1 / math.sqrt(math.fsum(float(v) ** 2 for v in x) / len(x) - mean**2 + EPSILON)


def layernorm_forward(x, dy=None):
    mean, r = statistics(x)
    return [(v - mean) * r * 1.5 + 0.25 for v in x]


def layernorm_backward(x, dy):
    mean, r = saved_statistics(x)
    hats = [(v - mean) * r for v in x]
    gradients = [1.5 * d for d in dy]
    m1 = float(total(gradients)) / len(x)
    m2 = float(total([g * h for g, h in zip(gradients, hats, strict=True)])) / len(x)
    total([d * h for d, h in zip(dy, hats, strict=True)])  # gradient of the scale
    total(dy)  # gradient of the shift
    return [(g - m1 - h * m2) * r for g, h in zip(gradients, hats, strict=True)]


def batchnorm_forward(x, dy=None):
    mean, r = statistics(x)
    a, b = r * 1.5, 0.25 - mean * r * 1.5
    return [v * a + b for v in x]


def batchnorm_backward(x, dy):
    mean, r = saved_statistics(x)
    hats = [(v - mean) * r for v in x]
    scale_gradient = float(total([d * h for d, h in zip(dy, hats, strict=True)]))
    shift_gradient = float(total(dy))
    a, b = 1.5 * r, -1.5 * r * r * scale_gradient / len(x)
    c = -1.5 * r * shift_gradient / len(x) - b * mean
    return [d * a + v * b + c for d, v in zip(dy, x, strict=True)]


def softmax_forward(x, dy=None):
    top = -math.inf
    for v in x:
        top = float(function(max, top, v))
    exps = [function(math.exp, v - top) for v in x]
    inverse = 1 / float(total(exps))
    return [e * inverse for e in exps]


def softmax_backward(x, dy):
    top = max(x)
    inverse = 1 / math.fsum(math.exp(float(v) - float(top)) for v in x)
    y = [Counted(math.exp(float(v) - float(top)) * inverse) for v in x]  # kept from the forward pass
    dot = float(total([d * v for d, v in zip(dy, y, strict=True)]))
    return [(d - dot) * v for d, v in zip(dy, y, strict=True)]


C, A = math.sqrt(2 / math.pi), 0.044715


def gelu_forward(x, dy=None):
    return [(function(math.tanh, (v * v * A + 1.0) * v * C) + 1.0) * v * 0.5 for v in x]


def gelu_backward(x, dy):
    def derivative(v):
        square = v * v
        t = function(math.tanh, (square * A + 1.0) * v * C)
        return (t + 1.0) * 0.5 + (1.0 - t * t) * (v * 0.5) * ((square * (3 * A) + 1.0) * C)

    return [derivative(v) * d for v, d in zip(x, dy, strict=True)]


def tanh_forward(x, dy=None):
    return [function(math.tanh, v) for v in x]


def tanh_backward(x, dy):
    y = [Counted(math.tanh(v)) for v in x]
    return [(1.0 - v * v) * d for v, d in zip(y, dy, strict=True)]


def relu_forward(x, dy=None):
    return [function(max, v, 0.0) for v in x]


def relu_backward(x, dy):
    return [function(lambda v, d: d if v > 0 else 0.0, v, d) for v, d in zip(x, dy, strict=True)]


FORMULAS = {
    "batchnorm": (batchnorm_forward, batchnorm_backward),
    "layernorm": (layernorm_forward, layernorm_backward),
    "softmax": (softmax_forward, softmax_backward),
    "gelu": (gelu_forward, gelu_backward),
    "tanh": (tanh_forward, tanh_backward),
    "relu": (relu_forward, relu_backward),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_backward_formulas_are_gradients(kind):
    forward, backward = FORMULAS[kind]
    x, dy = [float(v) for v in row(7, 0.3)], [float(v) for v in row(7, 2.9)]
    step = 1e-5
    for i, gradient in enumerate(backward([Counted(v) for v in x], [Counted(v) for v in dy])):
        ends = []
        for sign in (1, -1):
            moved = [Counted(v + sign * step * (j == i)) for j, v in enumerate(x)]
            ends.append(sum(float(y) * d for y, d in zip(forward(moved), dy, strict=True)))
        assert float(gradient) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-5)


def operations_per_element(formula):
    counts = []
    for n in (100, 200):
        x, dy = row(n, 0.3), row(n, 2.9)
        Counted.count = 0
        formula(x, dy)
        counts.append(Counted.count)
    return (counts[1] - counts[0]) / 100


@pytest.mark.parametrize("kind", FORMULAS)
def test_operations_per_element_are_those_of_the_formula(kind):
    forward, backward = FORMULAS[kind]
    cost = COSTS[kind]
    assert cost.forward(Sizes(1, 1)).operations == operations_per_element(forward)
    assert cost.backward(Sizes(1, 1)).operations == operations_per_element(backward)


def image_graph():
    """(2, 4, 6, 6) -> conv 8 -> batchnorm -> relu -> maxpool 3/3 -> global average -> linear 5 -> loss."""
    g = Graph(2)
    x = g.conv(g.input(4, 6, 6), 8, 3, "conv", padding=1, bias=True)
    x = g.vector("relu", g.batchnorm(x, "bn"), "relu")
    x = g.pool("maxpool", x, 3, "maxpool", stride=3)
    x = g.global_pool("avgpool", x, "avgpool")
    g.loss(g.linear(x, 5, "fc"))
    return g


def test_work_of_a_small_network_by_hand():
    e, p, q, logits = 2 * 8 * 6 * 6, 2 * 8 * 2 * 2, 2 * 8, 2 * 5  # elements after conv, maxpool, avgpool, fc
    expected = {
        "bn.ff": Work(5 * e, 2 * e, e),
        "relu.ff": Work(e, e, e),
        "maxpool.ff": Work(9 * p, e, 2 * p),  # 9 compares each; value and index
        "avgpool.ff": Work(p, p, q),
        "loss.ff": Work(5 * logits, logits, logits),
        "loss.bp": Work(2 * logits, logits, logits),
        "fc.bias": Work(logits, logits, 5),
        "avgpool.bp": Work(p, q, p),
        "maxpool.bp": Work(p, 2 * p, e),
        "relu.bp": Work(e, 2 * e, e),
        "bn.bp": Work(9 * e, 4 * e, e),
        "conv.bias": Work(e, e, 8),
    }
    ops = [op for op in training_trace(image_graph(), "t").ops if isinstance(op, VectorOp)]
    assert {op.name: Work(op.operations, op.read_elements, op.write_elements) for op in ops} == expected
    assert {op.name for op in ops if op.stage is Stage.FF} == {
        name for name in expected if name.endswith(".ff")
    }


def test_tokens_and_embeddings_by_hand():
    g = Graph(2)
    ids = g.input(3, name="ids")
    x = g.embedding(ids, (10, 4), 6, "embed")  # two tables, 2 x 3 tokens of width 6
    x = g.position(x, "pos", class_tokens=1)  # 4 positions and 1 token of width 6
    g.loss(g.linear(x, 5, "fc"))
    trace = training_trace(g, "t")
    works = {
        op.name: Work(op.operations, op.read_elements, op.write_elements)
        for op in trace.ops
        if isinstance(op, VectorOp)
    }
    assert works["embed.ff"] == Work(36, 72, 36)  # a row of each table, one addition
    assert works["embed.bp"] == Work(
        72, 36 + 72, 72 + 14 * 6
    )  # dy and both rows; rows and the cleared tables
    assert works["pos.ff"] == Work(48, 36 + 30, 48)
    assert works["pos.bp"] == Work(48, 48, 30)
    assert trace.params == 14 * 6 + 5 * 6 + 35


def test_joining_tokens_and_scaling_by_hand():
    g = Graph(2)
    x = g.linear(g.input(3, 6), 6, "fc", bias=False)  # 36 elements
    tokens = g.vector("prepend", x, "tokens", shape=(2, 4, 6), params=6)  # one trained token before 3
    scaled = g.vector("scale", tokens, "scale", params=6)
    gated = g.vector("binary", (scaled, tokens), "gate", taps=2)
    joined = g.vector("concat", (gated, scaled), "join", shape=(2, 8, 6))
    g.loss(joined)
    works = {
        op.name: Work(op.operations, op.read_elements, op.write_elements)
        for op in training_trace(g, "t").ops
        if isinstance(op, VectorOp)
    }
    assert works["tokens.ff"] == Work(0, 36 + 6, 48)
    assert works["tokens.bp"] == Work(12, 12, 6)  # the gradients of 2 tokens, added up
    assert works["scale.ff"] == Work(48, 48, 48)
    assert works["scale.bp"] == Work(3 * 48, 2 * 48, 48 + 6)
    assert works["gate.ff"] == Work(48, 96, 48)
    assert works["gate.bp"] == Work(2 * 96, 48 + 96, 96)
    assert works["join.ff"] == Work(0, 96, 96)
    assert "join.bp" not in works
    assert works["scale.grad"] == Work(48, 96, 48)  # from the gate and the join
