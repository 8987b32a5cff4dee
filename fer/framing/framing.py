"""Framing: how large, how central and how upright faces stand in a model's training images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fer.errors import ConfigError
from fer.framing.face import LANDMARKS

_ALIGNED = 3.0  # degrees of spread up to which images were turned until the eyes were level: landmarks have 1 to 2


@dataclass(frozen=True)
class Framing:
    """Where faces stand in square images, measured by landmarks. Lengths are shares of the side.

    Attributes:
        landmarks: Median x and y of each of :data:`fer.framing.face.LANDMARKS`.
        eye_distance: Median distance between the eyes.
        eye_distance_spread: Half of the range that holds the middle 68 % of the images (a normal distribution's
            standard deviation), as of the other spreads.
        eye_height: Median height of the eyes' middle, from the top.
        eye_height_spread: Its spread.
        roll: Median angle of the line through the eyes in degrees.
        roll_spread: Its spread.
        found: Share of the images in which a face was found.
        images: Number of images that were looked at.
        detector: Which detector found the faces.
    """

    landmarks: tuple[tuple[float, float], ...]
    eye_distance: float
    eye_distance_spread: float
    eye_height: float
    eye_height_spread: float
    roll: float
    roll_spread: float
    found: float
    images: int
    detector: str

    @property
    def aligned(self) -> bool:
        """Whether the images were turned until the eyes stand level: then crops are, too.

        Landmarks of other detectors than ``accurate`` turn less than heads do, and cannot say.
        """
        return self.detector == "accurate" and self.roll_spread <= _ALIGNED

    @property
    def points(self) -> npt.NDArray[np.float32]:
        """The landmarks, float32 of shape (5, 2)."""
        return np.array(self.landmarks, np.float32)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data (numbers, lists, a word)."""
        return {**vars(self), "landmarks": [list(point) for point in self.landmarks]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Framing":
        """Rebuild from the plain data that a checkpoint holds.

        Raises:
            ConfigError: If they are no framing.
        """
        try:
            points = tuple((float(x), float(y)) for x, y in values["landmarks"])
            names = [name for name in cls.__dataclass_fields__ if name not in ("landmarks", "images", "detector")]
            numbers = {name: float(values[name]) for name in names}
            made = cls(landmarks=points, images=int(values["images"]), detector=str(values["detector"])[:40], **numbers)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"framing cannot be read ({type(error).__name__}: {error})") from error
        good = len(points) == len(LANDMARKS) and all(-1 <= number <= 2 for point in points for number in point)
        good = good and bool(np.isfinite(list(numbers.values())).all()) and 0.02 <= made.eye_distance <= 2
        if not good or np.ptp(made.points, axis=0).min() < 0.01:
            raise ConfigError("framing: its landmarks are not those of a face in an image")
        return made

    def __str__(self) -> str:
        return (
            f"eyes {self.eye_distance:.2f}±{self.eye_distance_spread:.2f} of the side apart, at "
            f"{self.eye_height:.2f}±{self.eye_height_spread:.2f} of the height, turned by {self.roll:.0f}"
            f"±{self.roll_spread:.0f}°; a face was found in {100 * self.found:.0f} % of {self.images:,} images"
        )
