"""A model's most confident mistakes, as a picture: each person, and each picture that has copies, once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fer.data import near_copies
from fer.data.samples import Samples
from fer.plots import figures

_LOOKED_AT = 10  # times as many of the most confident mistakes as are shown, to choose from


def worst(
    samples: Samples,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    count: int,
) -> list[int]:
    """Return the places of the most confident mistakes, one of each subject or group of copies.

    Args:
        samples: The tested dataset.
        rows: int64 of shape (N,), the tested samples' rows in it.
        labels: int64 of shape (N,), true classes.
        probabilities: float32 of shape (N, C).
        count: At most this many.
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    order = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][: _LOOKED_AT * count]
    if not len(order):
        return []
    images = samples.images[rows[order]]
    copies = near_copies.near_groups(near_copies.near_pairs(images), len(images)).tolist()
    who: Sequence[Any] = copies if samples.subjects is None else samples.subjects[rows[order]].tolist()
    shown: list[int] = []
    met: set[Any] = set()
    for place, copy, subject in zip(order.tolist(), copies, who, strict=True):
        if len(shown) < count and ("copy", copy) not in met and ("subject", subject) not in met:
            shown.append(place)
        met.add(("copy", copy))
        if subject != "":
            met.add(("subject", subject))
    return shown


def figure(
    samples: Samples,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    classes: Sequence[str],
    count: int,
    title: str,
    stamp: str | None,
) -> Figure:
    """Draw the most confident mistakes, see :func:`worst`.

    Args:
        samples: The tested dataset.
        rows: int64 of shape (N,), the tested samples' rows in it.
        labels: int64 of shape (N,), true classes.
        probabilities: float32 of shape (N, C).
        classes: Class names in label order.
        count: At most this many.
        title: What was tested.
        stamp: What must not be overlooked.
    """
    shown = worst(samples, rows, labels, probabilities, count)
    names = [figures.shortened(name, 16) for name in classes]
    captions = [
        f"{figures.shortened(samples.ids[rows[i]], 24)}\nis {names[labels[i]]}, "
        f"said {names[probabilities[i].argmax()]}\n(probability {probabilities[i].max():.2f})"
        for i in shown
    ]
    wrong = int((probabilities.argmax(1) != labels).sum())
    once = "picture" if samples.subjects is None else "person"
    heading = f"{len(shown)} of {wrong:,} mistakes, the most confident first, each {once} once\n{title}"
    return figures.gallery_figure([samples.images[rows[i]] for i in shown], captions, heading, stamp)
