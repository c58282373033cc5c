"""Golden data of the compute cores: operands, and what `codesign.compute.reference` says of them.

The files are read by `hls/tb/*_tb.cpp`, which state their layouts. `python -m hls.block_golden` writes them with a
manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute import reference, reference_engines
from codesign.compute.formats import Format
from codesign.compute.optimizers import SGD
from codesign.compute.order import Order
from codesign.nm.format import NM
from codesign.nm.reference import indices, pack
from codesign.output_files import write_files
from hls.config import KernelConfig, Tile
from hw_models.arch import load_arch
from hw_models.timing import Dataflow

Array = NDArray[Any]
Rng = np.random.Generator

KINDS = ("random", "ties", "corners", "bits")
"""Operands: normal numbers; few magnitudes and many zeros; some special values among normal ones; any bits."""

MOST_MACS = 1 << 20
"""Of a random tile, so that the oracle takes milliseconds."""

_CORNERS = [0, 1, 2, 0x3FF, 0x400, 0x3BFF, 0x3C00, 0x3C01, 0x7BFF, 0x7C00, 0x7C01, 0x7E00, 0x7FFF]
"""FP16 bits without sign: zero, subnormals, smallest normal, around one, largest, infinity, NaNs."""


def numbers(rng: Rng, kind: str, shape: tuple[int, ...]) -> Array:
    """float16 operands of one of `KINDS`."""
    sign = rng.integers(0, 2, shape, np.uint16) << 15
    normal = rng.standard_normal(shape).astype(np.float16)
    bits: Array = normal.view(np.uint16)
    if kind == "ties":
        bits = rng.choice(np.array([0, 0x3C00, 0x4000], np.uint16), shape) | sign
    elif kind == "corners":
        special = rng.choice(np.array(_CORNERS, np.uint16), shape) | sign
        bits = np.where(rng.random(shape) < 0.02, special, bits)
    elif kind == "bits":
        bits = rng.integers(0, 1 << 16, shape, np.uint16)
    return bits.view(np.float16)


# -- blocks ----------------------------------------------------------------------------------------------------------


def stce_case(config: KernelConfig, tile: Tile, kind: str, rng: Rng) -> bytes:
    """One tile. A dense one ends within its last group of k, which is padded on chip only."""
    flow, nm, rows_i, groups, cols_j, clear = tile
    end = groups * nm.m - (int(rng.integers(0, nm.m)) if nm.dense else 0)
    a, b = numbers(rng, kind, (rows_i, end)), numbers(rng, kind, (cols_j, end))
    before = rng.standard_normal((rows_i, cols_j)).astype(np.float32)
    packed = pack(_padded(b, nm), nm, axis=1)
    wide = replace(packed, values=packed.values.astype(np.float32))
    order = Order.ws(config.rows, nm.m) if flow is Dataflow.WS else Order.os()
    after = reference.gemm(
        a.astype(np.float32),
        b.T.astype(np.float32) if nm.dense else wide,
        order,
        None if clear else before,
    )
    head = _words(flow is Dataflow.OS, nm.n, nm.m, rows_i, groups, cols_j, clear)
    return _encode(head, _padded(a, nm), packed.values, indices(packed).astype(np.uint8), before, after)


def sore_case(nm: NM, kind: str, groups: int, rng: Rng) -> bytes:
    """Groups to prune; in a third of them all magnitudes but one are equal."""
    dense = numbers(rng, kind, (groups, nm.m))
    dense[: groups // 3, 1:] = dense[: groups // 3, :1]
    kept, places = reference_engines.sore(dense, nm)
    return _encode(_words(nm.n, nm.m, groups), dense, kept, places.astype(np.uint8))


def wuve_case(rule: SGD, loss_scale: float, kind: str, count: int, rng: Rng) -> bytes:
    """Parameters to update."""
    weight, velocity = (_singles(rng, kind, count) for _ in range(2))
    gradient = numbers(rng, kind, (count,)).view(np.uint16)
    constants = np.array([*rule.constants(), 1 / loss_scale], np.float32)
    head = _words(count, bool(rule.weight_decay) + 2 * bool(rule.momentum))
    before = weight.copy(), velocity.copy(), gradient
    with np.errstate(all="ignore"):
        copy = reference_engines.sgd(weight, velocity, gradient, rule, Format.FP16, loss_scale)
    return _encode(head, constants, *before, weight, velocity, copy)


def _singles(rng: Rng, kind: str, count: int) -> Array:
    """float32 numbers like those of `numbers`, with more fraction bits."""
    with np.errstate(invalid="ignore"):
        return numbers(rng, kind, (count,)).astype(np.float32) / np.float32(3)


def _padded(values: Array, nm: NM) -> Array:
    return np.pad(values, ((0, 0), (0, nm.padded(values.shape[1]) - values.shape[1])))


def _words(*numbers: int) -> Array:
    return np.array(numbers, np.uint32)


def _encode(*arrays: Array) -> bytes:
    """Arrays as `tb/golden.hpp` reads them."""
    parts = [array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays]
    return b"".join(part + bytes(-len(part) % 4) for part in parts)


def number_case(rng: Rng) -> bytes:
    """Every FP16 number to widen; FP32 numbers to narrow: those, their ties and neighbours, any bits; products."""
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    widened = reference.widen(every, Format.FP16)
    limits = np.float32(-np.inf), np.float32(np.inf)
    with np.errstate(invalid="ignore"):
        ties = (widened.astype(np.float64) + np.roll(widened, 1)).astype(np.float32) / 2
        near = [np.nextafter(values, limit) for values in (widened, ties) for limit in limits]
    bits = rng.integers(0, 1 << 32, 1 << 16, np.uint32).view(np.float32)
    wide = np.concatenate([widened, ties, *near, bits])
    corners = np.array([*_CORNERS, *(0x8000 | corner for corner in _CORNERS)], np.uint16)
    a = np.concatenate([np.repeat(corners, corners.size), rng.permutation(every)])
    b = np.concatenate([np.tile(corners, corners.size), rng.permutation(every)])
    with np.errstate(invalid="ignore"):
        products = reference.widen(a, Format.FP16) * reference.widen(b, Format.FP16)
    narrowed = reference.narrow(wide, Format.FP16)
    return _encode(_words(every.size, wide.size, a.size), every, widened, wide, narrowed, a, b, products)


# -- files -----------------------------------------------------------------------------------------------------------


def random_tiles(config: KernelConfig, rng: Rng) -> Iterator[Tile]:
    """Tiles that fit, of every dataflow and ratio in turn, and of all sizes up to more than three array tiles."""
    for flow, nm in cycle(product(config.dataflows, config.ratios)):
        fold = config.rows * config.interleave if flow is Dataflow.OS else config.interleave
        rows_i, cols_j = (int(rng.integers(1, 3 * size + 2)) for size in (fold, config.cols))
        groups = int(rng.integers(1, 3 * config.rows + 2))
        tile = Tile(flow, nm, rows_i, groups, cols_j, bool(rng.integers(0, 2)))
        if rows_i * groups * nm.m * cols_j < MOST_MACS and config.fits(tile):
            yield tile


def golden(config: KernelConfig, seed: int, tiles: int) -> dict[str, bytes]:
    """Golden files by name: `tiles` random tiles of the array, some hundred groups and parameters of the engines."""
    rng = np.random.default_rng(seed)
    rules = [SGD(0.1, momentum, decay) for momentum in (0.0, 0.9) for decay in (0.0, 5e-4)]
    kinds = rng.choice(KINDS, tiles)
    stce = [stce_case(config, *case, rng) for case in zip(random_tiles(config, rng), kinds, strict=False)]
    sore = [sore_case(*case, 200, rng) for case in product(config.ratios, KINDS)]
    wuve = [wuve_case(*case, 300, rng) for case in product(rules, (1.0, 1024.0), KINDS)]
    cases = {"stce": stce, "sore": sore, "wuve": wuve, "numbers": [number_case(rng)]}
    return {f"{block}.bin": b"".join(parts) for block, parts in cases.items()}


def manifest(files: dict[str, bytes], arch: str, seed: int, tiles: int) -> str:
    """What the files are, and the command that makes them, as JSON."""
    command = f"python -m hls.block_golden FOLDER --arch {arch} --seed {seed} --tiles {tiles}"
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    described = {"format": "codesign-block-golden-1", "seed": seed, "command": command, "sha256": hashes}
    return json.dumps(described, indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write golden files, `config.hpp` and `manifest.json` into a folder."""
    parser = argparse.ArgumentParser(prog="python -m hls.block_golden", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arch", default="sat.yaml")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tiles", type=int, default=40)
    chosen = parser.parse_args(arguments)
    config = KernelConfig.of(load_arch(chosen.arch))
    files = golden(config, chosen.seed, chosen.tiles)
    told = manifest(files, chosen.arch, chosen.seed, chosen.tiles)
    write_files(chosen.folder, {**files, "config.hpp": config.header(), "manifest.json": told})


if __name__ == "__main__":
    main()
