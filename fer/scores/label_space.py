"""Scoring a model on a dataset that has other classes: matched by name, with all that is dropped or merged said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer.data.labels import among
from fer.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class LabelSpace:
    """How a model's classes and a dataset's classes meet.

    Attributes:
        model: The model's classes, in its label order.
        dataset: The dataset's classes, in its label order.
        merged: Class to the class that it is scored as, on both sides.
        classes: What is scored: the model's classes after merging, in the model's order.
        common: Those of them that the dataset has too.
    """

    model: tuple[str, ...]
    dataset: tuple[str, ...]
    merged: Mapping[str, str]
    classes: tuple[str, ...]
    common: tuple[str, ...]

    @property
    def dropped(self) -> tuple[str, ...]:
        """The dataset's classes that the model does not know: their images are left out."""
        return tuple(name for name in self.dataset if self._as(name) not in self.classes)

    @property
    def absent(self) -> tuple[str, ...]:
        """The scored classes that the dataset does not have: the model can only be wrong with them.

        A class that the dataset has counts as common even where the tested split holds no image of it.
        """
        return tuple(name for name in self.classes if name not in self.common)

    def _as(self, name: str) -> str:
        return self.merged.get(name, name)

    def labels(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Translate the dataset's labels (N,) into indices of ``classes``; -1 for images that are left out."""
        index = [self.classes.index(to) if (to := self._as(name)) in self.classes else -1 for name in self.dataset]
        return np.array(index, dtype=np.int64)[labels]

    def probabilities(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Translate the model's probabilities, float32 (N, model classes), into those of ``classes``."""
        result = np.zeros((len(probabilities), len(self.classes)), dtype=np.float32)
        for column, name in enumerate(self.model):
            result[:, self.classes.index(self._as(name))] += probabilities[:, column]
        return result

    def of_model(self, number: int) -> int:
        """Return the model's own class for a class of ``classes``: that of the same name, else one merged into it."""
        name = self.classes[number]
        own = name if name in self.model else next(one for one in self.model if self._as(one) == name)
        return self.model.index(own)

    def restricted(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Limit the model's choice to the common classes: float32 (N, common), each row summing to 1."""
        kept = probabilities[:, [self.classes.index(name) for name in self.common]]
        total = kept.sum(1, keepdims=True)
        result = np.full_like(kept, 1 / len(self.common))
        np.divide(kept, total, out=result, where=total > 0)
        return result

    def as_dict(self) -> dict[str, object]:
        """Return plain data, for ``metrics.json``."""
        return {
            "model": list(self.model),
            "dataset": list(self.dataset),
            "common": list(self.common),
            "merged": dict(self.merged),
            "dropped_from_dataset": list(self.dropped),
            "absent_from_dataset": list(self.absent),
        }


def align(model: Sequence[str], dataset: Sequence[str], merge: Mapping[str, str] | None = None) -> LabelSpace:
    """Match a model's classes with a dataset's by name; their order plays no part.

    Args:
        model: The model's classes in its label order.
        dataset: The dataset's classes in its label order.
        merge: Class to the class that it is scored as (``contempt: disgust``).

    Raises:
        ConfigError: If ``merge`` names an unknown class, or fewer than two classes are common.
    """
    merged: dict[str, str] = {}
    every = tuple(dict.fromkeys((*model, *dataset)))
    for pair in (merge or {}).items():
        source, target = (among(str(word), every) for word in pair)
        if source is None or target is None:
            word = str(pair[0] if source is None else pair[1])
            raise ConfigError(
                f"merge: neither the model nor the dataset has '{word}'.{did_you_mean(word, every)} "
                f"They have: {', '.join(every)}."
            )
        merged[source] = target
    if chained := [name for name in merged.values() if name in merged]:
        raise ConfigError(f"merge: '{chained[0]}' is merged away itself; merge both into one class.")
    classes = tuple(dict.fromkeys(merged.get(name, name) for name in model))
    there = {merged.get(name, name) for name in dataset}
    common = tuple(name for name in classes if name in there)
    if len(common) < 2:
        raise ConfigError(
            f"the model knows {', '.join(model)} and the dataset {', '.join(dataset)}: with {len(common)} common "
            f"classes there is nothing to score."
        )
    return LabelSpace(tuple(model), tuple(dataset), merged, classes, common)
