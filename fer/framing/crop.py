"""Cutting a face out of a picture, framed as a model's training images are."""

import cv2
import numpy as np
import numpy.typing as npt

from fer.framing.face import Face
from fer.framing.framing import Framing

DEFAULT_MARGIN = 1.3
"""Side of the crop over the size of the face's box, where a model's framing is not known."""


def placement(face: Face, framing: Framing | None = None, margin: float = DEFAULT_MARGIN) -> npt.NDArray[np.float64]:
    """Say where a face's crop lies in its picture.

    With a framing and landmarks, the face's five landmarks are laid over the framing's by the similarity (scale, shift,
    turn) of the least squared distance (Umeyama 1991, https://doi.org/10.1109/34.88573). The face is turned only if
    the training images were. Else the crop is the square around the box's middle.

    Args:
        face: The face.
        framing: How faces stand in the training images; None if that is not known.
        margin: Side of the crop over the size of the box, where there are no landmarks or no framing.

    Returns:
        float64 of shape (2, 3): from the picture's pixels (x, y, 1) to shares of the crop's side.
    """
    if framing is None or face.landmarks is None:
        left, top, right, bottom = face.box
        scale = 1 / (margin * max(face.size, 1e-3))
        return np.array(((scale, 0, 0.5 - scale * (left + right) / 2), (0, scale, 0.5 - scale * (top + bottom) / 2)))
    return similarity(face.landmarks, framing.points, turn=framing.aligned)


def similarity(
    source: npt.NDArray[np.float32], target: npt.NDArray[np.float32], turn: bool = True
) -> npt.NDArray[np.float64]:
    """Return the similarity that lays one set of points over another with the least squared distance.

    Args:
        source: float32 of shape (N, 2).
        target: float32 of shape (N, 2).
        turn: Whether it may turn; if not, the scale is that of the turned one, and the middles meet.

    Returns:
        float64 of shape (2, 3).
    """
    # Points as complex numbers: a similarity is then z -> a z + b, and a is a one-line least-squares solution.
    z, w = (points.astype(np.float64) @ (1, 1j) for points in (source, target))
    from_middle, to_middle = z.mean(), w.mean()
    z, w = z - from_middle, w - to_middle
    a = complex(np.vdot(z, w) / max(np.vdot(z, z).real, 1e-12))
    a = a if turn else complex(abs(a))
    b = to_middle - a * from_middle
    return np.array(((a.real, -a.imag, b.real), (a.imag, a.real, b.imag)))


def crop(
    image: npt.NDArray[np.uint8],
    face: Face,
    side: int,
    framing: Framing | None = None,
    margin: float = DEFAULT_MARGIN,
) -> npt.NDArray[np.uint8]:
    """Cut a face out of a picture.

    Args:
        image: uint8 of shape (H, W, 3) or (H, W).
        face: A face in it.
        side: Side of the crop in pixels.
        framing: The model's framing (``module.preprocess.framing``); None if that is not known.
        margin: See :func:`placement`.

    Returns:
        uint8 of shape (side, side, 3) or (side, side). What lies beyond the picture repeats its edge.
    """
    return cut(image, placement(face, framing, margin), side)


def cut(image: npt.NDArray[np.uint8], place: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.uint8]:
    """Cut the square that ``place`` (from :func:`placement`) names out of a picture; see :func:`crop`."""
    matrix = place * side  # from the picture's pixels to the crop's
    shrink = int(1 / max(np.hypot(matrix[0, 0], matrix[1, 0]), 1e-6))
    if shrink > 1:  # warpAffine looks at four pixels alone: of a large picture it would skip most
        image, moved = _reduced(image, matrix, side, shrink)
        matrix = matrix @ moved
    # OpenCV counts from the middle of the first pixel, a face from its edge.
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    done = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(done, dtype=np.uint8)


def _reduced(
    image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], side: int, shrink: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Cut a picture to what a crop needs and shrink it by averaging.

    Returns:
        The smaller picture, and float64 (3, 3) from its pixels to those of the given one.
    """
    height, width = image.shape[:2]
    corners = np.array(((0, 0), (side, 0), (0, side), (side, side)), np.float64)
    there = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    low, high = np.floor(there.min(0)) - 2 * shrink, np.ceil(there.max(0)) + 2 * shrink
    left, right = np.clip((low[0], high[0]), 0, width).astype(int)
    top, bottom = np.clip((low[1], high[1]), 0, height).astype(int)
    if right - left < shrink or bottom - top < shrink:  # a crop beside the picture
        left, top, right, bottom = 0, 0, width, height
    size = max(1, (right - left) // shrink), max(1, (bottom - top) // shrink)
    small = cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
    step_x, step_y = (right - left) / size[0], (bottom - top) / size[1]
    moved = np.array(((step_x, 0, left), (0, step_y, top), (0, 0, 1)))
    return np.asarray(small, dtype=np.uint8), moved
