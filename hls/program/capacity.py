"""What a GEMM of a program must fit: the array and one half of each buffer."""

from __future__ import annotations

import hashlib
import struct

from codesign.nm.format import NM
from hls.config import KernelConfig, Tile
from hls.program.instruction import MAX_STRIPS, Gemm
from hw_models.timing import Dataflow

DATAFLOWS = (Dataflow.WS, Dataflow.OS)
"""Dataflows by their number in an instruction."""


def fingerprint(config: KernelConfig) -> bytes:
    """Hash of the kernels' configuration, 32 bytes: programs run on the kernels that they were made for."""
    return hashlib.sha256(config.header().encode()).digest()


def config_header(config: KernelConfig) -> str:
    """Text of config.hpp with that hash."""
    lanes = struct.unpack("<8I", fingerprint(config))
    numbers = ", ".join(f"{lane:#010x}" for lane in lanes)
    return f"{config.header()}\nnamespace sat {{\nconstexpr uint32_t CONFIG_HASH[8] = {{{numbers}}};\n}}\n"


def tile_of(gemm: Gemm) -> Tile:
    """A GEMM as the array sees it."""
    nm = NM(gemm.n, gemm.m)
    return Tile(DATAFLOWS[gemm.dataflow], nm, gemm.rows, gemm.groups, gemm.columns, bool(gemm.clear))


def supports(config: KernelConfig, gemm: Gemm) -> bool:
    """Whether the array has the dataflow and the ratio of a GEMM."""
    tile = tile_of(gemm)
    return tile.dataflow in config.dataflows and tile.nm in config.ratios


def fits(config: KernelConfig, gemm: Gemm) -> bool:
    """Whether operands, sums and biases of a GEMM have room in one half of each buffer."""
    return gemm.columns <= MAX_STRIPS * config.cols and config.fits(tile_of(gemm))
