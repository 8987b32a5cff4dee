"""Making images square: padded, cropped to their middle, or stretched."""

import numpy as np
import numpy.typing as npt

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two exclusive."""

FITS = ("pad", "crop", "stretch")
"""The smallest square around a rectangle, the largest one in its middle, or its sides brought to one length."""

DEFAULT_FIT = "pad"
"""Nothing of a face is cut off, and none is squashed."""


def square(box: Box, fit: str) -> Box:
    """Return the square with the same centre as a rectangle; the rectangle itself if it is to be stretched."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if fit == "stretch" or width == height:
        return box
    side = max(width, height) if fit == "pad" else min(width, height)
    left, top = left + (width - side) // 2, top + (height - side) // 2
    return left, top, left + side, top + side


def cut(image: npt.NDArray[np.uint8], box: Box | None, fit: str) -> npt.NDArray[np.uint8]:
    """Cut an image to a part of it, made square.

    Args:
        image: uint8 of shape (H, W) or (H, W, 3).
        box: The part; None for the whole. What reaches beyond the image is cut off, or black if the square is padded.
        fit: One of :data:`FITS`. The square around a part shows what is beside it in the image.

    Returns:
        uint8 of shape (S, S) or (S, S, 3); not square if ``fit`` is ``stretch``.

    Raises:
        ValueError: If the part lies outside the image.
    """
    height, width = image.shape[:2]
    given = box or (0, 0, width, height)
    left, top, right, bottom = max(0, given[0]), max(0, given[1]), min(width, given[2]), min(height, given[3])
    if left >= right or top >= bottom:
        raise ValueError(f"its face's box {box} lies outside the image")
    if fit != "pad":
        left, top, right, bottom = square((left, top, right, bottom), fit)
        return image[top:bottom, left:right]
    left, top, right, bottom = square(given, fit)
    inside = image[max(0, top) : bottom, max(0, left) : right]
    if inside.shape[:2] == (bottom - top, right - left):
        return inside
    padded = np.zeros((bottom - top, right - left, *image.shape[2:]), np.uint8)
    down, across = max(0, -top), max(0, -left)
    padded[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return padded
