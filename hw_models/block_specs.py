"""Specifications of the blocks of an architecture, as the models see them. `Arch` puts them together.

Every field states its unit in name and description, and has bounds that only a slip of the pen exceeds.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from codesign import units
from codesign.errors import FormatError
from codesign.nm.format import NM
from hw_models.timing import Dataflow, FillPolicy


def _ratio(value: Any) -> NM:
    """N:M ratio from its text. Raises ValueError, which pydantic reports with the location."""
    if isinstance(value, NM):
        return value
    if not isinstance(value, str):
        raise ValueError(f"got {value!r}, expected an N:M ratio such as 2:8 (N kept of M)")
    try:
        return NM.parse(value)
    except FormatError as error:
        raise ValueError(str(error)) from None


def _whole(value: Any) -> Any:
    """200e6 is a float to YAML, yet a whole number of hertz."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _no_duplicates(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if repeated := [value for index, value in enumerate(values) if value in values[:index]]:
        raise ValueError(f"{repeated[0]} is listed twice; expected each value once")
    return values


Ratio = Annotated[
    NM,
    PlainValidator(_ratio),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,4}:\d{1,4}$"}),
]
Hertz = Annotated[int, BeforeValidator(_whole)]
FloatBits = Literal[16, 32]
AxiBits = Literal[8, 16, 32, 64, 128, 256, 512, 1024]


