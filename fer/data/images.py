"""Finding image files and decoding them into one uint8 array."""

import logging
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from fer import progress
from fer.data.pixels import EXTENSIONS, GREY_MODES, bits_used, is_wide, open_image, read_image, reason
from fer.data.samples import readable
from fer.data.scratch import allocate
from fer.data.squares import DEFAULT_FIT, Box, cut
from fer.environment import usable_cores
from fer.errors import ConfigError, DatasetError, listing

log = logging.getLogger(__name__)

_IN_MEMORY = 2**30  # bytes; larger datasets are decoded into a file
_CHUNK = 64  # images per task of a thread
_PROGRESS = 5_000  # least number of images for a progress bar
_DEEPEST = 64  # nested folders


def find_images(folder: Path) -> tuple[list[str], list[str]]:
    """Find the files below a folder, at any depth, hidden ones left out.

    Returns:
        The images and the other files: paths relative to ``folder`` with ``/``, sorted.

    Raises:
        DatasetError: If a folder cannot be read or is a link to one above it, folders are nested too deep, or a pipe or
            device has the name of an image.
    """
    images: list[str] = []
    others: list[str] = []
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(folder),))]
    while pending:
        below, above = pending.pop()
        if below.count("/") > _DEEPEST:
            raise DatasetError(f"{readable(str(folder / below))}: more than {_DEEPEST} nested folders.")
        for entry in scan(folder / below):
            path = readable(str(folder / below / entry.name))
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                real = os.path.realpath(entry.path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
                if any(real == one or one.startswith(f"{real}/") for one in above):
                    raise DatasetError(f"{path} is a link to a folder that it is in. Remove the link.")
                pending.append((f"{below}{entry.name}/", (*above, real)))
            elif os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:
                others.append(below + entry.name)
            elif entry.is_file():
                images.append(below + entry.name)
            else:
                kind = "a link to nothing" if entry.is_symlink() else "no file, but a pipe or device"
                raise DatasetError(f"{path} is {kind}. Remove it.")
    return sorted(images), sorted(others)


def scan(folder: Path) -> list["os.DirEntry[str]"]:
    """Return the entries of a folder.

    Raises:
        DatasetError: If it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DatasetError(f"{readable(str(folder))} cannot be read: {why}.") from error


class Stored(NamedTuple):
    """How a dataset's images are stored."""

    size: int
    """Side in pixels."""
    channels: int | None
    """1 or 3; None if only the pixels can tell."""
    bits: int = 16
    """Number of bits used in 16-bit values."""


def how_stored(
    root: Path,
    names: Sequence[str],
    image_size: int | None,
    channels: int | None,
    boxes: Sequence[Box | None] | None = None,
    fit: str = DEFAULT_FIT,
) -> Stored:
    """Decide the size and channels that images are stored with, from their headers.

    Images of one common square size keep it, unless ``image_size`` is smaller; all others are resized to
    ``image_size``.

    Args:
        root: The folder that ``names`` are relative to.
        names: Image files.
        image_size: Side in pixels; None for the images' own.
        channels: 1 for grey, 3 for RGB, None for the images' own.
        boxes: The part of each image that is stored; None for the whole of each.
        fit: How an oblong image becomes square, one of :data:`fer.data.squares.FITS`.

    Raises:
        DatasetError: If the images differ in size or are not square, and ``image_size`` is None.
        ConfigError: If ``channels`` is none of the three.
    """
    if channels not in (1, 3, None):
        raise ConfigError(f"data.channels={channels}: must be 1 (grey), 3 (RGB) or null (as the images are).")
    sizes: dict[tuple[int, int], str] = {}
    modes: set[str] = set()
    wide: list[Path] = []
    oblong = 0
    shown = progress.bar("looking at images", len(names), _PROGRESS)
    for number, name in enumerate(names):
        shown.update()
        box = boxes[number] if boxes else None
        try:
            with open_image(root / name) as image:
                width, height = image.size if box is None else (box[2] - box[0], box[3] - box[1])
                modes.add(image.mode)
                wide += [root / name] if is_wide(image) else []
        except Exception:  # decoders raise anything; decode_images reports broken files, all together
            continue
        oblong += width != height
        if fit == "crop":
            width = height = min(width, height)
        sizes.setdefault((width, height), name)
    shown.close()
    if oblong:
        done = {"pad": "padded to squares", "crop": "cropped to the square in their middle", "stretch": "stretched"}
        log.info("%s: %d of %d images are not square; they are %s (data.fit=%s).",
                 root, oblong, len(names), done[fit], fit)  # fmt: skip
    if channels is None and modes <= GREY_MODES:
        channels = 1
    return Stored(_side(root, sizes, image_size), channels, _bits(root, wide))


def _side(root: Path, sizes: dict[tuple[int, int], str], image_size: int | None) -> int:
    smallest, largest = (choose(sizes, key=math.prod, default=(1, 1)) for choose in (min, max))
    if len(sizes) <= 1 and smallest[0] == smallest[1] and (image_size is None or image_size >= smallest[0]):
        return smallest[0]
    if image_size is None:
        found = f"images of {smallest[0]}x{smallest[1]} pixels"
        if len(sizes) > 1:
            found = (
                f"images of {len(sizes)} sizes, from {smallest[0]}x{smallest[1]} to {largest[0]}x{largest[1]} "
                f"({readable(sizes[smallest])}, {readable(sizes[largest])})"
            )
        raise DatasetError(
            f"{root} has {found}, but a network takes squares of one size. "
            f"Say to which size they are resized, for example data.image_size=112."
        )
    return image_size


def _bits(root: Path, wide: Sequence[Path]) -> int:
    bits = bits_used(wide) if wide else 16
    if bits < 16:
        log.warning(
            "%s: the values of %d 16-bit images (such as %s) use %d bits only; white is taken to be %d, or they would "
            "be dark.",
            root, len(wide), readable(wide[0].name), bits, 2**bits - 1,
        )  # fmt: skip
    return bits


def decode_images(
    root: Path,
    names: Sequence[str],
    size: int,
    channels: int | None,
    cache_dir: Path,
    resize: bool = True,
    boxes: Sequence[Box | None] | None = None,
    fit: str = DEFAULT_FIT,
    bits: int = 16,
    unreadable: frozenset[str] = frozenset(),
) -> npt.NDArray[np.uint8]:
    """Decode images into one array, on disk if it is large.

    Args:
        root: The folder that ``names`` are relative to.
        names: Image files.
        size: Side of the stored images in pixels.
        channels: 1 for grey, 3 for RGB, None for grey if every image is (one channel, or three equal ones).
        cache_dir: Where a large array is placed.
        resize: Whether images of other sizes are resized; otherwise they are refused.
        boxes: The part of each image that is taken; None for the whole of each.
        fit: How an oblong image becomes square, one of :data:`fer.data.squares.FITS`.
        bits: Number of bits used in 16-bit values.
        unreadable: Names of images that are not decoded but black: their samples are left out later.

    Returns:
        Shape (N, size, size) or (N, size, size, 3), in the order of ``names``.

    Raises:
        DatasetError: Naming all images that cannot be read, or have the wrong size.
    """
    shape = (len(names), size, size) if channels == 1 else (len(names), size, size, 3)
    images = np.zeros(shape, np.uint8) if math.prod(shape) <= _IN_MEMORY else allocate(cache_dir, shape)
    problems: dict[int, str] = {}

    def decode(start: int) -> bool:
        """Decode one chunk; return whether all of it is grey."""
        grey = True
        for index in range(start, min(start + _CHUNK, len(names))):
            if names[index] in unreadable:
                continue
            try:
                box = boxes[index] if boxes else None
                image = _decode_one(root / names[index], size, channels, resize, box, fit, bits)
            except Exception as error:  # decoders raise anything for a broken file
                problems[index] = readable(f"{names[index]}: {reason(root / names[index], error)}")
                continue
            if channels is None:
                image = image[:, :, None] if image.ndim == 2 else image
                grey = grey and bool((image == image[:, :, :1]).all())
            images[index] = image
        return grey

    starts = range(0, len(names), _CHUNK)
    threads = ThreadPoolExecutor(min(8, usable_cores()))
    all_grey = True
    try:
        with progress.bar("decoding images", len(names), _PROGRESS) as bar:
            for start, grey in zip(starts, threads.map(decode, starts), strict=True):
                all_grey &= grey
                bar.update(min(_CHUNK, len(names) - start))
    finally:
        threads.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest
    if problems:
        raise DatasetError(
            f"{len(problems)} of {len(names)} images in {root} cannot be used:\n"
            f"{listing([problems[index] for index in sorted(problems)])}\n  Replace or remove them."
        )
    return images[..., 0] if channels is None and all_grey else images


def _decode_one(
    path: Path, size: int, channels: int | None, resize: bool, box: Box | None, fit: str, bits: int
) -> npt.NDArray[np.uint8]:
    """Decode one image, see :func:`decode_images`.

    Returns:
        Shape (size, size) or (size, size, 3).

    Raises:
        ValueError: If it has another size and is not to be resized; decoders raise any exception.
    """
    image = read_image(path, channels, bits, None if box else size)
    height, width = image.shape[:2]
    if not resize and (height, width) != (size, size):
        raise ValueError(f"{width}x{height} pixels, expected {size}x{size}")
    image = cut(image, box, fit)
    if image.shape[:2] == (size, size):
        return image
    method = cv2.INTER_AREA if max(image.shape[:2]) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), dtype=np.uint8)
