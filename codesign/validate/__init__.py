"""How far the simulator can be trusted: its cycles, values and estimates beside those of others.

A comparison is a module of this package that offers a `COMPARISON`; `document` writes what they found.
"""

from __future__ import annotations

from importlib import import_module

from codesign.validate.row import Comparison, Row, Verdict

NAMES = ("scalesim", "zigzag", "rtl", "physics", "published", "sensitivity", "resources")


def load(name: str) -> Comparison:
    """One of `NAMES`."""
    comparison: Comparison = import_module(f"codesign.validate.{name}").COMPARISON
    return comparison


__all__ = ["NAMES", "Comparison", "Row", "Verdict", "load"]
