"""Putting together what several looks at one picture found."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fer.framing.face import Face


def merged(faces: Sequence[Face], overlap: float = 0.4) -> list[Face]:
    """Put together what several looks found of the same faces.

    Args:
        faces: All that was found.
        overlap: Shared area over joint area from which on two boxes are of one face.

    Returns:
        One face for each, the most confident first: the best one's score and box, the mean of the landmarks of those
        that found it about as surely.
    """
    left = sorted(faces, key=lambda face: -face.score)
    result = []
    while left:
        best = left[0]
        same = [face for face in left if _overlap(face.box, best.box) >= overlap or face is best]
        left = [face for face in left if _overlap(face.box, best.box) < overlap and face is not best]
        sure = [face.landmarks for face in same if face.landmarks is not None and face.score >= best.score - 0.1]
        result.append(replace(best, landmarks=np.mean(sure, axis=0, dtype=np.float32) if sure else best.landmarks))
    return result


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
