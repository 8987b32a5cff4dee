"""A model's answers on a split, each sample once: for the scores of a training, and for a test."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException

from fer.data.base import FERDataModule
from fer.data.blocks import blocks
from fer.data.corruptions import Corruption
from fer.errors import ConfigError, FERError
from fer.files.metrics import Dataset
from fer.files.predictions import Predictions
from fer.training.precision import settle
from fer.training.progress import ScoringProgress
from fer.training.stopping import EndScoringOnSignal

_SAMPLED = 2**26  # bytes of a dataset's images by which it is known again


def scorer(run: Path, accelerator: str, precision: str, show_bar: bool, device: int | None = None) -> pl.Trainer:
    """Return a trainer of one device, for :func:`predict`: several would pad a split with repeated samples.

    Args:
        run: The folder in which it is at work.
        accelerator: As ``trainer.accelerator``.
        precision: As ``trainer.precision``.
        show_bar: Whether a progress bar is shown.
        device: The number of its GPU; None for the first, or the CPU.

    Raises:
        ConfigError: If there is no such accelerator, or it does not compute in that precision.
    """
    devices = 1 if device is None else [device]
    try:
        return pl.Trainer(
            accelerator=accelerator, devices=devices, precision=settle(precision, accelerator), logger=False,  # type: ignore[arg-type]
            enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
            callbacks=[ScoringProgress(show_bar), EndScoringOnSignal()], default_root_dir=str(run),
            plugins=[LightningEnvironment()],  # whatever started this process and others
        )  # fmt: skip
    except (MisconfigurationException, ImportError) as error:
        raise ConfigError(f"accelerator={accelerator} precision={precision}: cannot be used here ({error}).") from error


def predict(module: pl.LightningModule, datamodule: FERDataModule, split: str, trainer: pl.Trainer) -> Predictions:
    """Apply a model to a split, each sample once.

    Args:
        module: The model.
        datamodule: The data.
        split: ``train``, ``val``, ``test`` or ``all``.
        trainer: From :func:`scorer`.
    """
    progress(trainer).what = f"scoring {split}"
    answers = _answers(module, datamodule, split, trainer)
    rows, labels, probabilities = (answers[key] for key in ("row", "label", "probabilities"))
    # What chose the checkpoint was the test split, and is called by its name.
    name = "test" if datamodule.select_on_test and split == "val" else split
    return Predictions(name, rows, datamodule.samples.ids[rows], labels, probabilities, identity(datamodule).as_dict())


def corrupted(
    module: pl.LightningModule,
    datamodule: FERDataModule,
    split: str,
    trainer: pl.Trainer,
    corruptions: Sequence[Corruption],
) -> npt.NDArray[np.float32]:
    """Apply a model to a split whose images are made worse, in several ways one after the other.

    Args:
        module: The model.
        datamodule: The data.
        split: ``train``, ``val``, ``test`` or ``all``.
        trainer: From :func:`scorer`.
        corruptions: The ways.

    Returns:
        Probabilities, float32 of shape (W, N, C), in the order of the ways and of the split's rows.
    """
    answers, rows = _answers(module, datamodule, split, trainer, corruptions), datamodule.rows(split)
    assert np.array_equal(answers["row"], np.tile(rows, len(corruptions)))
    probabilities: npt.NDArray[np.float32] = answers["probabilities"].reshape(len(corruptions), len(rows), -1)
    return probabilities


def progress(trainer: pl.Trainer) -> ScoringProgress:
    """Return the bar of a trainer from :func:`scorer`."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return next(callback for callback in callbacks if isinstance(callback, ScoringProgress))


def _answers(
    module: pl.LightningModule,
    datamodule: FERDataModule,
    split: str,
    trainer: pl.Trainer,
    corruptions: Sequence[Corruption] = (),
) -> dict[str, Any]:
    """Return ``row``, ``label`` and ``probabilities`` of a split's samples, in each way they are made worse."""
    datamodule.trainer = None
    batches: Any = trainer.predict(module, datamodule.eval_dataloader(split, corruptions))
    keys = ("row", "label", "probabilities")
    answers = {key: torch.cat([batch[key] for batch in batches]).cpu().numpy() for key in keys}
    if unsure := int((~np.isfinite(answers["probabilities"])).any(axis=1).sum()):
        raise FERError(
            f"{unsure:,} of {len(answers['row']):,} answers are not finite, so that no score would be true. Say "
            f"precision=32-true where it is 16-mixed; else the weights themselves are broken."
        )
    return answers


def identity(datamodule: FERDataModule) -> Dataset:
    """Return what tells a dataset from others of its name, wherever it stands: ``fer.report`` goes by it.

    Splits and what is left out do not matter: scores of several folds or of cleaned data are of one dataset.
    """
    samples, root = datamodule.samples, getattr(datamodule, "root", None)
    order = np.argsort(samples.ids, kind="stable")
    names = np.array([*samples.classes, ""])  # the last is of what is in no class: -1
    most = max(1, _SAMPLED // max(1, samples.images[:1].nbytes))
    sampled = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), most)).astype(int))]
    pixels = hashlib.sha256()
    for some in blocks(len(sampled)):  # streamed images are fetched or decoded now
        pixels.update(np.ascontiguousarray(samples.images[sampled[some]]).tobytes())
    return Dataset(
        name=datamodule.name,
        root=None if root is None else str(Path(str(root)).resolve()),
        classes=tuple(samples.classes),
        ids=_digest("\0".join(samples.ids[order].tolist()).encode()),
        labels=_digest("\0".join(names[samples.labels[order]].tolist()).encode()),
        pixels=pixels.hexdigest()[:16],
        # Of another size, the same images have other pixels.
        input=(*samples.images.shape[1:], datamodule.fit),
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
