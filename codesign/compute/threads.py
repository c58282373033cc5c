"""Compiled loops on several threads. They leave the interpreter free, so plain Python threads run side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import pairwise

from codesign.nm.jit_kernels import DEFAULT_THREADS

_threads: ContextVar[int] = ContextVar("threads", default=DEFAULT_THREADS)


@cache
def _helpers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "codesign-compute")


os.register_at_fork(after_in_child=_helpers.cache_clear)  # a child has none of its parent's threads


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Run the operations inside on at most `count` threads."""
    token = _threads.set(count)
    try:
        yield
    finally:
        _threads.reset(token)


def thread_count() -> int:
    """How many threads an operation may use."""
    return _threads.get()


def in_parallel(work: Callable[[int, int], object], size: int, grain: int, unit: int = 1) -> None:
    """Call `work(begin, end)` for parts of 0 to `size`, one a thread; `begin` is a multiple of `unit`.

    Parts hold `grain` items or more: what takes less long than waking a thread is not divided. `work` must not divide
    its part again.
    """
    units = -(-size // unit)
    parts = max(1, min(thread_count(), size // max(1, grain), units))
    edges = [min(size, units * part // parts * unit) for part in range(parts + 1)]
    if parts == 1:
        work(0, size)
        return
    rest = [_helpers(parts - 1).submit(work, begin, end) for begin, end in pairwise(edges[1:])]
    try:
        work(0, edges[1])
    finally:
        wait(rest)  # they use the caller's arrays
    for part in rest:
        part.result()
