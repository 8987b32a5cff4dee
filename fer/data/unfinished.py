"""Images that are being decoded, on disk until they are all there: what a killed process has done is kept.

``<cache_dir>/.decoding-<hash of the key>/`` holds ``pixels``, the array, and ``parts.txt`` with a line for each part
that is done: its number, its CRC-32, and whether all of it is grey. A part that is not as it was written is decoded
again. The folder goes when the array is no longer used, or :func:`remove_old` finds that nobody has gone on with it.
"""

import hashlib
import json
import shutil
import time
import weakref
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer.data.scratch import reserve

_PREFIX = ".decoding-"
_FORGOTTEN = 7 * 24 * 3600  # seconds after which nobody will go on


class Unfinished:
    """A uint8 array that is filled part by part.

    Args:
        cache_dir: Where its folder stands.
        key: Everything that decides the content, as plain data.
        shape: Of the array; its first axis is filled in parts.
        step: Rows of a part.

    Attributes:
        array: The array; rows of parts that are not done hold anything.
        done: Parts that an earlier process has filled, by number, and what was noted of each.

    Raises:
        DatasetError: If there is not enough space.
    """

    def __init__(self, cache_dir: Path, key: Sequence[object], shape: tuple[int, ...], step: int) -> None:
        text = json.dumps([*key, *shape, step])
        self._folder = cache_dir / f"{_PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        self._step = step
        pixels, self._parts = self._folder / "pixels", self._folder / "parts.txt"
        reserve(pixels, int(np.prod(shape)))
        self.array: npt.NDArray[np.uint8] = np.memmap(pixels, np.uint8, "r+", shape=shape)
        self.done: dict[int, bool] = {}
        with suppress(OSError):
            for line in self._parts.read_text().splitlines():
                number, checksum, noted = (line.split() + [""] * 3)[:3]  # the last line may be cut off
                if number.isdecimal() and noted in ("0", "1") and checksum == self._checksum(int(number)):
                    self.done[int(number)] = noted == "1"

    def note(self, part: int, grey: bool) -> None:
        """Keep a part that is filled, and whether all of it is grey."""
        # A full disk costs no more than what would be kept; without locks another process may be through first, and
        # has removed the folder. One write of one line: threads and processes do not mix theirs.
        with suppress(OSError), self._parts.open("a") as file:
            file.write(f"{part} {self._checksum(part)} {grey:d}\n")

    def remove(self) -> None:
        """Keep nothing: nobody can go on with it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def finish(self) -> npt.NDArray[np.uint8]:
        """Return the array, all of it filled; its folder goes with it, but stays if this process is killed before."""
        weakref.finalize(self.array, shutil.rmtree, self._folder, ignore_errors=True).atexit = False
        return self.array

    def _checksum(self, part: int) -> str:
        return f"{zlib.crc32(self.array[part * self._step : (part + 1) * self._step].data):08x}"


def remove_old(cache_dir: Path) -> None:
    """Remove what nobody has gone on with for a week."""
    for folder in cache_dir.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir())) > _FORGOTTEN:
                shutil.rmtree(folder)
