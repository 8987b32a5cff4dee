"""Files for what memory may not hold: arrays that last as long as they are used."""

import errno
import math
import os
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from fer.errors import DatasetError


def allocate(cache_dir: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return a uint8 array on disk, for images that may not fit into memory.

    Its file has no name (nothing is left behind by a killed process) and lasts as long as the array.

    Raises:
        DatasetError: If there is not enough space.
    """
    with scratch(cache_dir, math.prod(shape)) as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def scratch(cache_dir: Path, size: int) -> IO[bytes]:
    """Open a file of ``size`` bytes that has no name and is gone once closed.

    Raises:
        DatasetError: If there is not enough space.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=cache_dir)  # noqa: SIM115
        _fill(file, size)
        return file
    except OSError as error:
        raise cannot_write(cache_dir, size, error) from error


def reserve(path: Path, size: int) -> None:
    """Make a file of ``size`` bytes, or leave one that is there as it is.

    Raises:
        DatasetError: If there is not enough space.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            _fill(file, size)
    except OSError as error:
        raise cannot_write(path.parent.parent, size, error) from error


def _fill(file: IO[bytes], size: int) -> None:
    """Take the space for a file: running out of it later, while writing through a map, would kill the process."""
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        os.truncate(file.fileno(), size)


def cannot_write(folder: Path, size: int, error: OSError) -> DatasetError:
    """Return the error for decoded images of ``size`` bytes that cannot be written."""
    reason = "no space left" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return DatasetError(
        f"cannot write the decoded images to {folder}: {reason}. {size / 1e6:,.0f} MB are needed. "
        f"Free some space, or choose another place with data.cache_dir=<other folder>."
    )
