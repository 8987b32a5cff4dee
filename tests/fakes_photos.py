"""Photographs with drawn faces at known places."""

from collections.abc import Sequence

import cv2
import numpy as np

from fer.datasets.synthetic_faces import generate


def photograph(
    places: Sequence[tuple[int, int, int]], size: tuple[int, int] = (480, 320), seed: int = 0
) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Draw faces on a soft background.

    Args:
        places: Left, top and side in pixels of each 48x48 face.
        size: Width and height of the picture.
        seed: Another one gives other faces.

    Returns:
        RGB, uint8 (H, W, 3), and the places.
    """
    rng = np.random.default_rng(seed)
    noise = rng.integers(90, 150, (8, 12, 3), dtype=np.uint8)
    picture = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    faces, _ = generate(max(7, len(places)), seed)
    for (left, top, side), face in zip(places, faces, strict=False):
        drawn = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
        picture[top : top + side, left : left + side] = drawn[..., None]
    return picture, list(places)
