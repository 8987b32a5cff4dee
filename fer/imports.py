"""Imports that take seconds, a quarter sooner. Imports nothing slow."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quickly() -> Iterator[None]:
    """Import without Python's search for unused objects that refer to each other.

    Modules hold what they make, so that there is next to none. But Python looks at all objects again as they grow more:
    1.1 s of the 5.2 s of CPU from the command to the first training step.

    Where torch is imported for the first time, what is there afterwards is never looked at again, in this process or in
    loader workers, which would copy the memory that they look at. Later it may hold a former run's network, so that
    nothing is left out then.
    """
    first = "torch" not in sys.modules
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if first and "torch" in sys.modules:
            gc.freeze()
            atexit.register(gc.unfreeze)  # else triton calls all of it leaked when Python ends
        if searched:
            gc.enable()
