"""The scores of every run. Each name says its average: micro F1 is accuracy, so it does not appear."""

from collections.abc import Sequence

from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)


def classification_metrics(num_classes: int, prefix: str) -> MetricCollection:
    """Return a split's metrics, to be updated with class indices: predictions (B,), labels (B,), both int64.

    ``compute()`` gives ``accuracy``; ``balanced_accuracy``, the mean of the classes' recalls; ``f1_macro``, the
    unweighted mean of the classes' F1; ``f1``, float (C,), each class's own; ``confusion``, int64 (C, C), true class
    in rows.

    Args:
        num_classes: Number of classes.
        prefix: ``train/`` or ``val/``.
    """
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
            "balanced_accuracy": MulticlassAccuracy(num_classes, average="macro", validate_args=False),
            "f1_macro": MulticlassF1Score(num_classes, average="macro", validate_args=False),
            "f1": MulticlassF1Score(num_classes, average="none", validate_args=False),
            "confusion": MulticlassConfusionMatrix(num_classes, validate_args=False),
        },
        prefix=prefix,
    )


def epoch_scores(metrics: MetricCollection, classes: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
    """Compute and reset an epoch's metrics.

    Args:
        metrics: From :func:`classification_metrics`.
        classes: Class names in label order.

    Returns:
        The scalar scores by name (``val/accuracy``, ``val/f1/happy``, ...), and the confusion matrix, int64 (C, C).
    """
    values = metrics.compute()
    metrics.reset()
    confusion = values.pop(f"{metrics.prefix}confusion")
    f1 = values.pop(f"{metrics.prefix}f1")
    return values | {f"{metrics.prefix}f1/{name}": f1[i] for i, name in enumerate(classes)}, confusion
