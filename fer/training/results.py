"""What a trained model leaves in its run's folder: scores, predictions, figures, and the table at the end."""

import csv
import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fer.data.base import FERDataModule
from fer.display import cell
from fer.files.atomic import if_possible, writing
from fer.files.csv_table import csv_cell
from fer.files.run_files import checkpoint_mark, read_history, run_name
from fer.plots.tables import NOTHING, WIDTH, fitted
from fer.progress import ScoringProgress
from fer.scores.metrics import PER_CLASS, final_scores
from fer.scores.registry import SCORES, of_confusion
from fer.training.module import FERModule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

_SAMPLED = 2**26  # bytes of a dataset's images by which it is known again


@dataclass(frozen=True)
class Predictions:
    """A model's answers on one split.

    Attributes:
        split: ``train``, ``val``, ``test`` or ``all``.
        rows: int64 of shape (N,), each sample's row in the dataset.
        ids: str of shape (N,), each sample's id.
        labels: int64 of shape (N,), true class.
        probabilities: float32 of shape (N, C).
        dataset: What tells the dataset from others, from :func:`identity`.
    """

    split: str
    rows: npt.NDArray[np.int64]
    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    dataset: Mapping[str, Any] = field(default_factory=dict)


def scorer(run: Path, accelerator: str, precision: str, show_bar: bool) -> pl.Trainer:
    """Return a trainer of one device, for :func:`predict`: several would pad a split with repeated samples."""
    return pl.Trainer(
        accelerator=accelerator, devices=1, precision=precision, logger=False,  # type: ignore[arg-type]
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
        callbacks=[ScoringProgress(show_bar)], default_root_dir=str(run),
    )  # fmt: skip


def predict(module: FERModule, datamodule: FERDataModule, split: str, trainer: pl.Trainer) -> Predictions:
    """Apply a model to a split, each sample once.

    Args:
        module: The model.
        datamodule: The data.
        split: ``train``, ``val``, ``test`` or ``all``.
        trainer: From :func:`scorer`.
    """
    datamodule.trainer = None
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, ScoringProgress):
            callback.what = f"scoring {split}"
    batches: Any = trainer.predict(module, datamodule.eval_dataloader(split))
    rows, labels, probabilities = (
        torch.cat([batch[key] for batch in batches]).cpu().numpy() for key in ("row", "label", "probabilities")
    )
    # What chose the checkpoint was the test split, and is called by its name.
    name = "test" if datamodule.select_on_test and split == "val" else split
    return Predictions(name, rows, datamodule.samples.ids[rows], labels, probabilities, identity(datamodule))


