"""ONNX models for tests, built operator by operator; the importing test skips if the onnx package is missing."""

import onnx
from onnx import helper

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


class Model:
    """A model under construction. Weights have shapes but no data: they claim to lie in a file that is not there."""

    def __init__(self, **inputs):
        self.inputs = [
            helper.make_tensor_value_info(name, INT64 if name == "ids" else FLOAT, shape)
            for name, shape in inputs.items()
        ]
        self.nodes, self.weights, self.outputs = [], [], []

    def weight(self, name, *shape, data_type=FLOAT):
        tensor = onnx.TensorProto(name=name, dims=shape, data_type=data_type, data_location=1)
        tensor.external_data.add(key="location", value="absent.bin")
        self.weights.append(tensor)
        return name

    def ints(self, name, values):
        self.weights.append(helper.make_tensor(name, INT64, [len(values)], values))
        return name

    def scalar(self, name, value):
        self.weights.append(helper.make_tensor(name, FLOAT, [], [value]))
        return name

    def node(self, operator, *inputs, outputs=1, name=None, **attributes):
        name = name or f"{operator.lower()}{len(self.nodes)}"
        names = [f"{name}.{index}" for index in range(outputs)]
        domain = attributes.pop("domain", "")
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, domain=domain, **attributes))
        return names if outputs > 1 else names[0]

    def linear(self, x, cin, cout, name):
        """The way exporters write a linear layer on a sequence: MatMul, then Add."""
        product = self.node("MatMul", x, self.weight(f"{name}.w", cin, cout), name=name)
        return self.node("Add", self.weight(f"{name}.b", cout), product)

    def norm(self, x, width, name):
        return self.node(
            "LayerNormalization", x, self.weight(f"{name}.s", width), self.weight(f"{name}.b", width)
        )

    def save(self, path, *outputs):
        values = [helper.make_tensor_value_info(output, FLOAT, None) for output in outputs]
        graph = helper.make_graph(self.nodes, "g", self.inputs, values, self.weights)
        path.write_bytes(helper.make_model(graph).SerializeToString())
        return str(path)


def conv_norm(m, x, cin, cout, kernel, stride=1, name=None):
    pads = [kernel // 2] * 4
    w = m.weight(f"{name}.w", cout, cin, kernel, kernel)
    x = m.node("Conv", x, w, name=name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
    return m.node("BatchNormalization", x, *(m.weight(f"{name}.{p}", cout) for p in "sbmv"))


def resnet18(path, batch="batch"):
    m = Model(x=[batch, 3, 224, 224])
    x = m.node("Relu", conv_norm(m, "x", 3, 64, 7, 2, "stem"))
    x = m.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    cin = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride, name = (2 if stage and not block else 1), f"layer{stage}.{block}"
            y = m.node("Relu", conv_norm(m, x, cin, width, 3, stride, f"{name}.conv1"))
            y = conv_norm(m, y, width, width, 3, 1, f"{name}.conv2")
            if cin != width:
                x = conv_norm(m, x, cin, width, 1, stride, f"{name}.down")
            x = m.node("Relu", m.node("Add", y, x))
            cin = width
    x = m.node("Flatten", m.node("GlobalAveragePool", x))
    return m.save(path, m.node("Gemm", x, m.weight("fc.w", 1000, 512), m.weight("fc.b", 1000), transB=1))


def vision_transformer(path, tokens=5, width=16, heads=2):
    """One pre-norm block on 3 x 8 x 8 images, exported at batch 2 with the batch inside Reshape constants."""
    m, depth = Model(x=[2, 3, 8, 8]), width // heads
    conv = m.node(
        "Conv", "x", m.weight("p.w", width, 3, 4, 4), m.weight("p.b", width), strides=[4, 4], name="patch"
    )
    x = m.node("Transpose", m.node("Reshape", conv, m.ints("s1", [2, width, 4])), perm=[0, 2, 1])
    token = m.node("Expand", m.weight("cls", 1, 1, width), m.ints("s2", [2, 1, width]))
    x = m.node("Concat", token, x, axis=1)
    x = m.node("Add", x, m.weight("pos", 1, tokens, width))
    qkv = m.linear(m.norm(x, width, "n1"), width, 3 * width, "qkv")
    parts = m.node("Split", qkv, m.ints("s3", [width] * 3), outputs=3, axis=2)
    shape = m.ints("s4", [2, tokens, heads, depth])
    q, k, v = (m.node("Transpose", m.node("Reshape", part, shape), perm=[0, 2, 1, 3]) for part in parts)
    scores = m.node("MatMul", q, m.node("Transpose", k, perm=[0, 1, 3, 2]), name="scores")
    weights = m.node("Softmax", m.node("Mul", scores, m.scalar("scale", 0.35)), axis=-1)
    context = m.node("Transpose", m.node("MatMul", weights, v, name="context"), perm=[0, 2, 1, 3])
    context = m.node("Reshape", context, m.ints("s5", [2, tokens, width]))
    x = m.node("Add", m.linear(context, width, width, "proj"), x)
    hidden = m.linear(m.norm(x, width, "n2"), width, 4 * width, "fc1")
    gate = m.node("Add", m.node("Erf", m.node("Div", hidden, m.scalar("r", 1.41))), m.scalar("one", 1.0))
    hidden = m.node("Mul", m.node("Mul", hidden, gate), m.scalar("half", 0.5))
    x = m.node("Add", m.linear(hidden, 4 * width, width, "fc2"), x)
    x = m.node("Gather", m.norm(x, width, "n3"), m.ints("zero", [0]), axis=1)
    x = m.node("Squeeze", x, m.ints("one_axis", [1]))
    return m.save(
        path, m.node("Gemm", x, m.weight("h.w", 10, width), m.weight("h.b", 10), transB=1, name="head")
    )


def language_model(path):
    """Token and position embeddings, and a head that is the transposed token table."""
    m = Model(ids=["batch", "tokens"])
    m.weight("table", 100, 16)
    x = m.node("Gather", "table", "ids", name="embed")
    length = m.node("Gather", m.node("Shape", "ids"), m.ints("i", [1]))
    positions = m.node("Slice", m.weight("positions", 64, 16), m.ints("z", [0]), length, m.ints("a", [0]))
    x = m.node("Add", x, positions, name="position")
    return m.save(path, m.node("MatMul", x, m.node("Transpose", "table", perm=[1, 0]), name="head"))
