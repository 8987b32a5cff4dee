"""The formulas of the scores, found by the names in :mod:`fer.scores.registry`.

Each name says its average: micro F1 is accuracy, so it does not appear.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.functional.classification import multiclass_calibration_error

from fer.scores.registry import SCORES, of_confusion, reported

Floats = npt.NDArray[np.float64]

CALIBRATION_BINS = 15
PER_CLASS = ("precision", "recall", "f1")
"""Scores of a single class."""


def epoch_scores(
    metric: MulticlassConfusionMatrix, classes: Sequence[str], prefix: str
) -> tuple[dict[str, Tensor], Tensor]:
    """Compute and reset an epoch's confusion matrix, from which every score follows.

    Args:
        metric: Updated with class indices: predictions (B,), labels (B,), both int64.
        classes: Class names in label order.
        prefix: ``train/``, ``val/`` or ``test/``.

    Returns:
        The scalar scores by name (``val/accuracy``, ``val/f1/happy``, ...), and the confusion matrix, int64 (C, C),
        true class in rows.
    """
    confusion: Tensor = metric.compute()
    metric.reset()
    found = Confusion(confusion.cpu().numpy())
    values = {name: float(getattr(found, name)()) for name in reported()}
    values |= {f"f1/{name}": float(found.f1[i]) for i, name in enumerate(classes)}
    # On the device that the matrix is on: processes of several devices exchange them.
    return {f"{prefix}{name}": torch.tensor(value).to(confusion.device) for name, value in values.items()}, confusion


class Confusion:
    """The scores that follow from a confusion matrix; from many at once, for the bootstrap.

    A method for each score of :data:`fer.scores.registry.SCORES` whose source is ``confusion``, float64 of shape (...).
    Unweighted means are over the classes that have samples, as scikit-learn's ``balanced_accuracy_score`` and, with
    ``labels=np.unique(y_true)``, its ``f1_score(average="macro")`` have them.

    Attributes:
        hits: float64 of shape (..., C), correctly predicted samples of each class.
        support: int64 of shape (..., C), samples of each class.
        predicted: int64 of shape (..., C), samples taken for each class.
        recall, precision, f1: float64 of shape (..., C), each class's own; 0 where it is not defined.

    Args:
        confusion: int64 of shape (..., C, C), true class in rows.
    """

    def __init__(self, confusion: npt.NDArray[np.int64]) -> None:
        self.hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
        self.support, self.predicted = confusion.sum(-1), confusion.sum(-2)
        self.recall = self.hits / np.maximum(1, self.support)
        self.precision = self.hits / np.maximum(1, self.predicted)
        self.f1 = 2 * self.hits / np.maximum(1, self.support + self.predicted)

    def accuracy(self) -> Floats:
        """Return the share of samples that are predicted correctly."""
        return self._of_all(self.hits.sum(-1))

    def balanced_accuracy(self) -> Floats:
        """Return the mean of the classes' recalls."""
        return self._mean(self.recall)

    def f1_macro(self) -> Floats:
        """Return the mean of the classes' F1."""
        return self._mean(self.f1)

    def f1_weighted(self) -> Floats:
        """Return the mean of the classes' F1, weighted by their support."""
        return self._of_all((self.f1 * self.support).sum(-1))

    def precision_macro(self) -> Floats:
        """Return the mean of the classes' precisions."""
        return self._mean(self.precision)

    def _mean(self, per_class: Floats) -> Floats:
        """Return the mean over the classes that have samples."""
        present = self.support > 0
        mean: Floats = (per_class * present).sum(-1) / np.maximum(1, present.sum(-1))
        return mean

    def _of_all(self, total: Floats) -> Floats:
        """Return a sum over all samples, divided by their number."""
        share: Floats = total / np.maximum(1, self.support.sum(-1))
        return share


