"""A model on images that are made worse: accuracy for each kind of corruption and strength, and the mean of all."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from rich.table import Table
from rich.text import Text

from fer.data.base import FERDataModule
from fer.data.corruptions import KINDS, STRENGTHS, Corruption
from fer.plots import robustness as pictures
from fer.plots.figures import save
from fer.plots.tables import WIDTH, fitted
from fer.progress import clock
from fer.scores.label_space import LabelSpace
from fer.scores.metrics import Corrupted
from fer.scores.registry import MEAN_CORRUPTION, SCORES
from fer.training.predict import corrupted, progress

log = logging.getLogger(__name__)

Answers = Mapping[str, npt.NDArray[np.int64]]
"""By kind: the predicted scored class of each sample at each strength, int64 of shape (5, N), in the split's order."""


def asked(value: bool | Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that ``corruptions=<value>`` means, each once, in their usual order."""
    if isinstance(value, bool):
        return KINDS if value else ()
    return tuple(kind for kind in KINDS if kind in value)


def predict(
    module: pl.LightningModule,
    datamodule: FERDataModule,
    split: str,
    trainer: pl.Trainer,
    space: LabelSpace,
    kinds: Sequence[str],
) -> Answers:
    """Apply a model to a split once for each kind and strength, and say how far it is.

    Args:
        module: The model.
        datamodule: The data.
        split: ``train``, ``val``, ``test`` or ``all``.
        trainer: From :func:`fer.training.predict.scorer`.
        space: How the classes meet.
        kinds: Some of :data:`fer.data.corruptions.KINDS`.
    """
    begun, images = time.monotonic(), len(datamodule.rows(split))
    log.info("corruptions: %d times %s images", len(kinds) * len(STRENGTHS), f"{images:,}")
    shown = progress(trainer)
    shown.rounds = len(kinds)
    found = {}
    for number, kind in enumerate(kinds, 1):
        shown.what = f"corruptions: {kind} ({number}/{len(kinds)})"
        answers = corrupted(module, datamodule, split, trainer, [Corruption(kind, level) for level in STRENGTHS])
        found[kind] = np.stack([space.probabilities(one).argmax(1) for one in answers])
        passed = time.monotonic() - begun
        left = f", {clock(passed / number * (len(kinds) - number))} left" if number < len(kinds) else ""
        log.info("corruptions: %s is done (%d/%d, %s%s)", kind, number, len(kinds), clock(passed), left)
    return found


def scores(
    answers: Answers, kept: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], resamples: int, seed: int
) -> dict[str, Any]:
    """Score answers: what stands in ``metrics.json`` below ``corruptions``.

    Args:
        answers: From :func:`predict`.
        kept: Places of the scored images in the split, int64 of shape (K,).
        labels: Their classes, int64 of shape (K,).
        resamples: Of the interval; 0 for none.
        seed: Of the interval.
    """
    right = np.stack([answers[kind][:, kept] == labels for kind in answers])
    table = Corrupted(right)
    found: dict[str, Any] = {MEAN_CORRUPTION: table.mean_corruption_accuracy()}
    if resamples:
        found[f"{MEAN_CORRUPTION}_95"] = table.mean_corruption_accuracy_95(resamples, seed)
    return found | {"accuracy": dict(zip(answers, right.mean(2).tolist(), strict=True))}


def tables(found: Mapping[str, Any], accuracy: float) -> list[Table | Text]:
    """Return the table of kinds and strengths.

    Args:
        found: From :func:`scores`.
        accuracy: Of the images as they are.
    """
    score = SCORES["accuracy"]
    header = ["corruption", *(str(level) for level in STRENGTHS), "mean"]
    rows = [["none", *("" for _ in STRENGTHS), score.text(accuracy)]]
    for kind, values in found["accuracy"].items():
        rows.append([kind.replace("_", " "), *map(score.text, values), score.text(float(np.mean(values)))])
    bounds = found.get(f"{MEAN_CORRUPTION}_95")
    interval = f" ({score.interval(bounds)})" if bounds else ""
    title = f"{SCORES[MEAN_CORRUPTION].title} {score.text(found[MEAN_CORRUPTION])}{interval}; accuracy by strength"
    return fitted(title, header, rows, WIDTH)


def draw(
    run: Path,
    found: Mapping[str, Any],
    accuracy: float,
    datamodule: FERDataModule,
    row: int,
    title: str,
    stamp: str | None,
) -> None:
    """Draw accuracy against strength, and one image in all its corrupted forms.

    Args:
        run: The test's folder.
        found: From :func:`scores`.
        accuracy: Of the images as they are.
        datamodule: The tested data.
        row: The image that is shown.
        title: What was tested.
        stamp: What must not be overlooked.
    """
    figure = pictures.strengths_figure(found["accuracy"], accuracy, found[MEAN_CORRUPTION], title, stamp)
    save(figure, run / "corruptions.png")
    samples = datamodule.samples
    image, name = samples.images[row : row + 1], [str(samples.ids[row])]
    forms = {kind: [Corruption(kind, level)(image, name)[0] for level in STRENGTHS] for kind in found["accuracy"]}
    save(pictures.forms_figure(image[0], forms, name[0]), run / "corruptions_example.png", dpi=130)
