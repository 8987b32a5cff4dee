"""Which classes and which splits of a dataset are used."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fer.data.labels import among
from fer.data.samples import Samples
from fer.errors import ConfigError, did_you_mean


def select_classes(samples: Samples, wanted: Sequence[str] | None, name: str) -> Samples:
    """Keep the wanted classes, in the wanted label order.

    Raises:
        ConfigError: If a class is not among the dataset's, or is named twice.
    """
    if wanted is None:
        return samples
    asked, wanted = wanted, []
    for word in asked:
        emotion = among(word, samples.classes)
        if emotion is None:
            hint = did_you_mean(word, samples.classes)
            raise ConfigError(f"data.classes: {name} has no '{word}'.{hint} It has: {', '.join(samples.classes)}.")
        wanted.append(emotion)
    if len(set(wanted)) != len(wanted) or len(wanted) < 2:
        raise ConfigError(f"data.classes={list(asked)}: needs two or more different classes.")
    index = np.full(len(samples.classes), -1, dtype=np.int64)
    for number, emotion in enumerate(wanted):
        index[samples.classes.index(emotion)] = number
    labels = index[samples.labels]
    # The other classes' images stay where they are (on disk), in no split.
    splits = np.where(labels >= 0, samples.splits, "")
    targets = samples.targets
    if targets is not None:
        targets = targets[:, [samples.classes.index(emotion) for emotion in wanted]]
        total = targets.sum(1, keepdims=True)
        targets = np.divide(targets, total, out=np.zeros_like(targets), where=total > 0)
    return replace(samples, labels=labels, splits=splits, targets=targets, classes=tuple(wanted))


def val_from_test(samples: Samples, name: str) -> Samples:
    """Make the test split the validation split; what was the validation split is used for nothing."""
    if not (samples.splits == "test").any():
        raise ConfigError(f"data.select_on_test=true: {name} has no test split to choose on.")
    splits = np.where(samples.splits == "val", "", samples.splits)
    return replace(samples, splits=np.where(splits == "test", "val", splits))
