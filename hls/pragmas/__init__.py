"""Checks `#pragma HLS` in C++ sources before Vitis does."""

from hls.pragmas.check import check_pragmas

__all__ = ["check_pragmas"]
