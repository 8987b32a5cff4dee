"""Every score by its name: what it is called, which direction is better, and where it is shown. Imports nothing slow.

To add a score: an entry here, its formula under the same name in :mod:`fer.scores.metrics`, and a test. The command
line's checks, training, testing, sweeps, reports and their tables follow the entry.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Score:
    """What is known of a score beside its formula.

    Attributes:
        name: Its key in ``metrics.json``; logged as ``val/<name>``.
        title: Its name in tables.
        source: What it is computed from: the training ``loss``, a ``confusion`` matrix (a method of
            :class:`fer.scores.metrics.Confusion`), the ``probabilities`` (a method of
            :class:`fer.scores.metrics.Probabilities`), or the answers on ``corrupted`` images (a method of
            :class:`fer.scores.metrics.Corrupted`), which only some tests have.
        lower_is_better: Whether the best value is the lowest one.
        each_epoch: Whether it is logged after each epoch, of training and validation. Only such a score can be the
            ``monitor`` and the ``score`` of a report, where every run has it. Not of probabilities, which an epoch
            does not keep.
        headline: Whether it also stands where there is room for few scores: sweeps, slices of a test.
        averages: The per-class score (``precision``, ``recall`` or ``f1``) in whose column of the table of classes
            it stands; None if it does not stand there.
        short: Its title where there is little room.
        digits: Digits after the decimal point in tables.
    """

    name: str
    title: str
    source: Literal["loss", "confusion", "probabilities", "corrupted"] = "confusion"
    lower_is_better: bool = False
    each_epoch: bool = False
    headline: bool = False
    averages: Literal["precision", "recall", "f1"] | None = None
    short: str = ""
    digits: int = 3

    def text(self, value: float, further: int = 0) -> str:
        """Return a value as tables show it, with ``further`` digits where close values are compared."""
        return f"{value:.{self.digits + further}f}"

    def interval(self, bounds: tuple[float, float] | list[float]) -> str:
        """Return the bounds of an interval as tables show it."""
        return f"{self.text(bounds[0])}-{self.text(bounds[1])}"

    @property
    def sign(self) -> int:
        """Number to multiply values by, so that the lowest comes from the best value: 1 or -1."""
        return 1 if self.lower_is_better else -1


MEAN_CORRUPTION = "mean_corruption_accuracy"

SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score("loss", "loss", source="loss", lower_is_better=True, each_epoch=True),
        Score("accuracy", "accuracy", each_epoch=True, headline=True, averages="f1", short="acc"),
        Score("balanced_accuracy", "balanced accuracy", each_epoch=True, averages="recall", short="bal. accuracy"),
        Score("f1_macro", "macro F1", each_epoch=True, headline=True, averages="f1"),
        Score("f1_weighted", "weighted F1"),
        Score("precision_macro", "macro precision", averages="precision"),
        Score("ece", "expected calibration error", source="probabilities", lower_is_better=True, short="ECE"),
        Score(MEAN_CORRUPTION, "mean corruption accuracy", source="corrupted", short="mean corr. acc"),
    )
}
"""All scores by name, in the order in which files and tables have them."""


def each_epoch() -> list[str]:
    """Return the names of the scores that are logged after each epoch."""
    return [score.name for score in SCORES.values() if score.each_epoch]


def of_confusion() -> list[str]:
    """Return the names of the final scores that follow from a confusion matrix; each has a 95 % interval."""
    return [score.name for score in SCORES.values() if score.source == "confusion"]


def reported() -> list[str]:
    """Return the names of the final scores that are logged after each epoch too: a report can be made by each."""
    return [name for name in of_confusion() if SCORES[name].each_epoch]


def lower_is_better(monitor: str) -> bool:
    """Say whether the best value of a logged score (``val/loss``) is the lowest one."""
    name = monitor.partition("/")[2].removesuffix("_step").removesuffix("_epoch")  # f1/loss is a class's
    return name in SCORES and SCORES[name].lower_is_better
