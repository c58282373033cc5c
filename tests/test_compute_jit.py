"""How loops are compiled, cached and run on threads."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import codesign
from codesign.compute.threads import in_parallel, use_threads

SCRIPT = """
import numpy as np
from codesign.compute import half_kernels
from codesign.compute.formats import Format
from codesign.nm.jit_kernels import compilation_pending
print(compilation_pending())
for fmt in Format:
    half_kernels.widen(half_kernels.narrow(np.ones(3, np.float32), fmt), fmt)
print(compilation_pending())
"""


def run(cache):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def test_compilation_is_pending_once(tmp_path):
    assert run(tmp_path) == ["True", "False"]
    assert run(tmp_path) == ["False", "False"]
    for index in tmp_path.rglob("*.nbi"):
        os.utime(index, (0, 0))  # older than the loops' file
    assert run(tmp_path)[0] == "True"


def test_a_change_to_what_loops_are_made_of_has_them_compiled_again(tmp_path):
    copy, cache = tmp_path / "codesign", tmp_path / "cache"
    shutil.copytree(Path(codesign.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    script = SCRIPT + "print(sum(half_kernels._narrow_fp16.stats.cache_hits.values()) > 0)"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}

    def cached():
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,  # where it looks for modules first
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.split()[-1]

    assert [cached(), cached()] == ["False", "True"]
    with (copy / "compute" / "vector_kernels.py").open("a") as file:
        file.write("# changed\n")
    assert [cached(), cached()] == ["False", "True"]


@pytest.mark.parametrize(
    ("size", "grain", "unit", "expected"),
    [
        (32, 1, 1, [(0, 4), (4, 8), (8, 12), (12, 16), (16, 20), (20, 24), (24, 28), (28, 32)]),
        (10, 3, 1, [(0, 3), (3, 6), (6, 10)]),
        (10, 1, 8, [(0, 8), (8, 10)]),
        (10, 6, 1, [(0, 10)]),
        (3, 0, 1, [(0, 1), (1, 2), (2, 3)]),
        (0, 1, 1, [(0, 0)]),
    ],
)
def test_work_is_divided(size, grain, unit, expected):
    parts = []
    with use_threads(2):
        in_parallel(lambda begin, end: parts.append((begin, end)), size, grain, unit)
    assert sorted(parts) == expected


def test_one_thread_gets_all_at_once():
    parts = []
    with use_threads(1):
        in_parallel(lambda begin, end: parts.append((begin, end)), 1000, 1)
    assert parts == [(0, 1000)]


def test_parts_run_at_the_same_time():
    barrier = threading.Barrier(3)
    with use_threads(3):
        in_parallel(lambda *_: barrier.wait(timeout=60), 3, 1)


def test_errors_of_a_part_come_through():
    def refuse(begin, end):
        raise ValueError(begin)

    with use_threads(2), pytest.raises(ValueError, match="0"):
        in_parallel(refuse, 2, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_can_compute():
    script = """
import os
import numpy as np
from codesign.compute import half_kernels
from codesign.compute.formats import Format
from codesign.compute.threads import use_threads
with use_threads(2):
    values = np.ones(1 << 19, np.float32)
    half_kernels.narrow(values, Format.FP16)
    child = os.fork()
    half_kernels.narrow(values, Format.FP16)
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    else:
        os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["0"]
