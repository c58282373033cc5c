"""The offline scheduler: Trace x Arch -> Program, by pure functions."""

from codesign.schedule.lower import schedule

__all__ = ["schedule"]
