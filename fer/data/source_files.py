"""Whether a dataset's source files are still the same."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import numpy as np

_SAMPLED_FILES = 4096  # files whose content is read, at most
_SAMPLED_BYTES = 2**26  # read from all of them together, at most
_PIECE = 2**12  # bytes read at each place of a file that is too large to be read whole
_BLOCK = 2**10  # files that are hashed at a time


def fingerprint(paths: Iterable[str | Path], root: Path) -> str:
    """Return a hash of source files: their paths, sizes, times and a sample of their content.

    Names, sizes and times are often equal where the content is not (archives and stores with fixed times), so the
    content of up to 4,096 files, evenly spread, is read too; of large files, evenly spread pieces.

    Args:
        paths: Files, relative to ``root`` or below it; their order does not matter.
        root: The dataset's folder.

    Raises:
        OSError: If one is absent, cannot be looked at, or is no file.
    """
    prefix = os.path.join(root, "")
    # As os.path.join does, which takes longer than all the rest where there are a million.
    files = sorted(text if (text := os.fspath(path)).startswith(os.sep) else prefix + text for path in paths)
    digest = hashlib.sha256(os.fsencode(os.path.realpath(root)))
    for start in range(0, len(files), _BLOCK):
        lines = [f"{full.removeprefix(prefix)}{_state(full)}" for full in files[start : start + _BLOCK]]
        digest.update(os.fsencode("".join(lines)))
    chosen = np.unique(np.linspace(0, len(files) - 1, min(len(files), _SAMPLED_FILES)).astype(int))
    for number in chosen:
        digest.update(_sample(files[number], _SAMPLED_BYTES // len(chosen)))
    return digest.hexdigest()


def _state(path: str) -> str:
    """Return a file's size and times as text."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a file", path)
    # ctime also changes where a file was replaced by one of the same size and mtime.
    return f"\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}\n"


def _sample(path: str, size: int) -> bytes:
    """Return a file's content, or evenly spread pieces of one that is larger than ``size`` bytes."""
    try:
        with open(path, "rb", buffering=0) as file:
            length = os.fstat(file.fileno()).st_size
            if length <= size:
                return file.read()
            pieces = []
            for start in np.linspace(0, length - _PIECE, max(2, size // _PIECE)).astype(int):
                file.seek(int(start))
                pieces.append(file.read(_PIECE))
            return b"".join(pieces)
    except OSError:
        return b""  # reading the dataset says what is wrong with the file
