"""What a model says of a face."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)  # arrays have no plain equality
class FaceEmotion:
    """One face in a picture, and the emotion that a model sees in it.

    Coordinates are pixels of the picture from its upper left corner, right and down.

    Attributes:
        box: Left, top, right and bottom; may reach beyond the picture. The whole picture with ``detector="none"``.
        landmarks: float32 of shape (5, 2), x and y of each of :data:`fer.framing.face.LANDMARKS`; None without them.
        score: The detector's confidence that it is a face, from 0 to 1; None with ``detector="none"``.
        emotion: The most probable class; None if its probability is below ``min_confidence``.
        probabilities: Each class's probability, by its name, in the model's order; calibrated if the run was.
        crop: What the model looked at, uint8 of shape (S, S) or (S, S, 3).
        heat_map: Where in the crop is what speaks for the most probable class, float32 of shape (S, S) from 0 to 1;
            None unless it was asked for by ``explain=True``.
    """

    box: tuple[float, float, float, float]
    landmarks: npt.NDArray[np.float32] | None
    score: float | None
    emotion: str | None
    probabilities: dict[str, float]
    crop: npt.NDArray[np.uint8] = field(repr=False)
    heat_map: npt.NDArray[np.float32] | None = field(default=None, repr=False)

    @property
    def said(self) -> str:
        """The emotion in a word: ``undecided`` where it is None."""
        return "undecided" if self.emotion is None else self.emotion

    @property
    def confidence(self) -> float:
        """Probability of the most probable class."""
        return max(self.probabilities.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON: all but the crop and its heat map."""
        return {
            "box": [round(float(value), 2) for value in self.box],
            "landmarks": None if self.landmarks is None else self.landmarks.astype(float).round(2).tolist(),
            "score": None if self.score is None else round(float(self.score), 4),
            "emotion": self.emotion,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
        }

    def plot(self) -> "Figure":
        """Draw what the model looked at, with its heat map if there is one, beside each class's probability."""
        from fer.predicting.drawing import face_figure

        return face_figure(self)
