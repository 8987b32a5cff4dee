"""The pictures of a test: scores, calibration, the most confident mistakes and why they were made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer.data.base import FERDataModule
from fer.files.predictions import Predictions
from fer.files.run_folder import run_name
from fer.models.grad_cam import GradCam
from fer.scores import calibration
from fer.scores.label_space import LabelSpace
from fer.scores.metrics import CALIBRATION_BINS
from fer.testing import robustness


def draw(
    run: Path, metrics: Mapping[str, Any], answers: Predictions, datamodule: FERDataModule, space: LabelSpace,
    count: int, calm: npt.NDArray[np.float32], cam: GradCam | None,
) -> None:  # fmt: skip
    """Draw pictures of the scores and of mistakes.

    Args:
        run: The test's folder.
        metrics: What will stand in ``metrics.json``.
        answers: The model's answers, over the scored classes.
        datamodule: The tested data.
        space: How the classes meet.
        count: At most so many mistakes are shown.
        calm: Calibrated probabilities, float32 of shape (N, C).
        cam: Explains the mistakes; None if they are not to be explained.
    """
    from fer.plots import figures
    from fer.plots.class_table import said_of_tta
    from fer.plots.coverage import coverage_figure
    from fer.testing import mistakes

    classes = space.classes
    scores, stamp, p = metrics["test"], metrics["stamp"], answers.probabilities
    said = f"accuracy {scores['accuracy']:.3f}{said_of_tta(metrics['tta'])}"
    what = f"{datamodule.name} {answers.split} · n {scores['n']:,} · {said}"
    title = f"{run_name(Path(metrics['checkpoint']))}\n{what}"
    confusion = np.array(scores["confusion"])
    figures.save(figures.confusion_figure(confusion, classes, title, stamp), run / "confusion.png")
    reliability = figures.reliability_figure(p, answers.labels, scores["ece"], CALIBRATION_BINS, title, stamp)
    figures.save(reliability, run / "reliability.png")
    figures.save(coverage_figure(calm, answers.labels, metrics[calibration.KEY], title, stamp), run / "coverage.png")
    if "corruptions" in metrics:
        example = int(answers.rows[0])
        robustness.draw(run, metrics["corruptions"], scores["accuracy"], datamodule, example, title, stamp)
    if count:
        found = mistakes.worst(datamodule.samples, answers.rows, answers.labels, p, count)
        shown = mistakes.figure(datamodule.samples, answers.rows, answers.labels, p, classes, found, title, stamp)
        figures.save(shown, run / "mistakes.png", dpi=130)
        if cam is not None:
            why = mistakes.explained_figure(datamodule.samples, answers, space, found, cam, title, stamp)
            figures.save(why, run / "mistakes-explained.png", dpi=130)