class Spec(BaseModel):
    """Base of all specifications: immutable, strictly typed, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Array(Spec):
    """STCE, the systolic array of unified sparse processing elements (USPE)."""

    rows: int = Field(gt=0, le=4096, description="Rows of processing elements (count).")
    cols: int = Field(gt=0, le=4096, description="Columns of processing elements (count).")
    weight_registers: int = Field(
        gt=0,
        le=256,
        description="Values that a processing element holds in weight-stationary mode (count): the largest N "
        "and the group size of dense operation.",
    )
    sparsity: tuple[Ratio, ...] = Field(
        max_length=64,
        description="N:M ratios whose zeros the array can skip, N kept of M; empty for a dense-only array.",
    )
    interleave_depth: int = Field(
        gt=0,
        le=1024,
        description="Independent outputs that a processing element works on in turn (count); at least the "
        "accumulator latency keeps its pipeline full.",
    )
    multiplier_latency_cycles: int = Field(
        gt=0, le=256, description="Pipeline depth of the multiplier (cycles)."
    )
    accumulator_latency_cycles: int = Field(
        gt=0,
        le=256,
        description="Pipeline depth of the accumulator (cycles): a dependent addition waits this long.",
    )
    activation_port_bits: int = Field(
        gt=0, le=65536, description="Width of the activation port of one row (bits per cycle)."
    )
    dataflows: Annotated[tuple[Dataflow, ...], Field(min_length=1)] = Field(
        description="Dataflows of the interconnect: ws (weight-stationary), os (output-stationary)."
    )
    fill_policy: FillPolicy = Field(
        description="Tiles that pay the systolic fill: every_tile, or hidden behind the tile before."
    )
    double_weights: bool = Field(
        description="Whether weight registers are doubled, so that the next tile's weights load meanwhile."
    )
    double_accumulators: bool = Field(
        description="Whether accumulators are doubled, so that results drain during the next tile."
    )

    @field_validator("sparsity")
    @classmethod
    def _check_sparsity(cls, sparsity: tuple[NM, ...], info: ValidationInfo) -> tuple[NM, ...]:
        registers = info.data.get("weight_registers")
        for nm in _no_duplicates(sparsity):
            if nm.n == nm.m:
                raise ValueError(f"{nm} is dense, which every array supports; expected N < M, remove it")
            if registers is not None and nm.n > registers:
                raise ValueError(f"{nm} keeps {nm.n} values, expected at most weight_registers={registers}")
        return sparsity

    @field_validator("dataflows")
    @classmethod
    def _check_dataflows(cls, dataflows: tuple[Dataflow, ...]) -> tuple[Dataflow, ...]:
        return _no_duplicates(dataflows)


class Buffer(Spec):
    """One on-chip buffer."""

    capacity_bytes: int = Field(
        gt=0, le=1 << 34, description="Storage of the whole buffer, both halves if double-buffered (bytes)."
    )
    banks: int = Field(
        gt=0,
        le=65536,
        description="Banks that are accessed independently, one read and one write a cycle each (count).",
    )
    double_buffered: bool = Field(
        description="Whether the buffer is two halves, one being filled or drained while the other is in use."
    )

    @field_validator("banks")
    @classmethod
    def _check_banks(cls, banks: int, info: ValidationInfo) -> int:
        capacity = info.data.get("capacity_bytes", 0)
        if capacity % banks:
            raise ValueError(
                f"got {banks}, expected a divisor of capacity_bytes={capacity}: banks are equally large"
            )
        return banks

    @property
    def tile_bytes(self) -> int:
        """Bytes that one tile may occupy: half of a double-buffered buffer."""
        return self.capacity_bytes // 2 if self.double_buffered else self.capacity_bytes


class Buffers(Spec):
    """The on-chip buffers."""

    activation: Buffer = Field(description="Operand A of the array: activations, or output gradients.")
    weight: Buffer = Field(
        description="Operand B of the array: weights with indices, or output gradients in WU."
    )
    output: Buffer = Field(description="Partial sums and results of the array, in accumulator precision.")
    vector: Buffer = Field(description="Streaming buffer of the vector unit.")
    update: Buffer = Field(description="Streaming buffer of the weight-update engine and the sparsifier.")


class Dram(Spec):
    """External memory; data is striped over all channels."""

    kind: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}$",
        description="Memory type and speed grade, such as ddr4-2400 or hbm2.",
    )
    channels: int = Field(
        gt=0, le=1024, description="Independent channels, or pseudo-channels of HBM (count)."
    )
    width_bits: int = Field(
        gt=0, le=4096, multiple_of=8, description="Data width of one channel without ECC (bits)."
    )
    rate_mtps: int = Field(
        gt=0, le=100_000, description="Transfer rate of one data pin (million transfers a second)."
    )
    efficiency: float = Field(
        gt=0,
        le=1,
        description="Share of the peak bandwidth that streams reach (ratio); the rest goes to refresh, "
        "row misses and bus turn-around.",
    )
    latency_ns: float = Field(
        ge=0,
        le=100_000,
        description="Time from a read request to its first data on an idle memory (nanoseconds).",
    )

    @property
    def peak_bytes_per_second(self) -> Fraction:
        """Peak bandwidth of all channels together (bytes per second)."""
        return units.bytes_per_second(self.rate_mtps, self.width_bits, self.channels)

    @property
    def bytes_per_second(self) -> Fraction:
        """Effective bandwidth of all channels together (bytes per second, exact)."""
        return units.bytes_per_second(self.rate_mtps, self.width_bits, self.channels, self.efficiency)


class Dma(Spec):
    """Engines that move data between DRAM and buffers."""

    engines: int = Field(gt=0, le=1024, description="Engines that work side by side (count).")
    port_bits: AxiBits = Field(
        description="Data width of one engine's AXI port, per direction (bits per cycle)."
    )
    setup_cycles: int = Field(
        ge=0, le=100_000, description="Time from a transfer's command to its address on the bus (cycles)."
    )

    @property
    def port_bytes_per_cycle(self) -> int:
        """Bytes that one engine moves in one direction each cycle."""
        return units.bits_to_bytes(self.port_bits)


class Sore(Spec):
    """SORE, the sparsifier: top-N sorters that take one value of a group each cycle."""

    lanes: int = Field(gt=0, le=65536, description="Groups sorted side by side (count).")


class Lanes(Spec):
    """Pipelined arithmetic lanes that take one item each cycle."""

    lanes: int = Field(gt=0, le=65536, description="Items taken each cycle (count).")
    latency_cycles: int = Field(gt=0, le=10_000, description="Pipeline depth, buffer to buffer (cycles).")


class Precision(Spec):
    """Widths of the floating-point formats: 16 is IEEE half, 32 is IEEE single."""

    operand_bits: FloatBits = Field(description="Activations, weights and gradients in GEMMs (bits).")
    accumulator_bits: FloatBits = Field(description="Partial sums (bits).")
    master_bits: FloatBits = Field(description="Master weights and optimizer state (bits).")

    @field_validator("accumulator_bits", "master_bits")
    @classmethod
    def _check_width(cls, bits: int, info: ValidationInfo) -> int:
        operand_bits = info.data.get("operand_bits", bits)
        if bits < operand_bits:
            raise ValueError(f"got {bits}, expected at least operand_bits={operand_bits}")
        return bits


class Optimizations(Spec):
    """SAT's dataflow optimizations, each a switch so that its effect can be measured."""

    interleave: bool = Field(
        description="Interleave independent outputs; otherwise each addition waits for the one before."
    )
    pregenerate: bool = Field(
        description="Prune right after the update and store compact weights; otherwise prune before each use."
    )
    offline_schedule: bool = Field(
        description="Choose the dataflow for each layer and stage beforehand; otherwise use fixed_dataflow."
    )
    fixed_dataflow: Dataflow = Field(description="Dataflow of every GEMM when offline_schedule is false.")
