"""`config.hpp`: the parameters of the kernels in `hls/kernels`, from an architecture.

The kernels are fixed to FP16 operands with FP32 sums and masters, and to buffers of two halves. Rules between the
parameters are static assertions of `kernels/types.hpp`, so that they hold for a header that was edited, too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from codesign.errors import ExportError
from codesign.nm.format import NM
from hw_models.arch import Arch
from hw_models.block_specs import Buffer
from hw_models.timing import Dataflow

AXI_BYTES = 64
_UPDATE_BYTES = 2 + 4 + 4  # FP16 gradient, FP32 weight and momentum of a parameter


class Tile(NamedTuple):
    """A GEMM on the array, of one buffer tile: rows of i, groups of k, columns of j."""

    dataflow: Dataflow
    nm: NM
    rows_i: int
    groups: int
    cols_j: int
    clear: bool = True


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """Parameters of the kernels; in the header a name is in capitals.

    - `group`: n == m of a dense product. `max_n`, `max_m`: the largest of all ratios, dense included.
    - `port`: values that a row's activation port brings a cycle. Latencies are in cycles.
    - Depths are of one half of a buffer: values per bank, with one bank for each row or column of the array;
      `vector_depth`: FP16 values per lane; `update_depth`: parameters per lane.
    """

    rows: int
    cols: int
    group: int
    max_n: int
    max_m: int
    interleave: int
    port: int
    multiplier_latency: int
    accumulator_latency: int
    sore_lanes: int
    wuve_lanes: int
    vector_lanes: int
    act_depth: int
    weight_depth: int
    out_depth: int
    vector_depth: int
    update_depth: int
    sparsity: tuple[NM, ...]
    dataflows: tuple[Dataflow, ...]

    @classmethod
    def of(cls, arch: Arch) -> KernelConfig:
        """Of an architecture. Raises ExportError if the kernels cannot be built for it."""
        _check_numbers(arch)
        array, params = arch.array, arch.array_params
        dense = array.weight_registers
        act_depth = _depth(arch, "activation", array.rows, 2)
        return cls(
            rows=array.rows,
            cols=array.cols,
            group=dense,
            max_n=max([dense, *(nm.n for nm in array.sparsity)]),
            max_m=max([dense, *(nm.m for nm in array.sparsity)]),
            interleave=params.interleave_depth,
            port=params.activation_port_values,
            multiplier_latency=array.multiplier_latency_cycles,
            accumulator_latency=array.accumulator_latency_cycles,
            sore_lanes=arch.sore.lanes,
            wuve_lanes=arch.wuve.lanes,
            vector_lanes=arch.vector_unit.lanes,
            act_depth=act_depth - act_depth % params.activation_port_values,
            weight_depth=_depth(arch, "weight", array.cols, 2),
            out_depth=_depth(arch, "output", array.cols, 4),
            vector_depth=_depth(arch, "vector", arch.vector_unit.lanes, 2),
            update_depth=_depth(arch, "update", arch.wuve.lanes, _UPDATE_BYTES),
            sparsity=array.sparsity,
            dataflows=array.dataflows,
        )

    @property
    def ratios(self) -> tuple[NM, ...]:
        """All ratios that the array can run, the dense one last."""
        return (*self.sparsity, NM(self.group, self.group))

    def fits(self, tile: Tile) -> bool:
        """Whether a tile has room on chip."""
        if tile.dataflow is Dataflow.WS:
            act = tile.rows_i * -(-tile.groups // self.rows) * tile.nm.m
        else:
            act = -(-tile.rows_i // self.rows) * tile.groups * tile.nm.m
        strips = -(-tile.cols_j // self.cols)
        return (
            act <= self.act_depth
            and strips * tile.groups * tile.nm.n <= self.weight_depth
            and strips * tile.rows_i <= self.out_depth
        )

    def header(self) -> str:
        """Text of `config.hpp`."""
        sizes = {name: getattr(self, name) for name in (field.name for field in fields(self))}
        ratios = ", ".join(f"{{{nm.n}, {nm.m}}}" for nm in self.ratios)
        del sizes["sparsity"], sizes["dataflows"]
        numbers = sizes | {"axi_bytes": AXI_BYTES}
        lines = [
            "// Generated from an architecture; see hls/config.py for what the names mean.",
            "#pragma once",
            "#include <cstdint>",
            "",
            "namespace sat {",
            "",
            *(f"constexpr uint32_t {name.upper()} = {value};" for name, value in numbers.items()),
            *(
                f"constexpr bool DATAFLOW_{flow.name} = {str(flow in self.dataflows).lower()};"
                for flow in Dataflow
            ),
            "",
            "struct Ratio {",
            "  uint32_t n, m;",
            "};",
            "",
            "// n of m kept; the last one is dense",
            f"constexpr Ratio SPARSITY[] = {{{ratios}}};",
            "",
            "}  // namespace sat",
        ]
        return "\n".join(lines) + "\n"


def _depth(arch: Arch, name: str, banks: int, value_bytes: int) -> int:
    """Values in each of `banks` equal parts of one half of a buffer."""
    buffer: Buffer = getattr(arch.buffers, name)
    if not buffer.double_buffered:
        raise ExportError(f"{arch.name}: buffers.{name} has one half; the kernels need double_buffered: true")
    if depth := buffer.tile_bytes // banks // value_bytes:
        return depth
    raise ExportError(
        f"{arch.name}: buffers.{name}: a half of {buffer.tile_bytes} bytes, expected at least {value_bytes} for each "
        f"of {banks} lanes; raise capacity_bytes"
    )


def _check_numbers(arch: Arch) -> None:
    precision = arch.precision
    found = precision.operand_bits, precision.accumulator_bits, precision.master_bits
    if found != (16, 32, 32):
        raise ExportError(
            f"{arch.name}: precision of {found} bits for operands, sums and masters: the kernels compute with "
            "(16, 32, 32); change precision"
        )
    largest = [arch.array.weight_registers, arch.array_params.activation_port_values]
    for size in [*largest, *(nm.m for nm in arch.array.sparsity)]:
        if size & (size - 1):
            raise ExportError(
                f"{arch.name}: group or port of {size} values: the kernels need powers of two in "
                "array.weight_registers, array.sparsity and array.activation_port_bits"
            )
