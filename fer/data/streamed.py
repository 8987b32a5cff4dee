"""Images that are decoded anew whenever they are read: for data whose decoded cache does not fit on the disk."""

import hashlib
import operator
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer.data.pixels import read_image, reason
from fer.data.squares import Box, cut
from fer.data.tars import Member, Tars, at_hand, is_url
from fer.errors import DatasetError, StreamError

HASH = 8
"""Bytes of an image's hash, with which its fingerprint begins."""
_WHOLE = np.iinfo(np.int64).min  # of a box: there is none


@dataclass(frozen=True)
class How:
    """How a dataset's images are decoded, all of them alike."""

    size: int
    """Side of the decoded images in pixels."""
    channels: int | None
    """1 for grey, 3 for RGB, None for what each file is."""
    fit: str
    """How an oblong image becomes square, one of :data:`fer.data.squares.FITS`."""
    bits: int = 16
    """Number of bits used in 16-bit values."""
    resize: bool = True
    """Whether images of other sizes are resized; otherwise they are refused."""

    def decode(self, path: Path | Member, box: Box | None) -> npt.NDArray[np.uint8]:
        """Decode one image.

        Returns:
            Shape (size, size) or (size, size, 3).

        Raises:
            ValueError: If it has another size and is not to be resized; decoders raise any exception.
        """
        image = read_image(path, self.channels, self.bits, None if box else self.size)
        height, width = image.shape[:2]
        side = (self.size, self.size)
        if not self.resize and (height, width) != side:
            raise ValueError(f"{width}x{height} pixels, expected {self.size}x{self.size}")
        image = cut(image, box, self.fit)
        if image.shape[:2] == side:
            return image
        method = cv2.INTER_AREA if max(image.shape[:2]) > self.size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, side, interpolation=method), dtype=np.uint8)


def hash_of(image: npt.NDArray[np.uint8]) -> bytes:
    """Return eight bytes that tell an image's size and pixels from others'."""
    size = str(image.shape).encode()
    return hashlib.blake2b(image.tobytes(), digest_size=HASH, key=size).digest()


class Streamed:
    """What stands in ``Samples.images`` in place of an array: rows are decoded when they are asked for.

    It holds no open file, so that it can be used in forked processes and in threads. Each image is compared with what
    the first reading has seen.

    Args:
        root: The folder that the images stand in, or their URL.
        how: How they are decoded.
        grey: Whether they are stored as grey.
        arrays: What is known of the N images, by name: ``paths`` in bytes, relative to the folder, ``prints`` and
            ``flat``; of parts of images ``boxes`` (N, 4); of members of tar files, whose paths begin with the tar
            file's, ``names`` (how many bytes of the path are the tar file's), ``offsets`` and ``sizes``.
        black: Rows that are not decoded but black: their samples are left out.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, root: str, how: How, grey: bool, arrays: Mapping[str, npt.NDArray[Any]], black: Collection[int] = ()
    ) -> None:
        self.root, self.how, self.grey, self.arrays, self.black = root, how, grey, dict(arrays), frozenset(black)
        self.shape = (len(arrays["paths"]), how.size, how.size, *(() if grey else (3,)))

    @property
    def ndim(self) -> int:
        """The number of axes: 3 for grey, 4 for RGB."""
        return len(self.shape)

    @property
    def prints(self) -> npt.NDArray[np.uint8]:
        """The images' fingerprints, uint8 of shape (N, 104)."""
        prints: npt.NDArray[np.uint8] = self.arrays["prints"]
        return prints

    @property
    def flat(self) -> npt.NDArray[np.bool_]:
        """Which images are one flat colour, bool of shape (N,)."""
        flat: npt.NDArray[np.bool_] = self.arrays["flat"]
        return flat

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        """Decode rows: one by its number, or several by a slice, their numbers, or a mask.

        Raises:
            StreamError: Naming a file that has changed since the first reading, or cannot be read any more.
        """
        if isinstance(key, slice):
            return self._decoded(range(*key.indices(len(self))))
        rows = np.asarray(key)
        if rows.ndim == 0:
            row = operator.index(key)
            if not -len(self) <= row < len(self):
                raise IndexError(f"row {row} of {len(self)}")
            image: npt.NDArray[np.uint8] = self._decoded([row % len(self)])[0]
            return image
        return self._decoded((np.flatnonzero(rows) if rows.dtype == bool else rows % len(self)).tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _decoded(self, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        images = np.zeros((len(rows), *self.shape[1:]), np.uint8)
        read = [(place, row) for place, row in enumerate(rows) if row not in self.black]
        try:
            files = at_hand([self._path(row) for _, row in read])
        except DatasetError as error:
            raise StreamError(f"{error} A training goes on by resume=<run>.") from error
        for (place, row), file in zip(read, files, strict=True):
            images[place] = self._checked(row, file)
        return images

    def _checked(self, row: int, path: Path | Member) -> npt.NDArray[np.uint8]:
        try:
            image = brought(self.how.decode(path, self._box(row)), self.grey)
        except Exception as error:  # decoders raise anything for a broken file
            raise self._changed(row, f"cannot be read any more ({reason(path, error)})") from error
        if hash_of(image) != self.prints[row, :HASH].tobytes():
            raise self._changed(row, "is no longer the image that it was when the dataset was first read")
        return image

    def _path(self, row: int) -> Path | Member:
        path = bytes(self.arrays["paths"][row])
        if "offsets" not in self.arrays:
            return Path(self.root, os.fsdecode(path))
        end = int(self.arrays["names"][row])
        tar, name = os.fsdecode(path[:end]), os.fsdecode(path[end + 1 :])
        root = self.root if is_url(self.root) else Path(self.root)
        return Member(root, tar, name, int(self.arrays["offsets"][row]), int(self.arrays["sizes"][row]))

    def _box(self, row: int) -> Box | None:
        if "boxes" not in self.arrays or self.arrays["boxes"][row, 0] == _WHOLE:
            return None
        left, top, right, bottom = self.arrays["boxes"][row].tolist()
        return left, top, right, bottom

    def _changed(self, row: int, what: str) -> StreamError:
        path = os.fsdecode(bytes(self.arrays["paths"][row])).encode(errors="replace").decode()
        return StreamError(
            f"{self.root}: {path} {what}. Put the files back as they were, or start a new run: it reads them anew."
        )


def brought(image: npt.NDArray[np.uint8], grey: bool) -> npt.NDArray[np.uint8]:
    """Bring a decoded image to the channels that all are stored with: (S, S) or (S, S, 3)."""
    if grey:
        return image if image.ndim == 2 else image[..., 0]
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def places(
    root: Path | Tars, names: Sequence[str], boxes: Sequence[Box | None] | None
) -> dict[str, npt.NDArray[np.generic]]:
    """Return where images stand, as arrays that :class:`Streamed` takes.

    Args:
        root: What ``names`` are relative to: a folder, or one of tar files.
        names: Image files.
        boxes: The part of each image that is taken; None for the whole of each.
    """
    found: dict[str, npt.NDArray[np.generic]] = {"paths": np.array([os.fsencode(name) for name in names], np.bytes_)}
    if isinstance(root, Tars):
        members = [root / name for name in names]
        found["names"] = np.array([len(os.fsencode(member.tar)) for member in members], np.int32)
        found["offsets"] = np.array([member.offset for member in members], np.int64)
        found["sizes"] = np.array([member.size for member in members], np.int64)
    if boxes is not None:
        found["boxes"] = np.array([box or (_WHOLE, 0, 0, 0) for box in boxes], np.int64)
    return found
