"""What the choices of a sweep did to its score: how much each of them mattered, and pictures of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

from fer.plots.tables import shortened
from fer.scores.registry import lower_is_better

_LABEL = 0.04  # height of a label, of the axis


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


def parallel_coordinates_figure(axes: Sequence[Axis], score: Axis) -> Figure:
    """Draw each job of a sweep as a line through its choices to its score: the better, the darker.

    Args:
        axes: The choices.
        score: The score, drawn last; of a loss, less is better.
    """
    scales = [*axes, score]
    figure = Figure(figsize=(2.2 + 1.5 * len(scales), 5), layout="constrained")
    plot = figure.subplots()
    colours = colormaps["viridis_r"]
    good = 1 - score.places if lower_is_better(score.name) else score.places
    for job in np.argsort(good, kind="stable"):  # the best ones on top
        places = [scale.places[job] for scale in scales]
        plot.plot(places, color=colours(0.1 + 0.9 * good[job]), linewidth=1 + 1.5 * good[job], alpha=0.9)
    for position, scale in enumerate(scales):
        plot.axvline(position, color="black", linewidth=0.8)
        for place, label in _apart(scale.ticks):
            plot.annotate(
                shortened(label, 16), (position, place), (4, 0), textcoords="offset points", va="center", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
            )  # fmt: skip
    plot.set_xticks(range(len(scales)), [shortened(scale.name) for scale in scales], rotation=25, ha="right")
    plot.set(xlim=(-0.1, len(scales) - 0.5), ylim=(-0.05, 1.05), yticks=[])
    plot.set_title(f"{len(good)} jobs; the best are darkest", fontsize=11)
    plot.spines[:].set_visible(False)
    return figure


def _apart(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the ticks whose labels do not cover one another, from the top."""
    kept: list[tuple[float, str]] = []
    for place, label in sorted(ticks, reverse=True):
        if not kept or kept[-1][0] - place >= _LABEL:
            kept.append((place, label))
    return kept


def importance_figure(importances: Mapping[str, float], title: str) -> Figure:
    """Draw a bar for each choice of a sweep: how much of the score it explains.

    Args:
        importances: Config key to its share, the largest first.
        title: What the bars are of.
    """
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(importances)), layout="constrained")
    plot = figure.subplots()
    names, shares = [shortened(name) for name in importances], [100 * share for share in importances.values()]
    plot.bar_label(plot.barh(names, shares), fmt="%.0f %%", padding=3, fontsize=9)
    plot.invert_yaxis()
    plot.set(xlim=(0, 1.12 * max(1.0, *shares)), xlabel="share of importance (%)")
    plot.set_title(title, fontsize=11)
    plot.spines[["top", "right"]].set_visible(False)
    return figure
