"""Work on many rows: block by block, so that memory stays small, on all cores, with the same result on any number."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

from fer.environment import usable_cores

BLOCK = 1024
"""Images, or pairs, processed at a time."""
PART = 64
"""Image files that a thread reads at a time."""
MANY = 5_000
"""Image files that take long: it is shown how far they are, and a killed process's work is kept."""
Part = TypeVar("Part")
Result = TypeVar("Result")


def blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    """Return the slices that part ``count`` rows into blocks of ``size``."""
    return (slice(start, start + size) for start in range(0, count, size))


def each_block(work: Callable[[slice], Result], count: int, size: int = BLOCK) -> list[Result]:
    """Return what ``work`` makes of each block, in the order of the rows; each core works on a block of its own.

    Args:
        work: Called with slices, in threads: NumPy's loops run side by side, Python's do not.
        count: The number of rows.
        size: Rows of a block.
    """
    # NumPy's own threads would share out one block, and round otherwise on another number of cores.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(work, blocks(count, size)))


@contextmanager
def in_threads(work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Iterator[Result]]:
    """Give what ``work`` makes of each part, in their order and as it is made; files are read on all cores."""
    threads = ThreadPoolExecutor(usable_cores())
    try:
        yield threads.map(work, parts)
    finally:
        threads.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest
