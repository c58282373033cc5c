"""The extension of hls4ml: N:M sparse layers, which take the place of dense ones whose weights are N:M sparse.

hls4ml reads, fuses and quantizes a network as ever. At the end of its optimizations a pass replaces every `Dense` and
`Conv2D` for which the configuration gives an N:M ratio (`RATIO`) by a layer that holds the kept values and their
positions; `nnet_utils/nnet_nm_sparse.h` is its code.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import hls4ml
import numpy as np
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model.attributes import Attribute, TypeAttribute, WeightAttribute
from hls4ml.model.flow import get_flow
from hls4ml.model.layers import Layer, register_layer
from hls4ml.model.optimizer import OptimizerPass
from hls4ml.model.types import IntegerPrecisionType
from numpy.typing import NDArray

from codesign.errors import ExportError, FormatError
from codesign.nm.format import NM
from codesign.nm.reference import indices, pack, unpack

BACKEND = "Vitis"
RATIO = "nm"
"""Key of a layer's configuration."""

HEADER = Path(__file__).parent / "nnet_utils" / "nnet_nm_sparse.h"

_COMMON = ("n_in", "n_out", "n_kept", "n_steps", "n", "m")
_GEOMETRY = (
    "in_height", "in_width", "n_chan", "filt_height", "filt_width", "stride_height", "stride_width",
    "out_height", "out_width", "pad_top", "pad_left",
)  # fmt: skip


class NMDense(Layer):  # type: ignore[misc]
    """A fully connected layer; weights are (n_kept,) values and positions, in the order of the header."""

    _expected_attributes = (
        *(Attribute(name) for name in _COMMON),
        *(part(name) for name in ("weight", "position", "bias") for part in (WeightAttribute, TypeAttribute)),
        TypeAttribute("accum"),
    )

    def initialize(self) -> None:
        """Make the variables from the ready-made data and types of the layer that this one replaces."""
        given = self.attributes
        self.add_output_variable(given["output_shape"], precision=given["output_precision"])
        positions = IntegerPrecisionType(NM(given["n"], given["m"]).index_bits or 1, signed=False)
        self.add_weights_variable(
            "weight", "w{index}", precision=given["weight_precision"], data=given["values"]
        )
        self.add_weights_variable("position", "p{index}", precision=positions, data=given["positions"])
        self.add_weights_variable("bias", "b{index}", precision=given["bias_precision"], data=given["biases"])


class NMConv2D(NMDense):
    """A convolution, channels last; its window is the vector of inputs, channels innermost."""

    _expected_attributes = tuple(Attribute(name) for name in _GEOMETRY)


class KeepOrder(OptimizerPass):  # type: ignore[misc]
    """Keeps hls4ml from sorting the weights behind a flattened image anew, which would mix the groups."""

    def match(self, node: Any) -> bool:
        """Whether a reshaping stands before a layer that is to be sparse."""
        behind = node.get_output_nodes() if node.class_name == "Reshape" else ()
        kept = getattr(node, "_channels_last_keep_transpose", False)
        return not kept and any(layer.get_attr(RATIO) is not None for layer in behind)

    def transform(self, model: Any, node: Any) -> bool:
        """Keep the transposition before it."""
        node._channels_last_keep_transpose = True
        return False


_KINDS = {"Dense": NMDense, "Conv2D": NMConv2D, "Conv2DBatchnorm": NMConv2D, "PointwiseConv2D": NMConv2D}


class CompressNM(OptimizerPass):  # type: ignore[misc]
    """Replaces dense layers by N:M sparse ones."""

    def match(self, node: Any) -> bool:
        """Whether a layer is to be replaced."""
        return node.get_attr(RATIO) is not None and node.class_name in _KINDS

    def transform(self, model: Any, node: Any) -> bool:
        """Replace it. Raises ExportError if its weights are not N:M sparse."""
        kind = _KINDS[node.class_name]
        attributes = _attributes(node, _GEOMETRY if kind is NMConv2D else ())
        new = model.make_node(kind.__name__, node.name, attributes, node.inputs.copy(), node.outputs.copy())
        model.replace_node(node, new)
        return True


