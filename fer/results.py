"""What a trained model leaves in its run's folder: scores, predictions, figures, and the table at the end."""

import csv
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from fer.data.base import FERDataModule
from fer.module import FERModule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictions:
    """A model's answers on one split.

    Attributes:
        split: ``val`` or ``test``.
        ids: str of shape (N,), each sample's id.
        labels: int64 of shape (N,), true class.
        probabilities: float32 of shape (N, C).
    """

    split: str
    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]


def predict(module: FERModule, datamodule: FERDataModule, split: str, trainer: pl.Trainer) -> Predictions:
    """Apply a model to a split, each sample once.

    Args:
        module: The model.
        datamodule: The data.
        split: ``train``, ``val`` or ``test``.
        trainer: A trainer of one device: several would pad the split with repeated samples.
    """
    datamodule.trainer = None
    batches: Any = trainer.predict(module, datamodule.eval_dataloader(split))
    rows, labels, probabilities = (
        torch.cat([batch[key] for batch in batches]).cpu().numpy() for key in ("row", "label", "probabilities")
    )
    return Predictions(split, datamodule.samples.ids[rows], labels, probabilities)


def scores(predictions: Predictions, classes: Sequence[str]) -> dict[str, Any]:
    """Return a split's scores as plain data, each average named, and precision, recall, F1 and support per class."""
    p = torch.from_numpy(predictions.probabilities)
    target = torch.from_numpy(predictions.labels)
    num = len(classes)
    confusion = multiclass_confusion_matrix(p, target, num)
    support = confusion.sum(1)
    per_class = {
        "precision": multiclass_precision(p, target, num, average="none"),
        "recall": multiclass_recall(p, target, num, average="none"),
        "f1": multiclass_f1_score(p, target, num, average="none"),
    }
    present = support > 0
    return {
        "n": len(target),
        "accuracy": float(confusion.diag().sum() / len(target)),
        "balanced_accuracy": float(per_class["recall"][present].mean()),
        "f1_macro": float(per_class["f1"][present].mean()),
        "f1_weighted": float((per_class["f1"] * support).sum() / support.sum()),
        "per_class": {
            name: {key: float(values[i]) for key, values in per_class.items()} | {"support": int(support[i])}
            for i, name in enumerate(classes)
        },
        "confusion": confusion.tolist(),
    }


def write_predictions(path: Path, predictions: Sequence[Predictions], classes: Sequence[str]) -> None:
    """Write ``predictions.csv``: split, id, true and predicted class, and each class's probability."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "id", "label", "predicted", *(f"p_{name}" for name in classes)])
        for part in predictions:
            for sample, label, p in zip(part.ids, part.labels, part.probabilities, strict=True):
                row = [part.split, sample, classes[label], classes[int(p.argmax())]]
                writer.writerow([*row, *(f"{value:.6f}" for value in p)])


def read_history(path: Path) -> dict[str, list[float]]:
    """Read ``history.csv`` as one list a column, NaN where a value is missing."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key]) if row[key] else math.nan for row in rows] for key in (rows[0] if rows else {})}


def write(
    run: Path,
    predictions: Sequence[Predictions],
    classes: Sequence[str],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``metrics.json``, ``predictions.csv``, ``confusion.png`` and ``curves.png``.

    Args:
        run: The run's folder.
        predictions: Of the best checkpoint, on each split that there is.
        classes: Class names in label order.
        summary: What else the run has to say (monitor, best epoch, test-time augmentation, ...).

    Returns:
        What stands in ``metrics.json``.
    """
    from fer.figures import confusion_figure, curves_figure

    metrics: dict[str, Any] = {**summary, **{part.split: scores(part, classes) for part in predictions}}
    (run / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    write_predictions(run / "predictions.csv", predictions, classes)
    final = predictions[-1]  # test where there is one, else val
    accuracy = metrics[final.split]["accuracy"]
    title = f"{final.split} · n {len(final.labels):,} · accuracy {accuracy:.3f}"
    confusion = np.array(metrics[final.split]["confusion"])
    confusion_figure(confusion, classes, title).savefig(run / "confusion.png", dpi=150)
    history = read_history(run / "history.csv") if (run / "history.csv").exists() else {}
    if history:
        curves_figure(history, summary["monitor"], summary["best_epoch"]).savefig(run / "curves.png", dpi=150)
    return metrics


def print_tables(metrics: Mapping[str, Any], splits: Sequence[str], run: Path, notes: Sequence[str]) -> None:
    """Print each split's scores per class, and where the run lies."""
    console = Console()
    table = Table(
        title=f"best epoch {metrics['best_epoch'] + 1} by {metrics['monitor']}",
        title_justify="left",
        box=None,
    )
    table.add_column("", no_wrap=True)
    for split in splits:
        for column in ("prec.", "recall", "F1", "n"):
            table.add_column(f"{split}\n{column}", justify="right", no_wrap=True)

    def cells(values: Mapping[str, float]) -> list[str]:
        return [*(f"{values[key]:.3f}" for key in ("precision", "recall", "f1")), f"{values['support']:,}"]

    for name in metrics[splits[0]]["per_class"]:
        table.add_row(name, *(cell for split in splits for cell in cells(metrics[split]["per_class"][name])))
    table.add_row()
    for label, key, position in (
        ("macro F1", "f1_macro", 2),
        ("balanced accuracy", "balanced_accuracy", 1),
        ("accuracy", "accuracy", 2),
    ):
        row = [label]
        for split in splits:
            part = ["", "", "", f"{metrics[split]['n']:,}"]
            part[position] = f"{metrics[split][key]:.3f}"
            row += part
        table.add_row(*row, style="bold" if key == metrics["monitor"].partition("/")[2] else "")
    console.print(table)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False)
    console.print(f"run: {run}", soft_wrap=True, highlight=False)
