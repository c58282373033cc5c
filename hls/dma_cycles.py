"""Cycles of a program's loads and stores, estimated from the loops of `hls/kernels/{load_a,load_b,store}.hpp`.

The trips of the slowest process: pieces of up to a word arrive one a cycle, and are then spread over the banks. Left
out: memory latency and bandwidth, and the depth of pipelines.
"""

from __future__ import annotations

from hls.config import KernelConfig
from hls.program.instruction import WORD_BYTES, LoadA, LoadB, Store

WORD_ELEMENTS = WORD_BYTES // 2


def load_a_cycles(load: LoadA, config: KernelConfig) -> int:
    """Of a LOAD_A."""
    ws, rows, m = load.dataflow == 0, config.rows, load.m
    blocked = ws == bool(load.transposed)
    piece = lowest_bit(load.stored_channels | load.channel_first | load.channels | WORD_ELEMENTS)
    if ws and not load.transposed:
        piece = min(piece, (1 << rows.bit_length() - 1) * m)
    lanes, span = (rows if blocked else 1), (m if blocked and load.transposed else 1)
    folded = load.taps_h * load.taps_w * load.channels
    k, length = (load.pixels, folded) if load.transposed else (folded, load.pixels)
    if blocked:
        steps = piece // (1 if load.transposed else min(piece, config.port))
    else:
        unit = 1 if load.transposed else min(piece, m)
        steps = _parts(piece // unit, rows) * (unit // min(unit, config.port))
    padding = 0 if ws and load.transposed else length * (-k % m)
    return _parts(load.pixels, lanes * span) * span * (folded // piece) * (lanes + steps) + padding


def load_b_cycles(load: LoadB, config: KernelConfig) -> int:
    """Of a LOAD_B."""
    dense, by_columns = load.n == load.m, load.stride0 != 1
    unit = 1 if dense else load.n
    length, across = (load.columns, load.stride0) if by_columns else (load.count0, load.column_stride)
    piece = lowest_bit((length | across | load.stride1 | load.stride2 | load.offset) * unit | WORD_ELEMENTS)
    runs = load.count2 * load.count1 * (load.count0 if by_columns else 1)
    lanes, blocks = (1, 1) if by_columns else (config.cols, _parts(load.columns, config.cols))
    pieces = blocks * runs * (length * unit // piece)
    steps = _parts(piece, config.cols) if by_columns else piece
    k = load.count2 * load.count1 * load.count0 * unit
    padding = _parts(load.columns, config.cols) * (-k % load.n)
    return max(pieces * (lanes + steps) + padding, 0 if dense else 2 * pieces * lanes)


def store_cycles(store: Store, config: KernelConfig) -> int:
    """Of a STORE."""
    by_rows = store.column_stride != 1
    length, across = (store.count0, store.column_stride) if by_rows else (store.columns, store.stride0)
    per_word = WORD_ELEMENTS // 2 if store.wide else WORD_ELEMENTS
    piece = lowest_bit(store.offset | across | store.stride1 | store.stride2 | length | per_word)
    if by_rows:
        return store.rows // piece * (_parts(store.columns, config.cols) * piece + store.columns)
    return store.rows * store.columns // piece * (_parts(piece, config.cols) + 1)


def lowest_bit(x: int) -> int:
    """The largest power of two that divides a number."""
    return x & -x


def _parts(length: int, size: int) -> int:
    return -(-length // size)
