"""A face that was found in a picture, and what finds it."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

LANDMARKS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")
"""The order of a face's landmarks; left and right as seen in the picture."""


@dataclass(frozen=True, eq=False)  # arrays have no plain equality
class Face:
    """One face in one picture.

    Coordinates are pixels from the picture's upper left corner, right and down: the first pixel covers 0 to 1.

    Attributes:
        box: Left, top, right and bottom; may reach beyond the picture.
        landmarks: float32 of shape (5, 2), x and y of each of :data:`LANDMARKS`; None if the detector finds none.
        score: The detector's confidence, from 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: npt.NDArray[np.float32] | None
    score: float

    @property
    def size(self) -> float:
        """Side in pixels of the square with the box's area: some detectors' boxes are square, others' are taller."""
        return float(np.sqrt(max(self.box[2] - self.box[0], 0) * max(self.box[3] - self.box[1], 0)))

    @property
    def eye_distance(self) -> float | None:
        """Distance between the eyes in pixels; None without landmarks."""
        return None if self.landmarks is None else float(np.hypot(*(self.landmarks[1] - self.landmarks[0])))

    @property
    def roll(self) -> float | None:
        """Angle of the line through the eyes in degrees, positive if the right eye is lower; None without landmarks."""
        if self.landmarks is None:
            return None
        x, y = self.landmarks[1] - self.landmarks[0]
        return float(np.degrees(np.arctan2(y, x)))

    def moved(self, right: float, down: float) -> "Face":
        """Return the face as it stands in a picture whose corner lies so much further left and up, in pixels."""
        box = (self.box[0] + right, self.box[1] + down, self.box[2] + right, self.box[3] + down)
        landmarks = None if self.landmarks is None else self.landmarks + np.array((right, down), np.float32)
        return Face(box, landmarks, self.score)

    def scaled(self, factor: float) -> "Face":
        """Return the face as it stands in the picture brought to ``factor`` times its size."""
        left, top, right, bottom = (float(factor * value) for value in self.box)
        landmarks = None if self.landmarks is None else self.landmarks * np.float32(factor)
        return Face((left, top, right, bottom), landmarks, self.score)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: ``box``, ``landmarks`` and ``score``."""
        landmarks = None if self.landmarks is None else self.landmarks.astype(float).round(2).tolist()
        return {"box": list(self.box), "landmarks": landmarks, "score": self.score}


class Detector(Protocol):
    """What finds faces."""

    name: str
    """By which :func:`fer.framing.detectors.build_detector` builds it."""

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Find the faces of a picture.

        Args:
            image: RGB, uint8 of shape (H, W, 3).

        Returns:
            The faces, the most confident first; none if there are none.
        """
        ...
