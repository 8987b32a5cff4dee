"""A model's most confident mistakes, as a picture: each person, and each picture that has copies, once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from fer.data import near_copies
from fer.data.samples import Samples
from fer.files.predictions import Predictions
from fer.models.grad_cam import GradCam
from fer.plots import figures
from fer.plots.heat import heated
from fer.plots.tables import shortened
from fer.scores.label_space import LabelSpace

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
    shown: Sequence[int],
    title: str,
    stamp: str | None,
) -> Figure:
    """Draw the most confident mistakes.

    Args:
        samples: The tested dataset.
        rows: int64 of shape (N,), the tested samples' rows in it.
        labels: int64 of shape (N,), true classes.
        probabilities: float32 of shape (N, C).
        classes: Class names in label order.
        shown: Their places, from :func:`worst`.
        title: What was tested.
        stamp: What must not be overlooked.
    """
    names = [shortened(name, 16) for name in classes]
    captions = [
        f"{shortened(samples.ids[rows[i]], 24)}\nis {names[labels[i]]}, "
        f"said {names[probabilities[i].argmax()]}\n(probability {probabilities[i].max():.2f})"
        for i in shown
    ]
    heading = f"{_said_of(samples, labels, probabilities, shown)}\n{title}"
    return figures.gallery_figure([samples.images[rows[i]] for i in shown], captions, heading, stamp)


def explained_figure(
    samples: Samples,
    answers: Predictions,
    space: LabelSpace,
    shown: Sequence[int],
    cam: GradCam,
    title: str,
    stamp: str | None,
) -> Figure:
    """Draw mistakes beside the heat maps of what the model said and of what it should have said.

    Args:
        samples: The tested dataset.
        answers: The model's answers, over the scored classes.
        space: How the classes meet.
        shown: The mistakes' places among the answers, from :func:`worst`.
        cam: Explains the model.
        title: What was tested.
        stamp: What must not be overlooked.
    """
    names = [shortened(name, 16) for name in space.classes]
    heat: list[npt.NDArray[np.uint8]] = []
    captions = []
    for place in shown:
        image = np.ascontiguousarray(samples.images[answers.rows[place]])
        is_, said = int(answers.labels[place]), int(answers.probabilities[place].argmax())
        own = [space.of_model(number) for number in (said, is_)]
        maps = cam(torch.from_numpy(np.stack([image, image])), own).cpu().numpy()
        parts = [heated(image, np.zeros(image.shape[:2], np.float32)), *(heated(image, one) for one in maps)]
        heat.append(np.concatenate(parts, axis=1))
        name = shortened(samples.ids[answers.rows[place]], 30)
        captions.append(f"{name}\nwhy {names[said]}?   why not {names[is_]}?")
    heading = f"{_said_of(samples, answers.labels, answers.probabilities, shown)}\n{title}\n{_LEGEND}"
    return figures.gallery_figure(heat, captions, heading, stamp)


_LEGEND = "the picture, what spoke for what the model said, what spoke for what it is (Grad-CAM)"


def _said_of(
    samples: Samples, labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32], shown: Sequence[int]
) -> str:
    wrong = int((probabilities.argmax(1) != labels).sum())
    once = "picture" if samples.subjects is None else "person"
    return f"{len(shown)} of {wrong:,} mistakes, the most confident first, each {once} once"
