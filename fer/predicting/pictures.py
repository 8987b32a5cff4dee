"""Pictures as people have them, to the pixels that training would have made of them. No torch."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from fer.data.pixels import bits_used, is_wide, open_image, opened, read_image, reason
from fer.data.squares import cut, square
from fer.data.tars import member_at
from fer.errors import FERError
from fer.files.home import expanded

SHORTER_SIDE = 1500
"""Pixels of the shorter side that are enough to find faces: what is huge may be decoded to no less than twice these."""
_KINDS = "a path, a PIL image, a NumPy array or a torch tensor"


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture.

    Attributes:
        pixels: uint8 of shape (H, W, 3), RGB, or (H, W), grey.
        original: Width and height before a huge picture was decoded smaller; None if it was not.
    """

    pixels: npt.NDArray[np.uint8]
    original: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the original."""
        return self.original or (self.pixels.shape[1], self.pixels.shape[0])

    @property
    def scale(self) -> float:
        """Pixels of the original for one of these."""
        return math.sqrt(math.prod(self.size) / math.prod(self.pixels.shape[:2]))

    @property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """The pixels, uint8 of shape (H, W, 3)."""
        return self.pixels if self.pixels.ndim == 3 else np.repeat(self.pixels[:, :, None], 3, axis=2)


def read(path: str | Path, side: int = SHORTER_SIDE) -> Picture:
    """Decode a picture as training does: upright, first frame, any mode, 16-bit values by the bits that they use.

    Args:
        path: The file.
        side: See :data:`SHORTER_SIDE`.

    Raises:
        FERError: If it cannot be read, saying why.
    """
    path = expanded(path)
    try:
        source = member_at(path) or path
        with open_image(source) as file:
            width, height = file.size
            bits = bits_used([source]) if is_wide(file) else 16
        pixels = read_image(source, bits=bits, side=side)
    except MemoryError as error:
        raise FERError(f"{path}: too large for the memory there is; make it smaller.") from error
    except Exception as error:  # decoders raise anything for a broken file
        raise FERError(f"{path}: {reason(path, error)}.") from error
    # Asked of the pixels: whether a header's size is that of the upright picture differs from format to format.
    on_its_side = (width - height) * (pixels.shape[1] - pixels.shape[0]) < 0
    return Picture(pixels, (height, width) if on_its_side else (width, height))


def given(image: Any) -> Picture:
    """Return what a program gives as a picture: a path, a PIL image, a NumPy array or a torch tensor.

    Arrays are uint8, or floats from 0 (black) to 1 (white); RGB of shape (H, W, 3), RGBA (H, W, 4; transparency is
    ignored), or grey, (H, W) or (H, W, 1). Tensors may have their channels first.

    Raises:
        FERError: If it is anything else: values that could be read in two ways are refused.
    """
    if isinstance(image, str | Path):
        return read(image)
    if isinstance(image, Image.Image):
        try:
            return Picture(opened(image))
        except Exception as error:  # lazily decoded: a broken file is met here
            raise FERError(f"the PIL image cannot be read: {error}") from error
    if type(image).__module__.partition(".")[0] == "torch" and hasattr(image, "detach"):
        image = image.detach().cpu()
        if image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] not in (1, 3, 4):
            image = image.permute(1, 2, 0)
        image = image.numpy() if str(image.dtype) != "torch.bfloat16" else image.float().numpy()
    if not isinstance(image, np.ndarray):
        raise FERError(f"an image is {type(image).__name__}; it must be {_KINDS}.")
    return Picture(_bytes(_channels(image)))


def _channels(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array as (H, W) or (H, W, 3).

    Raises:
        FERError: If its shape is no image's.
    """
    if 0 in image.shape:
        raise FERError(f"an image of shape {image.shape} has no pixels.")
    if image.ndim == 3 and image.shape[2] in (1, 3, 4):
        return image[:, :, 0] if image.shape[2] == 1 else image[:, :, :3]
    if image.ndim == 2:
        return image
    hint = ""
    if image.ndim == 4:
        hint = " Several images: give them as a list, list(images)."
    elif image.ndim == 3 and image.shape[0] in (1, 3, 4):
        hint = " Channels first: image.transpose(1, 2, 0)."
    raise FERError(f"an image has shape {image.shape}; it must be (H, W), (H, W, 3) or (H, W, 4).{hint}")


def _bytes(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return values as uint8.

    Raises:
        FERError: If they could be meant in two ways.
    """
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    if not np.issubdtype(image.dtype, np.floating):
        raise FERError(
            f"an image has values of type {image.dtype}, whose white is not known; it must be uint8 (0 to 255) or "
            f"floats from 0 to 1."
        )
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise FERError(
            f"an image of {image.dtype} has values from {low:g} to {high:g}; floats must go from 0 (black) to 1 "
            f"(white). Of 0 to 255: image.astype(np.uint8)."
        )
    return np.ascontiguousarray((image * 255).round().astype(np.uint8))


def whole(picture: Picture, size: int, fit: str) -> npt.NDArray[np.uint8]:
    """Return a picture that is a face already as training would have stored it: a square of at most the input's size.

    Args:
        picture: The picture.
        size: Side of the network's input; what is square and no larger is left as it is.
        fit: How what is not square becomes square, one of :data:`fer.data.squares.FITS`.
    """
    image = cut(picture.pixels, None, fit)
    height, width = image.shape[:2]
    if height == width <= size:
        return image
    method = cv2.INTER_AREA if max(height, width) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), dtype=np.uint8)


def place_of_whole(picture: Picture, fit: str) -> npt.NDArray[np.float64]:
    """Say which part of a picture :func:`whole` returns.

    Args:
        picture: The picture.
        fit: See :func:`whole`.

    Returns:
        float64 of shape (2, 3): from the original's pixels (x, y, 1) to shares of the square's sides.
    """
    left, top, right, bottom = square((0, 0, *picture.size), fit)
    width, height = right - left, bottom - top
    return np.array(((1 / width, 0, -left / width), (0, 1 / height, -top / height)))
