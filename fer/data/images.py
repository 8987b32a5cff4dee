"""Finding image files and decoding them into one uint8 array."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from fer.data.cache import allocate
from fer.environment import usable_cores
from fer.errors import ConfigError, DatasetError, listing

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two exclusive."""

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"})

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
_GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_IN_MEMORY = 2**30  # bytes; larger datasets are decoded into a file
_CHUNK = 64  # images per task of a thread
_PROGRESS = 5_000  # images from which on a progress bar is shown


def find_images(folder: Path) -> tuple[list[str], list[str]]:
    """Find the files below a folder, at any depth, hidden ones left out.

    Returns:
        The images and the other files: paths relative to ``folder`` with ``/``, sorted.
    """
    images: list[str] = []
    others: list[str] = []
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    pending.append(f"{below}{entry.name}/")
                elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                    images.append(below + entry.name)
                else:
                    others.append(below + entry.name)
    return sorted(images), sorted(others)


def read_image(path: Path | str, channels: int | None = None) -> npt.NDArray[np.uint8]:
    """Decode one image file.

    The first frame of an animation; upright, as its EXIF orientation says; the high byte of 16-bit values;
    transparency is ignored. PIL is used because, unlike OpenCV, it refuses truncated files.

    Args:
        path: The file.
        channels: 1 for grey, 3 for RGB, None for what the file holds.

    Returns:
        Shape (H, W) or (H, W, 3).

    Raises:
        OSError: If the file is not an image, or is truncated; a broken file can raise other exceptions too.
        ValueError: If its values are floating-point, or integers of more than 16 bits.
    """
    with Image.open(path, formats=_FORMATS) as file:
        image: Image.Image = file
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode == "F":
            raise ValueError("pixels are floating-point numbers")
        if image.mode.startswith("I"):
            values = np.asarray(image)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError("pixels have more than 16 bits")
            image = Image.fromarray((values >> 8).astype(np.uint8))
        grey = channels == 1 or (channels is None and image.mode in _GREY_MODES)
        return np.asarray(image.convert("L" if grey else "RGB"))


def stored_shape(
    root: Path,
    names: Sequence[str],
    image_size: int | None,
    channels: int | None,
    boxes: Sequence[Box | None] | None = None,
) -> tuple[int, int | None]:
    """Decide in which size and channels images are stored, from their headers.

    Images of one common square size are stored as they are, unless ``image_size`` is smaller; all others are
    resized to it.

    Args:
        root: The folder that ``names`` are relative to.
        names: Image files.
        image_size: The side that is wanted, in pixels; None for the images' own.
        channels: 1 for grey, 3 for RGB, None for the images' own.
        boxes: The part of each image that is stored; None for the whole of each.

    Returns:
        The side, and the channels (None if that needs a look at the pixels).

    Raises:
        DatasetError: If the images differ in size or are not square, and ``image_size`` is None.
        ConfigError: If ``channels`` is none of the three.
    """
    if channels not in (1, 3, None):
        raise ConfigError(f"data.channels={channels}: must be 1 (grey), 3 (RGB) or null (as the images are).")
    sizes: set[tuple[int, int]] = set()
    modes: set[str] = set()
    for number, name in enumerate(tqdm(names, "Looking at images", unit="img", disable=len(names) <= _PROGRESS)):
        box = boxes[number] if boxes else None
        try:
            with Image.open(root / name, formats=_FORMATS) as image:
                sizes.add(image.size if box is None else (box[2] - box[0], box[3] - box[1]))
                modes.add(image.mode)
        except Exception:  # decoders raise anything; decode_images reports broken files, all together
            continue
    if channels is None and modes <= _GREY_MODES:
        channels = 1
    smallest, largest = (choose(sizes, key=math.prod, default=(1, 1)) for choose in (min, max))
    if len(sizes) <= 1 and smallest[0] == smallest[1] and (image_size is None or image_size >= smallest[0]):
        return smallest[0], channels
    if image_size is None:
        found = f"images of {smallest[0]}x{smallest[1]} pixels"
        if len(sizes) > 1:
            found = f"images of {len(sizes)} sizes, from {smallest[0]}x{smallest[1]} to {largest[0]}x{largest[1]}"
        raise DatasetError(
            f"{root} has {found}, but a network takes squares of one size. "
            f"Say to which size they are resized, for example data.image_size=112."
        )
    return image_size, channels


def centre_square(path: Path) -> Box | None:
    """Return the largest square in the middle of a picture: where the face is, if a dataset says nothing of it.

    Faces are thus not squashed. Only the header is read.

    Returns:
        The box in the upright picture; None for the whole of one that is square, or cannot be read: decoding says why.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:  # stored on its side
                width, height = height, width
    except Exception:  # decoders raise anything
        return None
    if width == height:
        return None
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def decode_images(
    root: Path,
    names: Sequence[str],
    size: int,
    channels: int | None,
    cache_dir: Path,
    resize: bool = True,
    boxes: Sequence[Box | None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode images into one array, on disk if it is large.

    Args:
        root: The folder that ``names`` are relative to.
        names: Image files.
        size: Side of the stored images in pixels.
        channels: 1 for grey, 3 for RGB, None for grey if every image is (one channel, or three equal ones).
        cache_dir: Where a large array is placed.
        resize: Resize other sizes; if False they are refused.
        boxes: The part of each image that is taken; None for the whole of each. What reaches beyond the image is
            cut off.

    Returns:
        Shape (N, size, size) or (N, size, size, 3), in the order of ``names``.

    Raises:
        DatasetError: Naming all images that cannot be read, or have the wrong size.
    """
    shape = (len(names), size, size) if channels == 1 else (len(names), size, size, 3)
    images = np.empty(shape, np.uint8) if math.prod(shape) <= _IN_MEMORY else allocate(cache_dir, shape)
    problems: dict[int, str] = {}

    def decode(start: int) -> bool:
        """Decode one chunk; return whether all of it is grey."""
        grey = True
        for index in range(start, min(start + _CHUNK, len(names))):
            try:
                image = read_image(root / names[index], channels)
            except Exception as error:  # decoders raise anything for a broken file
                problems[index] = f"{names[index]}: {_reason(root / names[index], error)}"
                continue
            if boxes and (box := boxes[index]):
                left, top, right, bottom = box
                image = image[max(0, top) : bottom, max(0, left) : right]
                if not image.size:
                    problems[index] = f"{names[index]}: its face's box {box} lies outside the image"
                    continue
            height, width = image.shape[:2]
            if (height, width) != (size, size):
                if not resize:
                    problems[index] = f"{names[index]}: {width}x{height} pixels, expected {size}x{size}"
                    continue
                method = cv2.INTER_AREA if max(height, width) > size else cv2.INTER_LINEAR
                image = np.asarray(cv2.resize(image, (size, size), interpolation=method), dtype=np.uint8)
            if channels is None:
                if image.ndim == 2:
                    image = image[:, :, None]
                elif grey:
                    grey = bool((image == image[:, :, :1]).all())
            images[index] = image
        return grey

    starts = range(0, len(names), _CHUNK)
    threads = ThreadPoolExecutor(min(8, usable_cores()))
    all_grey = True
    try:
        with tqdm(desc="Decoding images", total=len(names), unit="img", disable=len(names) <= _PROGRESS) as bar:
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


def _reason(path: Path, error: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or cut off in its header"
    if isinstance(error, SyntaxError) or (isinstance(error, OSError) and error.errno is None):
        return f"cut off or damaged ({error})"  # what PIL raises for its formats
    return str(error) or type(error).__name__