def _attributes(node: Any, geometry: tuple[str, ...]) -> dict[str, Any]:
    nm = NM.parse(node.get_attr(RATIO))
    dense = np.asarray(node.get_weights("weight").data, np.float64)  # (..., inputs, outputs)
    weights = np.ascontiguousarray(np.moveaxis(dense, -1, 0).reshape(dense.shape[-1], -1))
    steps = _steps(nm.groups(weights.shape[1]), int(node.get_attr("reuse_factor")))
    values, positions = compress(node.name, weights, nm, steps, node.get_attr("n_chan", weights.shape[1]))
    output = node.get_output_variable()
    return {
        "n_in": weights.shape[1],
        "n_out": weights.shape[0],
        "n_kept": values.size,
        "n": nm.n,
        "m": nm.m,
        "n_steps": steps,
        "values": values,
        "positions": positions,
        "biases": node.get_weights("bias").data,
        "weight_precision": node.get_weights("weight").type.precision,
        "bias_precision": node.get_weights("bias").type.precision,
        "accum_t": node.get_attr("accum_t"),
        "output_shape": output.shape,
        "output_precision": output.type.precision,
    } | {name: node.get_attr(name) for name in geometry}


def compress(
    name: str, weights: NDArray[np.float64], nm: NM, steps: int, channels: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Kept values and positions, flat, step by step, of (outputs, inputs) weights; `steps` divides the groups.

    `channels` is the length of the vectors that are cut into groups. Raises ExportError if these are not N:M sparse.
    """
    try:
        compact = pack(weights.reshape(-1, channels), nm, -1)
    except FormatError as error:
        raise ExportError(f"layer {name!r} cannot be exported: {error}") from None
    if not np.array_equal(unpack(compact).reshape(weights.shape), weights):
        raise ExportError(
            f"layer {name!r}: got more than {nm.n} non-zeros in a group of {nm.m} weights, expected a layer that "
            f"was trained to {nm}"
        )
    values: NDArray[np.float64] = _by_step(compact.values, weights.shape[0], steps)
    return values, _by_step(indices(compact), weights.shape[0], steps)


def _by_step(kept: NDArray[Any], outputs: int, steps: int) -> NDArray[Any]:
    """Entries that stand output by output, now step by step and in a step output by output."""
    return kept.reshape(outputs, steps, -1).swapaxes(0, 1).reshape(-1)


def _steps(groups: int, reuse: int) -> int:
    """The largest number of steps up to `reuse` that divides the groups."""
    return next(steps for steps in range(min(groups, reuse), 0, -1) if groups % steps == 0)


class _Config(LayerConfigTemplate):  # type: ignore[misc]
    def __init__(self, layer: type[Layer] = NMDense, sizes: tuple[str, ...] = _COMMON) -> None:
        super().__init__(layer)
        self._sizes = sizes

    def format(self, node: Any) -> str:
        """The configuration struct of a layer."""
        lines = [f"    static const unsigned {name} = {node.get_attr(name)};" for name in self._sizes]
        types = ("accum", "weight", "position", "bias")
        lines += [f"    typedef {node.get_attr(f'{name}_t').name} {name}_t;" for name in types]
        body = "\n".join(lines)
        product = "    template <class x_T, class w_T> using product = nnet::product::mult<x_T, w_T>;"
        return f"struct config{node.index} {{\n{body}\n{product}\n}};\n"


class _ConvConfig(_Config):
    def __init__(self) -> None:
        super().__init__(NMConv2D, (*_COMMON, *_GEOMETRY))


class _Call(FunctionCallTemplate):  # type: ignore[misc]
    function = "nm_dense"

    def __init__(self, layer: type[Layer] = NMDense) -> None:
        super().__init__(layer, include_header=[f"nnet_utils/{HEADER.name}"])

    def format(self, node: Any) -> str:
        """The call of a layer."""
        names = self._default_function_params(node)
        weights = ", ".join(node.get_weights(name).name for name in ("weight", "position", "bias"))
        types = f"{names['input_t']}, {names['output_t']}, {names['config']}"
        return f"nnet::{self.function}<{types}>({names['input']}, {names['output']}, {weights});"


class _ConvCall(_Call):
    function = "nm_conv_2d"

    def __init__(self) -> None:
        super().__init__(NMConv2D)


@cache
def register() -> None:
    """Make the extension known to hls4ml, once in a process."""
    for layer in (NMDense, NMConv2D):
        register_layer(layer.__name__, layer)
    backend = hls4ml.backends.get_backend(BACKEND)
    backend.register_pass("compress_nm", CompressNM, flow="vivado:optimize")
    backend.register_pass("keep_order", KeepOrder)
    get_flow("convert").optimizers.insert(0, "vitis:keep_order")  # before the pass that it restrains
    for template in (_Config, _ConvConfig, _Call, _ConvCall):
        backend.register_template(template)
    backend.register_source(HEADER)
