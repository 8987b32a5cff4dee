"""A picture to try the page with: drawn faces, of which no one owns the rights."""

import io

import cv2
import numpy as np
from PIL import Image

from fer.datasets.synthetic_faces import generate

_SIZE = 960, 640  # width and height
_PLACES = ((70, 60, 220), (370, 50, 240), (680, 80, 200), (110, 350, 230), (430, 370, 200), (690, 340, 240))


def drawn_faces(seed: int) -> bytes:
    """Return a picture with six drawn faces, as PNG; each seed gives others."""
    rng = np.random.default_rng(seed)
    backdrop = rng.integers(95, 160, (6, 9, 3), dtype=np.uint8)
    picture = cv2.resize(backdrop, _SIZE, interpolation=cv2.INTER_CUBIC)
    faces, _ = generate(21, seed)  # of so many, three of each emotion
    for (left, top, side), face in zip(_PLACES, faces, strict=False):
        drawn = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
        picture[top : top + side, left : left + side] = drawn[..., None]
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(picture, np.uint8)).save(buffer, "png")
    return buffer.getvalue()
