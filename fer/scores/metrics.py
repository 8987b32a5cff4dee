"""The scores of every run. Each name says its average: micro F1 is accuracy, so it does not appear."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.functional.classification import multiclass_calibration_error

SCORES = ("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "precision_macro")
CALIBRATION_BINS = 15


def classification_metrics(num_classes: int, prefix: str) -> MetricCollection:
    """Return a split's metrics, to be updated with class indices: predictions (B,), labels (B,), both int64.

    ``compute()`` gives ``confusion``, int64 (C, C), true class in rows: every score follows from it.

    Args:
        num_classes: Number of classes.
        prefix: ``train/`` or ``val/``.
    """
    return MetricCollection({"confusion": MulticlassConfusionMatrix(num_classes, validate_args=False)}, prefix=prefix)


def epoch_scores(metrics: MetricCollection, classes: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
    """Compute and reset an epoch's metrics.

    Args:
        metrics: From :func:`classification_metrics`.
        classes: Class names in label order.

    Returns:
        The scalar scores by name (``val/accuracy``, ``val/f1/happy``, ...), and the confusion matrix, int64 (C, C).
    """
    confusion = metrics.compute()[f"{metrics.prefix}confusion"]
    metrics.reset()
    found = confusion_scores(confusion.cpu().numpy())
    values = {name: float(found[name]) for name in ("accuracy", "balanced_accuracy", "f1_macro")}
    values |= {f"f1/{name}": float(found["f1"][i]) for i, name in enumerate(classes)}
    # On the device that the matrix is on: processes of several devices exchange them.
    tensors = {name: torch.tensor(value).to(confusion.device) for name, value in values.items()}
    return {f"{metrics.prefix}{name}": value for name, value in tensors.items()}, confusion


def confusion_scores(confusion: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float64]]:
    """Return every score that a confusion matrix gives; of many matrices at once, for the bootstrap.

    Args:
        confusion: int64 of shape (..., C, C), true class in rows.

    Returns:
        ``accuracy``; ``balanced_accuracy``, the mean of the classes' recalls; ``f1_macro`` and ``precision_macro``,
        unweighted means; ``f1_weighted``, weighted by support: float64 of shape (...). Means are over the classes
        that have samples, as scikit-learn's ``balanced_accuracy_score`` and, with ``labels=np.unique(y_true)``, its
        ``f1_score(average="macro")`` have them. ``precision``, ``recall`` and ``f1``: each class's own, of shape
        (..., C), 0 where nothing is defined.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    support, predicted = confusion.sum(-1), confusion.sum(-2)
    recall = hits / np.maximum(1, support)
    precision = hits / np.maximum(1, predicted)
    f1 = 2 * hits / np.maximum(1, support + predicted)
    present = support > 0
    classes = np.maximum(1, present.sum(-1))
    return {
        "accuracy": hits.sum(-1) / np.maximum(1, support.sum(-1)),
        "balanced_accuracy": recall.sum(-1) / classes,
        "f1_macro": (f1 * present).sum(-1) / classes,
        "f1_weighted": (f1 * support).sum(-1) / np.maximum(1, support.sum(-1)),
        "precision_macro": (precision * present).sum(-1) / classes,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


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
        ``n``; each of :data:`SCORES` and ``<score>_95``, its interval; ``ece``, the expected calibration error;
        ``per_class`` with ``precision``, ``recall``, ``f1``, their intervals and ``support``; ``confusion``.
    """
    size = len(classes)
    pairs = np.bincount(labels * size + probabilities.argmax(1), minlength=size * size)
    confusion = pairs.reshape(size, size)
    point = confusion_scores(confusion)
    ece = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), size, n_bins=CALIBRATION_BINS, norm="l1"
    )
    result: dict[str, Any] = {"n": len(labels), **{name: float(point[name]) for name in SCORES}, "ece": float(ece)}
    per_class: dict[str, dict[str, Any]] = {
        name: {key: float(point[key][i]) for key in ("precision", "recall", "f1")}
        | {"support": int(confusion[i].sum())}
        for i, name in enumerate(classes)
    }
    if resamples and len(labels):
        # Drawing samples with replacement is drawing (true, predicted) pairs by their shares: one multinomial draw.
        drawn = np.random.default_rng(seed).multinomial(len(labels), pairs / len(labels), resamples)
        many = confusion_scores(drawn.reshape(resamples, size, size))
        bounds = {key: np.percentile(values, (2.5, 97.5), axis=0).T for key, values in many.items()}
        result |= {f"{name}_95": [float(bound) for bound in bounds[name]] for name in SCORES}
        for i, name in enumerate(classes):
            for key in ("precision", "recall", "f1"):
                per_class[name][f"{key}_95"] = [float(bound) for bound in bounds[key][i]]
    return result | {"per_class": per_class, "confusion": confusion.tolist()}
