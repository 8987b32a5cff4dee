"""The end of a run: which checkpoints it has, their scores in its folder, and the table on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from pytorch_lightning.callbacks import ModelCheckpoint

from fer.config.groups import flat
from fer.display import cell
from fer.errors import ConfigError
from fer.files import history as history_file
from fer.files import metrics as metrics_file
from fer.files import predictions as predictions_file
from fer.files.predictions import Predictions
from fer.files.run_folder import checkpoint_mark, run_name
from fer.plots.class_table import class_table, said_of_tta
from fer.plots.tables import tell
from fer.scores.metrics import final_scores
from fer.scores.protocol import SELECTED_ON_TEST, TESTED_TWICE
from fer.scores.registry import of_confusion, reported
from fer.training import trackers


def best(trainer: pl.Trainer) -> ModelCheckpoint:
    """Return the callback that kept the best checkpoint.

    Raises:
        ConfigError: If there is none, or it kept none.
    """
    callback = _kept_as("best", trainer)
    if callback is not None and callback.best_model_score is not None:  # none: of a run that this one went on with
        return callback
    raise ConfigError(
        "callbacks: no ModelCheckpoint kept a best checkpoint. It needs a monitor, the run an epoch with validation "
        "(of a resumed one: trainer.max_epochs above the epochs that its checkpoint has)."
    )


def last(trainer: pl.Trainer) -> str | None:
    """Return the path of the last epoch's checkpoint; None if none is kept (``callbacks.last=null``)."""
    callback = _kept_as("last", trainer)
    return callback.best_model_path if callback is not None else None


def _kept_as(name: str, trainer: pl.Trainer) -> ModelCheckpoint | None:
    """Return the run's own checkpoint callback of a name, if it has kept one: the user may have added others."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.filename == name and callback.best_model_path:
            return callback
    return None


def epoch_of(path: str) -> int:
    """Return the epoch, from 1, in which a checkpoint was written."""
    return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["epoch"]) + 1


def summary(
    config: Mapping[str, Any], checkpoint: ModelCheckpoint, trainer: pl.Trainer, last_epoch: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what ``metrics.json`` says beside the scores.

    Args:
        config: The resolved config.
        checkpoint: The callback that kept the best checkpoint.
        trainer: The trainer that fitted.
        last_epoch: The scores of the last epoch's weights, which nothing has chosen; empty where they were not kept.
    """
    assert checkpoint.best_model_score is not None
    stamps = [SELECTED_ON_TEST] if config["data"]["select_on_test"] else []
    stamps += [TESTED_TWICE] if config["test_last_epoch"] else []
    return {
        "name": config["name"],
        "data": HydraConfig.get().runtime.choices.get("data"),
        "model": config["model"].get("name", HydraConfig.get().runtime.choices.get("model")),  # timm's own name
        "stamp": " ".join(stamps) or None,
        "monitor": checkpoint.monitor,
        "best_score": float(checkpoint.best_model_score),
        "best_epoch": epoch_of(checkpoint.best_model_path),
        "epochs": trainer.current_epoch,
        "last_epoch": {"epoch": trainer.current_epoch, **last_epoch},
        "tta": config["tta"],
        "checkpoint": str(checkpoint.best_model_path),
    }


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
    from fer.plots import figures  # matplotlib would delay the first step

    content = {
        **summary,
        "checkpoint_mark": checkpoint_mark(summary["checkpoint"]),
        "dataset": dict(predictions[0].dataset),
        **{part.split: final_scores(part.probabilities, part.labels, classes) for part in predictions},
    }
    predictions_file.write(run / predictions_file.FILE, predictions, classes)
    metrics = metrics_file.write(run / metrics_file.FILE, "training", content)
    final = predictions[-1]  # test where there is one, else val
    accuracy = metrics[final.split]["accuracy"]
    said = f"accuracy {accuracy:.3f}{said_of_tta(summary['tta'])}"
    title = f"{run_name(run)}\n{summary['data']} {final.split} · n {len(final.labels):,} · {said}"
    confusion = np.array(metrics[final.split]["confusion"])
    figure = figures.confusion_figure(confusion, classes, title=title, stamp=summary["stamp"])
    figures.save(figure, run / "confusion.png")
    path = run / history_file.FILE
    history = history_file.read(path) if path.exists() else {}
    if history:
        figure = figures.curves_figure(
            history, summary["monitor"], summary["best_epoch"], summary["stamp"], run_name(run)
        )
        figures.save(figure, run / "curves.png")
    return metrics


def brief(predictions: Sequence[Predictions], classes: Sequence[str]) -> dict[str, Any]:
    """Return the averages alone, by split."""
    found = {part.split: final_scores(part.probabilities, part.labels, classes, resamples=0) for part in predictions}
    return {split: {key: scores[key] for key in ("n", *of_confusion())} for split, scores in found.items()}


def print_tables(metrics: Mapping[str, Any], run: Path, notes: Sequence[str]) -> None:
    """Print each split's scores per class, the last epoch's beside the best's, and where the run lies."""
    splits = [split for split in ("val", "test") if split in metrics]
    title = f"best epoch {metrics['best_epoch']} by {metrics['monitor']}{said_of_tta(metrics['tta'])}"
    table = class_table({split: metrics[split] for split in splits}, title, metrics["monitor"].partition("/")[2])
    lines: list[tuple[str, str]] = []
    last = metrics["last_epoch"]
    said = ", ".join(f"{split} accuracy {last[split]['accuracy']:.3f}" for split in splits if split in last)
    if said and last["epoch"] != metrics["best_epoch"]:
        lines.append((f"last epoch ({last['epoch']}): {said}", ""))
    if metrics["stamp"]:
        lines.append((metrics["stamp"], "bold red"))
    lines += [(note, "") for note in notes]
    tell(*table, *(cell(text, style) for text, style in lines), cell(f"run: {run}"))


def log_hparams(trainer: pl.Trainer, config: Mapping[str, Any], metrics: Mapping[str, Any], run: Path) -> None:
    """Tell the loggers the choices that runs differ by and the final scores: TensorBoard's HParams tab, and others."""
    choices = HydraConfig.get().runtime.choices
    groups = ("model", "data", "transforms", "optimizer", "scheduler", "loss", "mixup", "experiment")
    values: dict[str, Any] = {group: str(choices.get(group)) for group in groups}
    values["callbacks"] = ",".join(name for name, node in config["callbacks"].items() if node)
    for group in ("model", "optimizer", "scheduler", "loss", "mixup"):
        values |= {f"{group}.{key}": value for key, value in flat(config[group]).items() if key != "_target_"}
    values |= {f"data.{key}": config["data"].get(key) for key in ("batch_size", "image_size", "sampler", "classes")}
    trainer_keys = ("max_epochs", "precision", "accumulate_grad_batches")
    values |= {f"trainer.{key}": config["trainer"][key] for key in trainer_keys}
    values["seed"] = config["seed"]
    values["selected_on"] = "test" if config["data"]["select_on_test"] else "val"
    values = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in values.items()}
    final = {
        f"final/{split}_{score}": metrics[split][score]
        for split in ("val", "test")
        if split in metrics
        for score in reported()
    }
    files = ("metrics.json", "predictions.csv", "confusion.png", "curves.png", "history.csv", "config.yaml")
    trackers.tell_final(trainer, values, final, [run / name for name in files])