class Probabilities:
    """The scores that follow from probabilities: a method for each score whose source is ``probabilities``.

    Args:
        probabilities: float32 of shape (N, C).
        labels: int64 of shape (N,).
    """

    def __init__(self, probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
        self.probabilities, self.labels = probabilities, labels

    def ece(self) -> float:
        """Return the expected calibration error, over bins of equal width (Naeini et al., AAAI 2015)."""
        # Probabilities of merged classes may add up to a little more than 1; torchmetrics would take them for logits.
        # It gives a confidence of exactly 1 a bin of its own, after the last one.
        below_1 = np.nextafter(np.float32(1), np.float32(0))
        probabilities, labels = torch.from_numpy(self.probabilities.clip(max=below_1)), torch.from_numpy(self.labels)
        classes = self.probabilities.shape[1]
        return float(multiclass_calibration_error(probabilities, labels, classes, n_bins=CALIBRATION_BINS, norm="l1"))


class Corrupted:
    """The scores of corrupted images: a method for each score whose source is ``corrupted``.

    Args:
        right: bool of shape (K, S, N): whether the model is right, for each kind and strength, about each sample.
    """

    def __init__(self, right: npt.NDArray[np.bool_]) -> None:
        self.right = right

    def mean_corruption_accuracy(self) -> float:
        """Return the mean of the accuracies of all kinds and strengths."""
        return float(self.right.mean())

    def mean_corruption_accuracy_95(self, resamples: int, seed: int) -> list[float]:
        """Return the 95 % interval of the mean, by resampling the images as :func:`final_scores` does."""
        kinds, strengths, size = self.right.shape
        most = kinds * strengths  # the corrupted forms of an image: drawing images is drawing how many were right
        counts = np.bincount(self.right.sum((0, 1)), minlength=most + 1)
        drawn = np.random.default_rng(seed).multinomial(size, counts / size, resamples)
        bounds: list[float] = _interval(drawn @ np.arange(most + 1) / (most * size)).tolist()
        return bounds


def final_scores(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return a split's scores as plain data, each average named, with 95 % intervals.

    Args:
        probabilities: float32 of shape (N, C).
        labels: int64 of shape (N,).
        classes: Class names in label order.
        resamples: Bootstrap resamples of the samples, from whose percentiles the intervals are taken; 0 for none.
        seed: Of the bootstrap.

    Returns:
        ``n``; each score but the loss; ``<score>_95``, the interval of each that follows from the confusion matrix;
        ``per_class`` with ``precision``, ``recall``, ``f1``, their intervals and ``support``; ``confusion``.
    """
    size = len(classes)
    pairs = np.bincount(labels * size + probabilities.argmax(1), minlength=size * size)
    confusion = pairs.reshape(size, size)
    point, names = Confusion(confusion), of_confusion()
    table = Probabilities(probabilities, labels)
    result: dict[str, Any] = {"n": len(labels)}
    result |= {name: float(getattr(point, name)()) for name in names}
    result |= {s.name: float(getattr(table, s.name)()) for s in SCORES.values() if s.source == "probabilities"}
    per_class: dict[str, dict[str, Any]] = {
        name: {key: float(getattr(point, key)[i]) for key in PER_CLASS} | {"support": int(point.support[i])}
        for i, name in enumerate(classes)
    }
    if resamples and len(labels):
        # Drawing samples with replacement is drawing (true, predicted) pairs by their shares: one multinomial draw.
        drawn = np.random.default_rng(seed).multinomial(len(labels), pairs / len(labels), resamples)
        many = Confusion(drawn.reshape(resamples, size, size))
        result |= {f"{name}_95": _interval(getattr(many, name)()).tolist() for name in names}
        # As in the averages, a class counts where it has samples.
        bounds = {key: _interval(np.where(many.support, getattr(many, key), np.nan)) for key in PER_CLASS}
        for i, name in enumerate(classes):
            per_class[name] |= {f"{key}_95": bounds[key][i].tolist() for key in PER_CLASS}
    return result | {"per_class": per_class, "confusion": confusion.tolist()}


def _interval(values: Floats) -> Floats:
    """Return the 95 % interval of resampled values (R, ...), NaN left out: the bounds are last, (..., 2)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a class that is in no resample
        bounds: Floats = np.nan_to_num(np.nanpercentile(values, (2.5, 97.5), axis=0).T)
    return bounds
