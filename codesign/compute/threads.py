"""Compiled loops on several threads. They leave the interpreter free, so plain Python threads run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise

from codesign.nm.jit_kernels import DEFAULT_THREADS

_threads: ContextVar[int] = ContextVar("threads", default=DEFAULT_THREADS)


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Run the operations inside on at most `count` threads."""
    token = _threads.set(count)
    try:
        yield
    finally:
        _threads.reset(token)


def in_parallel(work: Callable[[int, int], object], size: int, grain: int, unit: int = 1) -> None:
    """Call `work(begin, end)` for parts of 0 to `size`, one a thread; `begin` is a multiple of `unit`.

    Parts hold `grain` items or more: what takes less long than starting a thread is not divided. The threads live
    for one call, so that none is lost in a fork.
    """
    units = -(-size // unit)
    parts = max(1, min(_threads.get(), size // max(1, grain), units))
    edges = [min(size, units * part // parts * unit) for part in range(parts + 1)]
    if parts == 1:
        work(0, size)
        return
    with ThreadPoolExecutor(parts - 1) as pool:
        rest = [pool.submit(work, begin, end) for begin, end in pairwise(edges[1:])]
        work(0, edges[1])
        for part in rest:
            part.result()
