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

_PARTS = 4  # for each thread

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
    """Call `work(begin, end)` for parts of 0 to `size`; `begin` is a multiple of `unit`.

    Parts hold `grain` items or more: what takes less long than waking a thread is not divided. Every thread takes the
    next part when it has done its last, so that a slow core delays little. `work` must not divide its part again.
    """
    units, most = -(-size // unit), _threads.get()
    parts = max(1, min(most * _PARTS if most > 1 else 1, size // max(1, grain), units))
    edges = [min(size, units * part // parts * unit) for part in range(parts + 1)]
    spans = iter(list(pairwise(edges)))  # taking the next of a list cannot be interrupted

    def take() -> None:
        for begin, end in spans:
            work(begin, end)

    count = min(most, parts) - 1
    helpers = [_helpers(count).submit(take) for _ in range(count)]
    try:
        take()
    finally:
        wait(helpers)  # they use the caller's arrays
    for helper in helpers:
        helper.result()
