"""The polygons and lines that a face is made of, and the curves for their outlines."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Point = tuple[float, float]


SIZE = 48
"""Height and width of a face in pixels, as in FER2013."""


class Shape(NamedTuple):
    """Filled polygons, or lines if there is a width, of one tone.

    Coordinates are those of a frontal face: pixels of the 48x48 image, (0, 0) in the middle of the face, x to
    the right and y down.
    """

    points: FloatArray  # (polygons, corners, 2)
    tone: float  # grey value from 0 to 255, or 128 for no change where the shape is a shadow
    width: float = 0.0  # of the lines, in pixels of the 48x48 image


T = np.linspace(-1.0, 1.0, 11)  # from the left to the right end of a band
BUMP = 1.0 - T**2  # 0 at both ends and 1 in the middle
ROUND = np.sqrt(BUMP)  # the same as half a circle
CUPID = BUMP**0.7 * (1.0 - 0.25 * np.exp(-((T / 0.18) ** 2)))  # the same as the edge of the upper lip
LINE = np.linspace(0.0, 1.0, 7)  # from the start to the end of an arc


THROUGH = np.array([(1 - LINE) * (1 - 2 * LINE), 4 * LINE * (1 - LINE), LINE * (2 * LINE - 1)]).T
"""Weights of an arc's three points: the parabola through them."""
_ANGLE = np.linspace(0.0, 2.0 * np.pi, 20, endpoint=False)
CIRCLE = np.array((np.cos(_ANGLE), np.sin(_ANGLE))).T
ABOVE, BELOW = np.minimum(CIRCLE[:, 1], 0.0), np.maximum(CIRCLE[:, 1], 0.0)
SIDES = np.array([[[1.0, 1.0]], [[-1.0, 1.0]]])  # the right half of the face, and its mirror image


def arc(start: Point, middle: Point, end: Point) -> FloatArray:
    """Return a smooth line through three points, of shape (1, 7, 2)."""
    line: FloatArray = THROUGH @ np.array((start, middle, end))
    return line[None]


def band(x: FloatArray, top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Return the outline of the area between two lines over the same n values of x, of shape (1, 2n, 2)."""
    outline = np.empty((1, 2 * len(x), 2))
    outline[0, : len(x), 0], outline[0, : len(x), 1] = x, top
    outline[0, len(x) :, 0], outline[0, len(x) :, 1] = x[::-1], bottom[::-1]
    return outline


def ellipses(*ellipses: tuple[float, float, float, float]) -> FloatArray:
    """Return outlines of ellipses (x, y, half width, half height), of shape (len(ellipses), 1, 20, 2)."""
    rows = np.array(ellipses)[:, None, None]
    outlines: FloatArray = CIRCLE * rows[..., 2:] + rows[..., :2]
    return outlines


def both(points: FloatArray) -> FloatArray:
    """Return the points of the right half of the face and their mirror image: (1, n, 2) becomes (2, n, 2)."""
    sides: FloatArray = points * SIDES
    return sides