def identity(datamodule: FERDataModule) -> dict[str, Any]:
    """Return what tells a dataset from others of its name, wherever it stands: ``fer.report`` goes by it.

    Splits and what is left out do not matter: scores of several folds or of cleaned data are of one dataset.
    """
    samples, root = datamodule.samples, getattr(datamodule, "root", None)
    order = np.argsort(samples.ids, kind="stable")
    names = np.array([*samples.classes, ""])  # the last is of what is in no class: -1
    most = max(1, _SAMPLED // max(1, samples.images[:1].nbytes))
    sampled = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), most)).astype(int))]
    return {
        "name": datamodule.name,
        "root": None if root is None else str(Path(str(root)).resolve()),
        "classes": list(samples.classes),
        "ids": _digest("\0".join(samples.ids[order].tolist()).encode()),
        "labels": _digest("\0".join(names[samples.labels[order]].tolist()).encode()),
        "pixels": _digest(np.ascontiguousarray(samples.images[sampled]).tobytes()),
        "input": [*samples.images.shape[1:], datamodule.fit],  # of another size, the same images have other pixels
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def write_predictions(
    path: Path,
    predictions: Sequence[Predictions],
    classes: Sequence[str],
    extra: Mapping[str, npt.NDArray[Any]] | None = None,
) -> None:
    """Write ``predictions.csv``: split, id, true and predicted class, and each class's probability.

    Args:
        path: The file.
        predictions: One or more splits.
        classes: Class names in label order.
        extra: More columns by name, of as many values as there are samples.
    """
    extra = extra or {}
    further = zip(*extra.values(), strict=True) if extra else repeat(())
    with writing(path, newline="") as file:
        writer = csv.writer(file)
        names = [csv_cell(name) for name in classes]
        writer.writerow(["split", "id", "label", "predicted", *(f"p_{name}" for name in classes), *extra])
        for part in predictions:
            for sample, label, p, values in zip(part.ids, part.labels, part.probabilities, further, strict=False):
                row = [part.split, csv_cell(sample), names[label], names[int(p.argmax())]]
                writer.writerow([*row, *(f"{value:.6f}" for value in p), *values])


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
        summary: What else the run has to say (monitor, best epoch, stamp, test-time augmentation, ...).

    Returns:
        What stands in ``metrics.json``.
    """
    from fer.plots.figures import confusion_figure, curves_figure

    metrics = {
        **summary,
        "checkpoint_mark": checkpoint_mark(summary["checkpoint"]),
        "dataset": dict(predictions[0].dataset),
        **{part.split: final_scores(part.probabilities, part.labels, classes) for part in predictions},
    }
    write_predictions(run / "predictions.csv", predictions, classes)
    write_json(run / "metrics.json", metrics)
    final = predictions[-1]  # test where there is one, else val
    accuracy = metrics[final.split]["accuracy"]
    title = f"{run_name(run)}\n{summary['data']} {final.split} · n {len(final.labels):,} · accuracy {accuracy:.3f}"
    confusion = np.array(metrics[final.split]["confusion"])
    figure = confusion_figure(confusion, classes, title=title, stamp=summary["stamp"])
    save_figure(figure, run / "confusion.png")
    history = read_history(run / "history.csv") if (run / "history.csv").exists() else {}
    if history:
        figure = curves_figure(history, summary["monitor"], summary["best_epoch"], summary["stamp"], run_name(run))
        save_figure(figure, run / "curves.png")
    return metrics


def save_figure(figure: "Figure", path: Path, dpi: int = 150) -> None:
    """Write a picture; where that cannot be done, say so and go on: the scores must not be lost for it."""
    with if_possible(path), writing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=dpi)


def brief(predictions: Sequence[Predictions], classes: Sequence[str]) -> dict[str, Any]:
    """Return the averages alone, by split."""
    found = {part.split: final_scores(part.probabilities, part.labels, classes, resamples=0) for part in predictions}
    return {split: {key: scores[key] for key in ("n", *of_confusion())} for split, scores in found.items()}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain data, readable and whole."""
    with writing(path) as file:
        file.write(json.dumps(values, indent=2) + "\n")


def print_tables(metrics: Mapping[str, Any], run: Path, notes: Sequence[str]) -> None:
    """Print each split's scores per class, the last epoch's beside the best's, and where the run lies."""
    splits = [split for split in ("val", "test") if split in metrics]
    title = f"best epoch {metrics['best_epoch']} by {metrics['monitor']}{said_of_tta(metrics['tta'])}"
    table = class_table({split: metrics[split] for split in splits}, title, metrics["monitor"].partition("/")[2])
    lines: list[tuple[str, str]] = []
    last = metrics["last_epoch"]
    if last["epoch"] != metrics["best_epoch"]:
        said = ", ".join(f"{split} accuracy {last[split]['accuracy']:.3f}" for split in splits if split in last)
        lines.append((f"last epoch ({last['epoch']}): {said}", ""))
    if metrics["stamp"]:
        lines.append((metrics["stamp"], "bold red"))
    lines += [(note, "") for note in notes]
    tell(*table, *(cell(text, style) for text, style in lines), cell(f"run: {run}"))


def tell(*parts: Table | Text) -> None:
    """Print tables and lines, and add them as plain text to the log file."""
    console, uncoloured = Console(), Console(file=io.StringIO(), width=WIDTH, color_system=None)
    for part in parts:
        for one in (console, uncoloured):
            one.print(part, soft_wrap=isinstance(part, Text), highlight=False)
    text = "\n" + uncoloured.file.getvalue().rstrip()  # type: ignore[attr-defined]
    record = log.makeRecord(log.name, logging.INFO, "", 0, text, (), None)  # an argument would be one line
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def said_of_tta(tta: str) -> str:
    """Return what a table's title says of test-time augmentation."""
    return "" if tta == "none" else f"; scores with tta={tta}"


def class_table(parts: Mapping[str, Mapping[str, Any]], title: str, monitored: str = "") -> list[Table | Text]:
    """Return a table of scores per class and their averages, one block of columns for each part.

    Args:
        parts: What is scored (``val``, ``test``, ...) to its scores, from :func:`fer.scores.metrics.final_scores`.
        title: The table's title.
        monitored: The score that is set in bold.
    """

    def cells(scores: Mapping[str, Any], name: str) -> list[str]:
        values = scores["per_class"].get(name)
        if values is None:
            return ["", "", "", ""]
        if not values["support"]:
            return [NOTHING, NOTHING, NOTHING, "0"]
        return [*(f"{values[key]:.3f}" for key in PER_CLASS), f"{values['support']:,}"]

    classes = dict.fromkeys(name for scores in parts.values() for name in scores["per_class"])
    rows = [[name, *(value for scores in parts.values() for value in cells(scores, name))] for name in classes]
    rows.append([""] * (1 + 4 * len(parts)))
    bold = []
    averages = [
        (column, score) for column in PER_CLASS for score in reversed(SCORES.values()) if score.averages == column
    ]
    for column, average in averages:
        row = [average.title]
        for scores in parts.values():
            row += [average.text(scores[average.name]) if key == column else "" for key in PER_CLASS]
            row.append(f"{scores['n']:,}")
        bold += [len(rows)] if average.name == monitored else []
        rows.append(row)
    header = ["", *(f"{part}\n{column}" for part in parts for column in ("prec.", "recall", "F1", "n"))]
    return fitted(title, header, rows, WIDTH, bold=bold)
