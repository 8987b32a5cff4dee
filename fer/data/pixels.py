"""From an image file of any camera or program to pixels, or to the reason why it cannot be read."""

import math
import os
import stat
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fer.data.tars import Member, each_at_hand

EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".pnm"}
)
"""Endings of image files' names, in lower case."""

UNSUPPORTED = frozenset(
    {".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf"}
    | {".rw2", ".raf", ".raw", ".exr", ".hdr", ".tga", ".mpo", ".ico", ".pcx", ".apng"}
)
"""Endings of image formats that are not read."""

GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N"})

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM")
_LARGE = 2**24  # pixels; larger images are decoded at reduced size where that is enough, one at a time
_DEPTHS = (8, 10, 12, 14, 16)  # bits per value that cameras and scanners use, stored in 16
_one_at_a_time = threading.Lock()
# PIL warns of images of 89 million pixels (a camera's) and refuses those of twice as many.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(path: Path | str | Member) -> Image.Image:
    """Open an image file and read its header.

    Raises:
        OSError: If it is not an image; a broken file can raise other exceptions too.
        ValueError: If it is no file (a pipe would be waited for).
    """
    if isinstance(path, Member):
        return Image.open(path.open(), formats=_FORMATS)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a file, but a folder, pipe or device")
    return Image.open(path, formats=_FORMATS)


def read_image(
    path: Path | str | Member, channels: int | None = None, bits: int = 16, side: int | None = None
) -> npt.NDArray[np.uint8]:
    """Decode one image file.

    The first frame of an animation; upright, as its EXIF orientation says; the high byte of 16-bit values;
    transparency is ignored. PIL is used because, unlike OpenCV, it refuses truncated files.

    Args:
        path: The file.
        channels: 1 for grey, 3 for RGB, None for what the file holds.
        bits: Number of bits used in 16-bit values, from :func:`bits_used`.
        side: A huge image may be decoded smaller, to no less than twice this many pixels; None for all of it.

    Returns:
        Shape (H, W) or (H, W, 3).

    Raises:
        OSError: If the file is not an image, or is truncated; a broken file can raise other exceptions too.
        ValueError: If its values are floating-point, or integers of more than 16 bits.
    """
    with open_image(path) as file:
        if math.prod(file.size) < _LARGE:
            return _decode(file, path, channels, bits)
        with _one_at_a_time:
            return _decode(_reduced(file, 2 * side) if side else file, path, channels, bits)


def opened(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the pixels of an image that PIL holds, as :func:`read_image` does those of a file.

    Raises:
        OSError: If it stands in a file that is truncated; a broken file can raise other exceptions too.
        ValueError: If its values are floating-point, or integers of more than 16 bits.
    """
    return _decode(image.copy(), "", None, 16)  # a copy: it may be turned upright in place


def is_wide(image: Image.Image) -> bool:
    """Say whether an opened image, not yet decoded, has 16 bits for each value."""
    return image.mode.startswith("I") or ";16" in str([part[3] for part in getattr(image, "tile", [])])


def bits_used(paths: Iterable[Path | Member]) -> int:
    """Return how many bits the values of 16-bit images use: cameras store 10 to 14 bits in them.

    Args:
        paths: The images; reading stops at the first that uses all bits, and broken ones are skipped.
    """
    largest = 0
    for path in each_at_hand(paths):
        try:
            with open_image(path) as image:
                values = np.asarray(image) if image.mode.startswith("I") else _wide_colours(path)
                largest = max(largest, int(values.max()))
        except Exception:  # decoders raise anything; decoding reports broken files, all together
            continue
        if largest >= 2 ** _DEPTHS[-2]:
            break
    return next((bits for bits in _DEPTHS if largest < 2**bits), 16)


def reason(path: Path | Member, error: Exception) -> str:
    """Say in words why an image cannot be decoded."""
    if path.size == 0 if isinstance(path, Member) else path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or cut off in its header"
    if isinstance(error, Image.DecompressionBombError):
        return f"too large for a picture of a face; make it smaller ({error})"
    if isinstance(error, SyntaxError) or (isinstance(error, OSError) and error.errno is None):
        return f"cut off or damaged ({error})"  # what PIL raises for its formats
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _reduced(file: Any, side: int) -> Image.Image:
    """Return an opened image at a fraction of its size, its shorter side no less than ``side``."""
    file.draft(None, (side, side))  # JPEG is decoded smaller; other formats do nothing
    factor = min(file.size) // side
    if factor < 2 or is_wide(file):
        return file  # type: ignore[no-any-return]
    image: Image.Image = (file.convert("RGB") if file.mode in ("P", "PA", "1") else file).reduce(factor)
    # Asked when it has been decoded: Pillow turns a TIFF while decoding, and then it has none any more.
    image.getexif()[ExifTags.Base.Orientation] = file.getexif().get(ExifTags.Base.Orientation, 1)
    return image


def _decode(image: Image.Image, path: Path | str | Member, channels: int | None, bits: int) -> npt.NDArray[np.uint8]:
    colours_are_cut = bits < 16 and is_wide(image) and not image.mode.startswith("I")
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers, whose white is not known; save it as PNG with 8 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("pixels have more than 16 bits; save it as PNG with 8 bits")
        image = Image.fromarray((values >> (bits - 8)).clip(0, 255).astype(np.uint8))
    elif colours_are_cut:  # PIL keeps the high byte of colours alone
        image.load()
        image = Image.fromarray((_wide_colours(path) >> (bits - 8)).clip(0, 255).astype(np.uint8))
    wanted = "L" if channels == 1 or (channels is None and image.mode in GREY_MODES) else "RGB"
    if "transparency" in image.info and image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # PIL would warn
    return np.asarray(image if image.mode == wanted else image.convert(wanted))


def _wide_colours(path: Path | str | Member) -> npt.NDArray[np.uint16]:
    """Return RGB values with all of their 16 bits, uint16 of shape (H, W, 3)."""
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
    if isinstance(path, Member):
        values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags)
    else:
        values = cv2.imread(str(path), flags)
    if values is None:
        raise ValueError("its 16-bit colours cannot be read")
    return np.asarray(values[:, :, ::-1], dtype=np.uint16)
