"""Pictures of a dataset as a whole, for an audit's page."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fer.data.samples import SPLITS
from fer.plots.tables import shortened


def class_counts_figure(counts: Mapping[str, npt.NDArray[np.int64]], classes: Sequence[str]) -> Figure:
    """Draw how many images each class has, a bar a split.

    Args:
        counts: Split to int64 of shape (C,).
        classes: Class names in label order.
    """
    figure = Figure(figsize=(1.6 + 1.1 * len(classes), 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.85 / max(1, len(counts))
    for number, (split, values) in enumerate(counts.items()):
        place = np.arange(len(classes)) + (number - (len(counts) - 1) / 2) * width
        bars = axes.bar(place, values, 0.95 * width, label=split)
        axes.bar_label(bars, [f"{value:,}" for value in values], fontsize=7, padding=1)
    axes.set_xticks(range(len(classes)), _names(classes))
    axes.set(ylabel="images")
    axes.margins(y=0.1)
    axes.legend(fontsize=8)
    return figure


def class_samples_figure(images: Sequence[Sequence[npt.NDArray[np.uint8]]], classes: Sequence[str]) -> Figure:
    """Draw a row of images for each class.

    Args:
        images: For each class, some images, uint8 of shape (H, W) or (H, W, 3).
        classes: Class names in label order.
    """
    columns = max(1, *(len(row) for row in images))
    figure = Figure(figsize=(1.1 * columns + 0.9, 1.12 * len(classes)), layout="constrained")
    grid = figure.subplots(len(classes), columns, squeeze=False)
    for name, row, line in zip(classes, images, grid, strict=True):
        for number, axes in enumerate(line):
            axes.set(xticks=[], yticks=[], frame_on=False)
            if number < len(row):
                axes.imshow(row[number], cmap="gray", vmin=0, vmax=255)
        line[0].set_ylabel(shortened(name, 20), rotation=0, ha="right", va="center", fontsize=10)
    return figure


def light_figure(
    brightness: npt.NDArray[np.float64], contrast: npt.NDArray[np.float64], splits: npt.NDArray[np.str_]
) -> Figure:
    """Draw the distribution of brightness and of contrast, a line a split.

    Args:
        brightness: float64 of shape (N,), mean pixel from 0 to 1.
        contrast: float64 of shape (N,), standard deviation of the pixels.
        splits: str of shape (N,).
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    titles = ("brightness (mean pixel)", "contrast (standard deviation of the pixels)")
    for axes, values, title, high in zip(figure.subplots(1, 2), (brightness, contrast), titles, (1, 0.5), strict=True):
        for split in [split for split in SPLITS if (splits == split).any()]:
            part = values[splits == split]
            axes.hist(part, np.linspace(0, high, 51), density=True, histtype="step", label=f"{split} ({len(part):,})")
        axes.set(xlabel=title, ylabel="density", xlim=(0, high))
        axes.legend(fontsize=8)
    return figure


def brightness_boxes_figure(
    brightness: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], classes: Sequence[str]
) -> Figure:
    """Draw a box plot of each class's brightness; the points are its outliers.

    Args:
        brightness: float64 of shape (N,), mean pixel from 0 to 1.
        labels: int64 of shape (N,).
        classes: Class names in label order.
    """
    figure = Figure(figsize=(1.6 + 1.1 * len(classes), 3.6), layout="constrained")
    axes = figure.subplots()
    points = {"marker": ".", "markersize": 3, "alpha": 0.5}
    axes.boxplot([brightness[labels == label] for label in range(len(classes))], flierprops=points, widths=0.6)
    axes.set_xticks(range(1, len(classes) + 1), _names(classes))
    axes.set(ylabel="brightness (mean pixel)", ylim=(0, 1))
    return figure


def _names(classes: Sequence[str]) -> list[str]:
    return [shortened(name, 14) for name in classes]
