"""How the project compiles its loops: at the first call, without the interpreter's lock, into a cache on disk.

Numba notices that the file of a cached loop has changed, but not that what the loop calls has, in another file. So
what is cached here depends on the contents of all files of loops. No loop is `parallel=True`: numba's thread pool
does not survive a fork, and a forked child that uses it is killed. Loops leave the interpreter free instead, and
callers run them on threads of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

DEFAULT_THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
"""The processors that this process may use, or what the environment variable NUMBA_NUM_THREADS says."""

CHUNK = 16
"""Values that `copy_chunk` copies."""

_jit: Any = partial(numba.njit, nogil=True, boundscheck=False, error_model="numpy")
_loops: list[Any] = []


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call; into numba's cache on disk, if any of its directories can be written.

    Arithmetic stays as it is written: nothing is reordered or fused, and dividing by zero is no error.
    """
    loop: Any
    try:
        loop = _jit(cache=True)(function)
        with suppress(AttributeError):  # numba has no public name for what marks an entry as stale
            loop._cache._cache_file._source_stamp = _contents()
    except RuntimeError:  # every directory is read-only
        loop = _jit()(function)
    _loops.append(loop)
    return loop  # type: ignore[no-any-return]


@cache
def _files() -> list[Path]:
    """All files of loops and of what they are made of."""
    return sorted(Path(__file__).parents[1].rglob("*kernels.py"))


@cache
def _contents() -> str:
    """Digest of `_files`."""
    return sha256(b"".join(file.read_bytes() for file in _files())).hexdigest()


def compilation_pending() -> bool:
    """Whether a loop of the modules imported so far will probably be compiled when it is called.

    A loop counts as compiled once it has been, for any types, in this process or into the cache since a file of
    loops last changed.
    """
    changed_s = max(file.stat().st_mtime for file in _files())
    return not all(loop.signatures or _is_cached(loop, changed_s) for loop in _loops)


def _is_cached(loop: Any, changed_s: float) -> bool:
    if loop.stats.cache_path is None:
        return False
    source = Path(loop.py_func.__code__.co_filename)
    indexes = Path(loop.stats.cache_path).glob(f"{source.stem}.{loop.py_func.__qualname__}-*.nbi")
    return any(index.stat().st_mtime >= changed_s for index in indexes)


def _emit_chunk_copy(_, source, begin, target, position):  # type: ignore[no-untyped-def]
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def address(array: int, index: int) -> Any:
            start = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            return builder.gep(start, [arguments[index]])

        items, item_bytes = context.get_constant(types.intp, CHUNK), source.dtype.bitwidth // 8
        cgutils.raw_memcpy(builder, address(2, 3), address(0, 1), items, item_bytes)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), emit


copy_chunk: Any = intrinsic(_emit_chunk_copy)
"""Copy `CHUNK` values between contiguous arrays; the constant length becomes one or two vector moves."""
