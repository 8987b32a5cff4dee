"""Keep the memory that one step has freed for the next one, where the C library would give it back to the system.

A step on a CPU frees hundreds of megabytes of activations, and glibc returns what lies at the end of its heap. The next
step takes the same pages anew, which the kernel must fill with zeros first: of a step of ``experiment=fer2013_deep``,
some 13,600 pages and a tenth of its time. See ``mallopt(3)``.
"""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names of them in glibc's malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; glibc allows no more
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Have this process keep up to 2 GiB of freed memory; larger blocks than 32 MiB are given back as before.

    Does nothing where the user's environment sets up malloc, or where the C library has no such setting (macOS, musl).
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, _LARGEST_INT)
