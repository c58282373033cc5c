"""Cycles of a GEMM on the USPE array, in closed form; `hw_models.oracle` steps the same machine in registers.

`Y[i, j] = A[i, k] . B[k, j]` on R x C processing elements (PEs). B is consumed compressed: `n` values and
their indices of every group of `m` consecutive k; `n == m` is dense. F is the interleave depth.

**Array tiles.** WS holds the weights of R groups (R*m of k) x C columns, and all rows of i stream through. OS
holds R*f x C outputs, f = F, or ceil(rest / R) in a ragged last tile along i, and all of k streams through.
Tiles are padded to the full array: ragged ones pay the full skew, load and drain. Order: WS for j, for k; OS
for j, for i.

**Slots.** PE(0, 0) works through windows of f activation vectors of m values. In OS a window is the next
group of the f outputs; in WS the next f rows of i, f = F or the rest. It has n rounds of f slots, one MAC in
one cycle each. A sum is ready La (accumulator latency) after its slot, so a round that adds to the sums of
the round before starts P = max(f, La) cycles after it. In OS these are all rounds but a tile's first. In WS
the first round of a window adds to the sums from the row above and need not wait. P is a constant of the
tile: a ragged last window of WS keeps the pace of the full ones, so that the rows' skew is constant and sums
pass down without a register to wait in.

**Port.** At its left edge each row has a window buffer of two halves. One is played, its vectors moving right
by one PE a cycle; the port fills the other, `activation_port_values` a cycle, from the cycle after the played
window has started. A window starts no earlier than in the cycle in which its last values arrive; port stalls
precede its slots.

**Skew.** PE(r, c) repeats the slots of PE(0, 0) after r*D + c cycles. OS: D = 1. WS: D = (n-1)*P + La, when
the sums of the row above are ready. The multiplier latency delays all sums alike, so it is paid once.

**Load and drain.** WS weights shift in, one value per column and cycle: R*n cycles. The R*f sums of an OS
column shift out, one a cycle, once its bottom PE is done. WS results leave the bottom row into an
accumulating buffer for free.

**Between tiles.** Under `every_tile` a tile begins when the last result of the tile before has left. Under
`hidden` it starts when the slots of the tile before have been issued, its first window has arrived, and
- WS: its weights are in. Doubled, they load once the bottom row has switched to the tile before; else once
  the bottom row has finished with it.
- OS: the drain of the tile before is over. With doubled accumulators only the tile's last window waits for
  that.

Cycles never rise with a wider port, a shorter latency, doubled registers, `hidden`, a smaller n, or a smaller
i, k or j. They may rise with F: windows take longer to fetch, OS tiles get coarser, and beyond La the WS skew
grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import chain, pairwise, repeat
from typing import NamedTuple

from codesign.errors import SpecError


class Dataflow(StrEnum):
    """Which operand of the array stays in place: weights, or outputs."""

    WS = "ws"
    OS = "os"


class FillPolicy(StrEnum):
    """Whether consecutive array tiles overlap."""

    EVERY_TILE = "every_tile"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class ArrayParams:
    """What decides the timing of the array. Latencies in cycles; the port width in values per row and cycle.

    Raises SpecError for a size or latency out of range.
    """

    rows: int
    cols: int
    interleave_depth: int
    multiplier_latency_cycles: int
    accumulator_latency_cycles: int
    activation_port_values: int
    double_weights: bool
    double_accumulators: bool
    fill_policy: FillPolicy

    def __post_init__(self) -> None:
        at_least_one = (
            "rows",
            "cols",
            "interleave_depth",
            "accumulator_latency_cycles",
            "activation_port_values",
        )
        for name, minimum in (*((name, 1) for name in at_least_one), ("multiplier_latency_cycles", 0)):
            if getattr(self, name) < minimum:
                raise SpecError(f"array {name}: got {getattr(self, name)}, expected an integer >= {minimum}")


class ArrayCycles(NamedTuple):
    """Cycles of a GEMM on the array, by what PE(0, 0) does: the five parts add up to `total`.

    `mac`: it issues a MAC; `accumulator_stall`: it waits for a sum; `port_stall`: for activations; `weight_load`:
    for weights; `fill_drain`: for the rest of the array (skew, pipelines, drain).
    """

    total: int
    mac: int
    accumulator_stall: int
    port_stall: int
    weight_load: int
    fill_drain: int


class _Tile(NamedTuple):
    """One array tile on its own, in cycles. `mac`, `port_stall` and `last_window` are parts of `stream`."""

    mac: int  # slots
    stream: int  # first slot up to and including the last
    port_stall: int
    last_window: int  # first slot of the last window up to and including the last slot
    first_fetch: int  # the port brings the first window
    load: int  # the weights shift in
    skew: int  # the bottom row runs behind the top row
    drain: int  # the sums shift out


class _Grid(NamedTuple):
    """The array tiles of a GEMM: `strips` times (`per_strip` times `full`, then `edge` if there is one)."""

    strips: int
    per_strip: int
    full: _Tile
    edge: _Tile | None


@lru_cache(maxsize=1 << 16)
def gemm_cycles(
    array: ArrayParams, dataflow: Dataflow, i: int, k: int, j: int, n: int, m: int
) -> ArrayCycles:
    """Cycles of a whole `i x k x j` GEMM with B at `n:m` along k, all array tiles included. Raises SpecError."""
    strips, per_strip, full, edge = _grid(array, dataflow, i, k, j, n, m)
    tiles = [(full, strips * per_strip)]
    handovers = [(full, full, strips * per_strip - 1)]
    if edge is not None:
        tiles.append((edge, strips))
        handovers = [(full, full, strips * (per_strip - 1)), (full, edge, strips), (edge, full, strips - 1)]

    port_stall, weight_load, fill_drain = _lead(full)
    fill_drain += _tail(array, edge or full)
    for tile, successor, times in handovers:
        if times:
            port, load, fill = _handover(array, tile, successor)
            port_stall += times * port
            weight_load += times * load
            fill_drain += times * fill
    mac = accumulator_stall = 0
    for tile, times in tiles:
        mac += times * tile.mac
        port_stall += times * tile.port_stall
        accumulator_stall += times * (tile.stream - tile.mac - tile.port_stall)
    total = mac + accumulator_stall + port_stall + weight_load + fill_drain
    return ArrayCycles(total, mac, accumulator_stall, port_stall, weight_load, fill_drain)


def tile_sequence(
    array: ArrayParams, dataflow: Dataflow, i: int, k: int, j: int, n: int, m: int
) -> Iterator[int]:
    """Cycles that each array tile adds, in execution order; they sum to `gemm_cycles(...).total`.

    A tile counts its slots and the wait that it imposes on the next one; the first also counts what comes before
    its slots, the last what comes after. Raises SpecError.
    """
    strips, per_strip, full, edge = _grid(array, dataflow, i, k, j, n, m)
    strip = [full] * per_strip + ([edge] if edge else [])
    before = sum(_lead(full))
    for tile, successor in pairwise(chain.from_iterable(repeat(strip, strips))):
        yield before + tile.stream + sum(_handover(array, tile, successor))
        before = 0
    yield before + strip[-1].stream + _tail(array, strip[-1])


def _grid(array: ArrayParams, dataflow: Dataflow, i: int, k: int, j: int, n: int, m: int) -> _Grid:
    """Cut the GEMM into array tiles."""
    if i < 1 or k < 1 or j < 1 or not 1 <= n <= m:
        raise SpecError(f"GEMM {i} x {k} x {j} at {n}:{m}: expected sizes of at least 1 and 1 <= N <= M")
    strips = -(-j // array.cols)
    if dataflow is Dataflow.WS:
        return _Grid(strips, -(-k // (array.rows * m)), _ws_tile(array, i, n, m), None)
    groups = -(-k // m)
    per_strip, rest = divmod(i, array.rows * array.interleave_depth)
    edge = _os_tile(array, -(-rest // array.rows), groups, n, m) if rest else None
    if edge and not per_strip:
        return _Grid(strips, 1, edge, None)
    return _Grid(strips, per_strip, _os_tile(array, array.interleave_depth, groups, n, m), edge)


@lru_cache(maxsize=1 << 14)
def _ws_tile(array: ArrayParams, i: int, n: int, m: int) -> _Tile:
    """A weight-stationary tile that streams `i` rows, in windows of the interleave depth."""
    windows = -(-i // array.interleave_depth)
    batch = min(array.interleave_depth, i)
    last_batch = i - (windows - 1) * array.interleave_depth
    round_cycles = max(batch, array.accumulator_latency_cycles)
    window = (n - 1) * round_cycles + batch
    last_window = (n - 1) * round_cycles + last_batch
    fetch = -(-batch * m // array.activation_port_values)
    port_stall = 0
    if windows > 1:
        last_fetch = -(-last_batch * m // array.activation_port_values)
        port_stall = (windows - 2) * max(0, fetch - window) + max(0, last_fetch - window)
    return _Tile(
        mac=i * n,
        stream=(windows - 1) * window + port_stall + last_window,
        port_stall=port_stall,
        last_window=last_window,
        first_fetch=fetch,
        load=array.rows * n,
        skew=(array.rows - 1) * ((n - 1) * round_cycles + array.accumulator_latency_cycles),
        drain=0,
    )


@lru_cache(maxsize=1 << 14)
def _os_tile(array: ArrayParams, outputs: int, groups: int, n: int, m: int) -> _Tile:
    """An output-stationary tile with `outputs` accumulators in use per PE, one window for each group of k."""
    round_cycles = max(outputs, array.accumulator_latency_cycles)
    window = n * round_cycles
    last_window = (n - 1) * round_cycles + outputs
    fetch = -(-outputs * m // array.activation_port_values)
    port_stall = (groups - 1) * max(0, fetch - window)
    return _Tile(
        mac=groups * n * outputs,
        stream=(groups - 1) * window + port_stall + last_window,
        port_stall=port_stall,
        last_window=last_window,
        first_fetch=fetch,
        load=0,
        skew=array.rows - 1,
        drain=array.rows * outputs,
    )


def _lead(tile: _Tile) -> tuple[int, int, int]:
    """Cycles before the first slot of a tile that starts on an idle array: (port, load, fill)."""
    return max(0, tile.first_fetch - 1 - tile.load), tile.load, 0


def _tail(array: ArrayParams, tile: _Tile) -> int:
    """Cycles after the last slot of a tile until its last result has left."""
    pipeline = array.multiplier_latency_cycles + array.accumulator_latency_cycles - 1
    return tile.skew + array.cols - 1 + pipeline + tile.drain


def _handover(array: ArrayParams, tile: _Tile, successor: _Tile) -> tuple[int, int, int]:
    """Cycles between the last slot of a tile and the first slot of the next: (port, load, fill)."""
    if array.fill_policy is FillPolicy.EVERY_TILE:
        port, load, fill = _lead(successor)
        return port, load, fill + _tail(array, tile)
    if tile.load:
        wait = tile.skew + tile.load - (tile.stream if array.double_weights else 0)
    else:
        wait = tile.drain - (successor.stream - successor.last_window if array.double_accumulators else 0)
    wait = max(0, wait)
    load = min(wait, tile.load)
    port = max(0, successor.first_fetch - tile.last_window - wait)
    return port, load, wait - load
