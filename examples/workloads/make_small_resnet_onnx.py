"""Write `small_resnet.onnx`, a residual network for 32 x 32 images, as an example of a model file.

Run it as `python make_small_resnet_onnx.py [PATH]`; it needs the onnx package. The batch axis is symbolic. The
weights are declared to lie in another file, which is not there: a simulation needs only their shapes.
"""

import sys
from pathlib import Path

from onnx import StringStringEntryProto, TensorProto, helper, save

CLASSES = 10


class Builder:
    """Collects the nodes and weights of a model; each method returns the name of its output."""

    def __init__(self):
        self.nodes = []
        self.weights = []

    def weight(self, name, *shape):
        location = StringStringEntryProto(key="location", value="small_resnet.weights")
        self.weights.append(
            TensorProto(
                name=name,
                dims=shape,
                data_type=TensorProto.FLOAT,
                data_location=TensorProto.EXTERNAL,
                external_data=[location],
            )
        )
        return name

    def node(self, operator, name, inputs, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def conv_norm(self, x, name, cin, cout, kernel, stride=1):
        pad, bn = kernel // 2, f"{name}.bn"
        weight = self.weight(f"{name}.weight", cout, cin, kernel, kernel)
        x = self.node(
            "Conv", name, [x, weight], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )
        parameters = [self.weight(f"{bn}.{p}", cout) for p in ("scale", "shift", "mean", "variance")]
        return self.node("BatchNormalization", bn, [x, *parameters])

    def block(self, x, name, cin, cout, stride):
        y = self.conv_norm(x, f"{name}.conv1", cin, cout, 3, stride)
        y = self.node("Relu", f"{name}.relu1", [y])
        y = self.conv_norm(y, f"{name}.conv2", cout, cout, 3)
        if stride != 1 or cin != cout:
            x = self.conv_norm(x, f"{name}.downsample", cin, cout, 1, stride)
        return self.node("Relu", f"{name}.relu2", [self.node("Add", f"{name}.add", [y, x])])


def build():
    """The model: 16-wide stem, blocks of 16, 32 and 64 channels, a linear classifier."""
    b = Builder()
    x = b.node("Relu", "stem.relu", [b.conv_norm("image", "stem", 3, 16, 3)])
    for name, cin, cout, stride in (("block1", 16, 16, 1), ("block2", 16, 32, 2), ("block3", 32, 64, 2)):
        x = b.block(x, name, cin, cout, stride)
    x = b.node("Flatten", "flatten", [b.node("GlobalAveragePool", "pool", [x])])
    x = b.node("Gemm", "fc", [x, b.weight("fc.weight", CLASSES, 64), b.weight("fc.bias", CLASSES)], transB=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])
    logits = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(b.nodes, "small_resnet", [image], [logits], b.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="codesign")


if __name__ == "__main__":
    save(build(), sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("small_resnet.onnx"))
