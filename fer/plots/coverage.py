"""Accuracy against coverage: what is gained where a model may leave unsure images undecided."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fer.display import plain
from fer.plots.figures import write_stamp
from fer.scores.calibration import curve

_FEWEST = 10  # images of which an accuracy is drawn
_RIGHT = 0.95  # share from which on a number would stand beyond the axes


def coverage_figure(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    found: Mapping[str, Any],
    title: str = "",
    stamp: str | None = None,
) -> Figure:
    """Draw the accuracy of the surest images against their share, with marks at some confidences.

    Args:
        probabilities: float32 of shape (N, C), calibrated.
        labels: int64 of shape (N,).
        found: From :func:`fer.scores.calibration.compared`.
        title: What was tested.
        stamp: What must not be overlooked.
    """
    share, accuracy = curve(probabilities, labels)
    figure = Figure(figsize=(5.4, 4.4), layout="constrained")
    figure.suptitle(plain(title, keep="\n"), fontsize=11)
    write_stamp(figure, stamp)
    axes = figure.subplots()
    axes.plot(share[_FEWEST - 1 :], accuracy[_FEWEST - 1 :], color="tab:blue")
    for part in found["coverage"]:
        if part["accuracy"] is None or part["coverage"] * len(labels) < _FEWEST:
            continue
        axes.plot(part["coverage"], part["accuracy"], "o", color="tab:blue", markersize=5, clip_on=False)
        word = "all" if part["min_confidence"] == 0 else f"{part['min_confidence']:g}"
        # Beside the curve, which falls from left to right, and within the axes.
        beside, side = ((-6, -11), "right") if part["coverage"] > _RIGHT else ((4, 4), "left")
        at = (part["coverage"], part["accuracy"])
        axes.annotate(word, at, beside, textcoords="offset points", fontsize=8, horizontalalignment=side)
    low = float(accuracy[_FEWEST - 1 :].min()) if len(accuracy) >= _FEWEST else 0.0
    axes.set(xlim=(0, 1.0), ylim=(max(0.0, low - 0.08), 1.02), ylabel="accuracy of the decided images")
    axes.set_xlabel("share of the images that is decided; numbers: min_confidence")
    axes.grid(alpha=0.3)
    return figure
