"""What the choices of a sweep did to its score: axes to draw them on, and how much each of them mattered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Axis:
    """One choice of a sweep, on a scale from 0 to 1.

    Attributes:
        name: The config key, or the score's name.
        places: float64 of shape (jobs,), where each job stands.
        ticks: Places on the scale and what they mean.
    """

    name: str
    places: npt.NDArray[np.float64]
    ticks: Sequence[tuple[float, str]]


def make_axis(name: str, values: Sequence[Any]) -> Axis:
    """Lay values out on a scale: numbers by size (by magnitude if they span decades), words side by side.

    Args:
        name: The config key, or the score's name.
        values: One for each job, as the command line has them.
    """
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        numbers = np.array([math.nan])
    if not np.isfinite(numbers).all():
        words = sorted({str(value) for value in values})
        spread = {word: place for place, word in zip(np.linspace(0, 1, len(words) + 2)[1:-1], words, strict=True)}
        return Axis(name, np.array([spread[str(value)] for value in values]), [(p, w) for w, p in spread.items()])
    low, high = float(numbers.min()), float(numbers.max())
    decades = low > 0 and high / low >= 50
    scaled = np.log(numbers) if decades else numbers
    bottom, span = float(scaled.min()), float(np.ptp(scaled)) or 1.0
    marks = sorted(set(numbers.tolist())) if len(set(numbers.tolist())) <= 5 else np.linspace(0, 1, 5).tolist()
    if len(set(numbers.tolist())) > 5:
        marks = [bottom + mark * span for mark in marks]
        marks = [math.exp(mark) if decades else mark for mark in marks]
    ticks = [((math.log(mark) if decades else mark) - bottom) / span for mark in marks]
    return Axis(name, (scaled - bottom) / span, [(t, f"{m:.3g}") for t, m in zip(ticks, marks, strict=True)])


def importances(axes: Sequence[Axis], scores: Sequence[float]) -> dict[str, float]:
    """Return each choice's share of what a random forest makes of the score, the largest first.

    The forest learns the score from the choices; a choice matters as much as shuffling it spoils that (permutation
    importance, Breiman, "Random Forests", 2001). With few jobs it is a hint, no measurement.

    Args:
        axes: The choices.
        scores: One for each job.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    x, y = np.stack([axis.places for axis in axes], axis=1), np.asarray(scores)
    forest = RandomForestRegressor(n_estimators=200, random_state=0).fit(x, y)
    raw = np.maximum(permutation_importance(forest, x, y, n_repeats=20, random_state=0).importances_mean, 0)
    shares = raw / raw.sum() if raw.sum() > 0 else raw
    return {axes[i].name: float(shares[i]) for i in np.argsort(-shares, kind="stable")}
