"""The pragmas of Vitis HLS, as AMD's open front end defines them.

Source: github.com/Xilinx/hls-llvm-project, clang/include/clang/Basic/XlxPragmaOption.td at 23f046fb and
clang/lib/Parse/ParseXlxPragma.cpp at 14e9eba6. Names and values are read without regard to case; hidden options are
left out, deprecated ones carry what replaces them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PREFIXES = ("HLS", "AP", "AUTOPILOT")


class Form(StrEnum):
    """How an option is written; the text completes "expected"."""

    FLAG = "a bare word"
    CHOICE = "one of a list"
    NAME = "a name"
    VARIABLE = "the name of a variable"
    INTEGER = "an integer constant"
    INTEGERS = "integer constants"
    NUMBER = "a number"


class Place(StrEnum):
    """Where a pragma may stand."""

    ANYWHERE = "in a function"
    FUNCTION = "at the top of a function's body"
    LOOP = "in the body of a loop"
    FUNCTION_OR_LOOP = "at the top of the body of a function or loop"


@dataclass(frozen=True)
class Option:
    """An option: its form, legal values of a choice (`bare` ones may stand alone), least integer, replacement."""

    form: Form
    values: tuple[str, ...] = ()
    bare: bool = False
    required: bool = False
    least: int | None = None
    instead: str = ""


@dataclass(frozen=True)
class Pragma:
    """A pragma: where it may stand, its options, what replaces it if it is deprecated."""

    options: Mapping[str, Option] = field(default_factory=dict)
    place: Place = Place.ANYWHERE
    instead: str = ""


_FLAG, _NAME, _NUMBER = Option(Form.FLAG), Option(Form.NAME), Option(Form.NUMBER)
_ANY_INTEGER = Option(Form.INTEGER)
_COUNT, _POSITIVE = Option(Form.INTEGER, least=0), Option(Form.INTEGER, least=1)
_VARIABLE = {"variable": Option(Form.VARIABLE, required=True)}


def _choice(*values: str, bare: bool = False) -> Option:
    return Option(Form.CHOICE, values, bare)


_PARTITION = {
    **_VARIABLE,
    "type": _choice("block", "cyclic", "complete", bare=True),
    "factor": _POSITIVE,
    "dim": _COUNT,
}
_MEMORY_PORT = {"depth": _COUNT, "latency": _ANY_INTEGER, "storage_type": _NAME}
_SCALAR_PORT = {"register": _FLAG, "depth": _COUNT, "latency": _COUNT}
_INTERRUPT_PORT = {**_SCALAR_PORT, "interrupt": _COUNT}

INTERFACE_MODES: dict[str, Mapping[str, Option]] = {
    "m_axi": {
        "bundle": _NAME,
        "depth": _COUNT,
        "offset": _NAME,
        "num_read_outstanding": _POSITIVE,
        "num_write_outstanding": _POSITIVE,
        "max_read_burst_length": _POSITIVE,
        "max_write_burst_length": _POSITIVE,
        "latency": _COUNT,
        "max_widen_bitwidth": _COUNT,
        "channel": _COUNT,
    },
    "s_axilite": {"bundle": _NAME, "offset": _COUNT, "clock": _NAME, "storage_impl": _NAME},
    "axis": {
        "register": _FLAG,
        "register_mode": _choice("forward", "reverse", "off", "both", bare=True),
        "depth": _COUNT,
    },
    "ap_memory": _MEMORY_PORT,
    "bram": _MEMORY_PORT,
    **dict.fromkeys(("ap_none", "ap_fifo", "ap_ack", "ap_vld", "ap_stable"), _SCALAR_PORT),
    **dict.fromkeys(("ap_hs", "ap_ovld"), _INTERRUPT_PORT),
    **{mode: {} for mode in ("ap_ctrl_none", "ap_ctrl_hs", "ap_ctrl_chain")},
}
"""What `interface` takes beside `port` and `name`, by its mode."""

RETURN_MODES = {"s_axilite", "ap_ctrl_none", "ap_ctrl_hs", "ap_ctrl_chain"}
"""Modes of the port `return`."""

PRAGMAS: dict[str, Pragma] = {
    "aggregate": Pragma({**_VARIABLE, "compact": _choice("bit", "byte", "none", "auto", bare=True)}),
    "alias": Pragma(
        {
            "ports": Option(Form.VARIABLE, required=True),
            "offset": Option(Form.INTEGERS),
            "distance": _ANY_INTEGER,
        }
    ),
    "allocation": Pragma(
        {
            "type": _choice("operation", "function", bare=True),
            "instances": Option(Form.NAME, required=True),
            "limit": Option(Form.INTEGER, required=True, least=1),
        }
    ),
    "array_partition": Pragma(_PARTITION),
    "array_reshape": Pragma({**_PARTITION, "object": _FLAG}),
    "bind_op": Pragma(
        {**_VARIABLE, "op": Option(Form.NAME, required=True), "impl": _NAME, "latency": _ANY_INTEGER}
    ),
    "bind_storage": Pragma(
        {**_VARIABLE, "type": Option(Form.NAME, required=True), "impl": _NAME, "latency": _ANY_INTEGER}
    ),
    "dataflow": Pragma({"disable_start_propagation": _FLAG}),
    "dependence": Pragma(
        {
            "variable": Option(Form.VARIABLE),
            "class": _choice("array", "pointer", bare=True),
            "type": _choice("intra", "inter", bare=True),
            "direction": _choice("raw", "war", "waw", bare=True),
            "dependent": _choice("true", "false", bare=True),
            "distance": _POSITIVE,
        }
    ),
    "disaggregate": Pragma(_VARIABLE),
    "expression_balance": Pragma({"off": _FLAG}),
    "function_instantiate": Pragma(_VARIABLE, Place.FUNCTION),
    "inline": Pragma({"recursive": _FLAG, "off": _FLAG}),
    "interface": Pragma(
        {
            "mode": _choice(*INTERFACE_MODES, bare=True),
            "port": Option(Form.VARIABLE, required=True),
            "name": _NAME,
        },
        Place.FUNCTION,
    ),
    "latency": Pragma({"min": _COUNT, "max": _COUNT}),
    "loop_flatten": Pragma({"off": _FLAG}, Place.LOOP),
    "loop_merge": Pragma({"force": _FLAG}),
    "loop_tripcount": Pragma(
        {"min": _COUNT, "max": Option(Form.INTEGER, required=True, least=0), "avg": _COUNT}, Place.LOOP
    ),
    "occurrence": Pragma({"cycle": _POSITIVE}),
    "performance": Pragma({"target_ti": _NUMBER, "target_tl": _NUMBER}),
    "pipeline": Pragma(
        {
            "ii": _POSITIVE,
            "rewind": _FLAG,
            "off": _FLAG,
            "style": _choice("stp", "flp", "frp"),
            "enable_flush": Option(Form.FLAG, instead="style=flp"),
        },
        Place.FUNCTION_OR_LOOP,
    ),
    "protocol": Pragma({"mode": _choice("floating", "fixed", bare=True)}),
    "reset": Pragma({**_VARIABLE, "off": _FLAG}),
    "resource": Pragma(instead="bind_op or bind_storage"),
    "shared": Pragma(instead="stream with type=shared"),
    "stable": Pragma(_VARIABLE),
    "stream": Pragma(
        {
            **_VARIABLE,
            "depth": _POSITIVE,
            "type": _choice("fifo", "pipo", "shared", "unsync"),
            "off": Option(Form.FLAG, instead="type=pipo"),
            "dim": Option(Form.INTEGER, instead="a variable of fewer dimensions"),
        }
    ),
    "top": Pragma({"name": _NAME}, Place.FUNCTION),
    "unroll": Pragma({"factor": _POSITIVE, "skip_exit_check": _FLAG}),
}
