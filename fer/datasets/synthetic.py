"""The embedded dataset: drawn faces with the seven expressions (:mod:`fer.datasets.synthetic_faces` draws them).

Classes: the seven of FER2013, as unbalanced, but for ``disgust``: few, yet enough to be learnt and scored. Layout:
none, the images are drawn on first use and cached. Licence: as this project. A task for a first look, for teaching and
for tests; a score on it says nothing about real faces.
"""

from typing import Any

import numpy as np

from fer.data.base import FERDataModule
from fer.data.cache import cached
from fer.data.labels import BASIC
from fer.data.samples import Samples
from fer.datasets.synthetic_faces import VERSION, generate


class Synthetic(FERDataModule):
    """Drawn faces, 48x48 grey: 80 % train, 10 % val, 10 % test of each class.

    Args:
        num_samples: Number of faces in all splits together.
        generator_seed: Which faces; the run's ``seed`` leaves them alone.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "synthetic"

    def __init__(self, num_samples: int = 4000, generator_seed: int = 0, **loading: Any) -> None:
        super().__init__(**loading)
        self.num_samples, self.generator_seed = num_samples, generator_seed

    def read(self) -> Samples:
        """Draw the faces, or open their cache."""
        key = {"version": VERSION, "num_samples": self.num_samples, "seed": self.generator_seed}
        return cached(self.cache_dir, self.name, key, self._draw)

    def _draw(self) -> Samples:
        images, labels = generate(self.num_samples, self.generator_seed)
        splits = np.full(len(labels), "train")
        for label in range(len(BASIC)):  # the labels are in random order: any tenth of a class is as good as another
            members = np.flatnonzero(labels == label)
            tenth = max(1, round(len(members) / 10)) if len(members) > 2 else 0
            splits[members[:tenth]], splits[members[tenth : 2 * tenth]] = "val", "test"
        ids = np.array([f"face{number:06d}" for number in range(len(labels))])
        return Samples(images, labels, splits, ids, BASIC)
