"""Finding image files and decoding them into one uint8 array."""

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer import progress
from fer.data.blocks import MANY, PART, in_threads
from fer.data.cache import FORMAT
from fer.data.pixels import EXTENSIONS, reason
from fer.data.samples import readable
from fer.data.squares import DEFAULT_FIT, Box
from fer.data.streamed import How, brought
from fer.data.tars import Tars, at_hand, place_of
from fer.data.unfinished import Unfinished
from fer.errors import DatasetError, listing

log = logging.getLogger(__name__)

_IN_MEMORY = 2**30  # bytes; more are decoded into a file, however few the images
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
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                real = os.path.realpath(entry.path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
                if any(real == one or one.startswith(f"{real}/") for one in above):
                    path = readable(str(folder / below / entry.name))
                    raise DatasetError(f"{path} is a link to a folder that it is in. Remove the link.")
                pending.append((f"{below}{entry.name}/", (*above, real)))
            elif os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:
                others.append(below + entry.name)
            elif entry.is_file():
                images.append(below + entry.name)
            else:
                kind = "a link to nothing" if entry.is_symlink() else "no file, but a pipe or device"
                raise DatasetError(f"{readable(str(folder / below / entry.name))} is {kind}. Remove it.")
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


def decode_images(
    root: Path | Tars,
    names: Sequence[str],
    size: int,
    channels: int | None,
    cache_dir: Path,
    resize: bool = True,
    boxes: Sequence[Box | None] | None = None,
    fit: str = DEFAULT_FIT,
    bits: int = 16,
    unreadable: frozenset[str] = frozenset(),
    source: str = "",
    ids: Sequence[str] | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode images into one array, on all cores.

    Where they are many, the array is on disk, and another process goes on where a killed one stopped
    (:mod:`fer.data.unfinished`).

    Args:
        root: What ``names`` are relative to: a folder, or one of tar files.
        names: Image files.
        size: Side of the stored images in pixels.
        channels: 1 for grey, 3 for RGB, None for grey if every image is (one channel, or three equal ones).
        cache_dir: Where a large array is placed.
        resize: Whether images of other sizes are resized; otherwise they are refused.
        boxes: The part of each image that is taken; None for the whole of each.
        fit: How an oblong image becomes square, one of :data:`fer.data.squares.FITS`.
        bits: Number of bits used in 16-bit values.
        unreadable: Ids of samples whose images are not decoded but black: they are left out later.
        source: A fingerprint of the files; nothing of a killed process is used where it is another.
        ids: The samples' ids, which tell several faces of one picture apart; None for ``names``.

    Returns:
        Shape (N, size, size) or (N, size, size, 3), in the order of ``names``.

    Raises:
        DatasetError: Naming all images that cannot be read, or have the wrong size.
    """
    shape = (len(names), size, size) if channels == 1 else (len(names), size, size, 3)
    options = (boxes, size, channels, resize, fit, bits, *sorted(unreadable))
    key = (FORMAT, source, place_of(root), *names, *options)
    many = len(names) >= MANY or math.prod(shape) > _IN_MEMORY
    unfinished = Unfinished(cache_dir, key, shape, PART) if many else None
    images = unfinished.array if unfinished else np.zeros(shape, np.uint8)

    def keep(rows: slice, decoded: Sequence[npt.NDArray[np.uint8]], grey: bool) -> None:
        for row, image in enumerate(decoded, start=rows.start):
            images[row] = brought(image, channels == 1)

    how = How(size, channels, fit, bits, resize)
    all_grey = each_image(root, names, how, boxes, unreadable, keep, unfinished, "decoding images", ids)
    images = unfinished.finish() if unfinished else images
    return images[..., 0] if channels is None and all_grey else images


def each_image(
    root: Path | Tars,
    names: Sequence[str],
    how: How,
    boxes: Sequence[Box | None] | None,
    unreadable: frozenset[str],
    keep: Callable[[slice, Sequence[npt.NDArray[np.uint8]], bool], None],
    unfinished: Unfinished | None,
    what: str,
    ids: Sequence[str] | None = None,
) -> bool:
    """Decode every image, on all cores, going on where a killed process stopped.

    Args:
        root: What ``names`` are relative to: a folder, or one of tar files.
        names: Image files.
        how: How they are decoded.
        boxes: The part of each image that is taken; None for the whole of each.
        unreadable: Ids of samples whose images are not decoded but black.
        keep: Called in threads with the rows of a part, their images, and whether all of these are grey.
        unfinished: What knows which parts are done; None to do all.
        what: What is being done, for the bar.
        ids: The samples' ids, which tell several faces of one picture apart; None for ``names``.

    Returns:
        Whether all images are grey; never of RGB.

    Raises:
        DatasetError: Naming all images that cannot be read, or have the wrong size.
    """
    problems: dict[int, str] = {}
    ids = names if ids is None else ids

    def decode(part: int) -> bool:
        """Decode a part; return whether all of it is grey."""
        grey, decoded = True, []
        rows = slice(part * PART, min((part + 1) * PART, len(names)))
        files = at_hand([root / name for name in names[rows]])
        for index in range(rows.start, rows.stop):
            if ids[index] in unreadable:
                decoded.append(np.zeros((how.size, how.size, *((3,) if how.channels == 3 else ())), np.uint8))
                continue
            try:
                image = how.decode(files[index - rows.start], boxes[index] if boxes else None)
            except Exception as error:  # decoders raise anything for a broken file
                face = "" if ids[index] == names[index] else f" ({ids[index]})"
                problems[index] = readable(f"{names[index]}{face}: {reason(files[index - rows.start], error)}")
                continue
            if how.channels is None and image.ndim == 3:
                grey = grey and bool((image == image[:, :, :1]).all())
            decoded.append(image)
        if len(decoded) == rows.stop - rows.start:
            keep(rows, decoded, grey)
            if unfinished:
                unfinished.note(part, grey)
        return grey

    all_grey = _all(decode, len(names), unfinished.done if unfinished else {}, root, what)
    if problems:
        if unfinished:  # images that are mended or left out make another key
            unfinished.remove()
        raise _cannot_be_used(problems, len(names), root)
    return all_grey


def _cannot_be_used(problems: Mapping[int, str], count: int, root: Path | Tars) -> DatasetError:
    return DatasetError(
        f"{len(problems)} of {count} images in {root} cannot be used:\n"
        f"{listing([problems[index] for index in sorted(problems)])}\n  Replace or remove them."
    )


def _all(decode: Callable[[int], bool], count: int, before: Mapping[int, bool], root: Path | Tars, what: str) -> bool:
    """Decode each part that was not decoded before; return whether all images are grey."""
    parts = [part for part in range(math.ceil(count / PART)) if part not in before]
    done = count - sum(min(PART, count - part * PART) for part in parts)
    if done:
        log.info("%s: %s of %s images were decoded before; going on.", root, f"{done:,}", f"{count:,}")
    grey = all(before.values())
    with progress.counted(what, "images", count, MANY, done) as update, in_threads(decode, parts) as found:
        for part, is_grey in zip(parts, found, strict=True):
            grey &= is_grey
            update(min(PART, count - part * PART))
    return grey
