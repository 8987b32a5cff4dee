"""Freed memory is kept for the next step, unless the user's environment sets up malloc otherwise."""

import os
import platform
import subprocess
import sys

import pytest

# Twenty times eight blocks of 8 MB, all freed before the next eight: 2,000 pages each, as a step's activations. What
# glibc gives back by itself depends on what else lies in its heap: it is told first to give back every block (-3 is
# M_MMAP_THRESHOLD).
STEPS = """
import ctypes, resource, sys
import torch
from fer.training import heap

ctypes.CDLL(None).mallopt(-3, 1_000_000)
if sys.argv[1] == "kept":
    heap.keep_freed_memory()
for step in range(22):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2_000_000) for _ in range(8)]
    del blocks
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


def _pages(kept: str, **variables: str) -> float:
    """Return how many pages a step took anew from the system."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment.pop("GLIBC_TUNABLES", None)
    done = subprocess.run(
        [sys.executable, "-c", STEPS, kept], env=environment | variables, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no such setting in this C library")
def test_the_memory_of_a_step_serves_the_next_one() -> None:
    assert _pages("kept") < 1_000 < 5_000 < _pages("given back")
    assert _pages("kept", MALLOC_MMAP_THRESHOLD_="1000000") > 5_000  # the user's own settings stand
