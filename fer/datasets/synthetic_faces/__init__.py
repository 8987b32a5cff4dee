"""Synthetic faces: a seeded generator of grey 48x48 faces with the seven basic expressions.

What it is: a classification task of realistic shape and difficulty that needs no download and has no licence,
for demos, tests and teaching. Every face is drawn from action units (Facial Action Coding System, FACS),
which are sampled per expression (:data:`.expressions.EXPRESSIONS`), and then made hard by identity, head pose, light,
occlusion, blur, noise and a cluttered background. Some expressions are weak or blended with a similar one: as
with real faces, no classifier can be perfect.

What it is not: data about people. The faces are stylised drawings whose distributions were chosen by hand. A
score on them says that code works; it says nothing about how a model does on real faces.
"""

import numpy as np
import numpy.typing as npt

from fer.data.labels import BASIC
from fer.datasets.synthetic_faces.drawing import draw_face
from fer.datasets.synthetic_faces.shapes import SIZE

VERSION = 2
"""Raised whenever the drawing changes: part of the key under which generated faces are cached."""


PROPORTIONS = {
    "angry": 0.133,
    "disgust": 0.055,
    "fear": 0.137,
    "happy": 0.242,
    "sad": 0.161,
    "surprise": 0.106,
    "neutral": 0.166,
}
"""Share of each expression: unbalanced as in FER2013, but with enough ``disgust`` to be learnt and scored.

FER2013 has 1.5 % of it. Of 4,000 faces that would leave 6 to validate on, and a first run that never says ``disgust``.
"""


MIN_PER_CLASS = 3
"""Even the smallest set has this many faces of each expression (fewer below 21 faces)."""


def _labels(num_samples: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return labels in these proportions, shuffled so that every slice has these proportions too.

    Random draws could leave a small dataset, or its test split, without the rare disgust.
    """
    shares = np.array([PROPORTIONS[name] for name in BASIC])
    # A few of each class come first; the rest is given out by largest remainder.
    counts = np.full(len(BASIC), min(MIN_PER_CLASS, num_samples // len(BASIC)))
    wanted = np.maximum(shares / shares.sum() * num_samples - counts, 0.0)
    wanted *= (num_samples - counts.sum()) / max(wanted.sum(), 1e-9)
    counts += np.floor(wanted).astype(np.int64)
    left = num_samples - counts.sum()
    counts[np.argsort(np.floor(wanted) - wanted, kind="stable")[:left]] += 1
    # Spread each class evenly over [0, 1), at a random place within each of its steps.
    position = np.concatenate([(np.arange(count) + rng.random(count)) / max(count, 1) for count in counts])
    labels = np.repeat(np.arange(len(BASIC), dtype=np.int64), counts)
    return np.asarray(labels[np.argsort(position, kind="stable")])


def generate(num_samples: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Draw faces, unbalanced as :data:`PROPORTIONS` says.

    Args:
        num_samples: Number of faces; at least 7 to have every class.
        seed: The same seed gives the same bytes. A face depends on the seed, its index and its label alone.

    Returns:
        Images, uint8 of shape (num_samples, 48, 48), and labels, int64 of shape (num_samples,), indices into
        :data:`fer.data.labels.BASIC`. The order is shuffled, but every class is spread evenly, so that
        any slice is a fair split.
    """
    # The labels have a random stream that no face uses.
    labels = _labels(num_samples, np.random.default_rng([seed, num_samples]))
    images = np.empty((num_samples, SIZE, SIZE), dtype=np.uint8)
    for index, label in enumerate(labels.tolist()):
        images[index] = draw_face(BASIC[label], np.random.default_rng([seed, index]))
    return images, labels
