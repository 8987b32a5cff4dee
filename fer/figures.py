"""Every picture that a run leaves or shows. Matplotlib without a display, one function a figure."""

from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("Agg")

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure


def confusion_figure(counts: npt.NDArray[np.int64], classes: Sequence[str], title: str = "") -> Figure:
    """Draw a confusion matrix: colour and percentage are the share of the true class, the count stands below.

    Args:
        counts: int64 of shape (C, C), true class in rows.
        classes: Class names in label order.
        title: What the matrix is of.
    """
    share = counts / np.maximum(1, counts.sum(1, keepdims=True))
    side = 1.6 + 0.75 * len(classes)
    figure = Figure(figsize=(side + 0.4, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    if title:
        axes.set_title(title, fontsize=11)
    for row in range(len(classes)):
        for column in range(len(classes)):
            axes.text(
                column, row, f"{100 * share[row, column]:.0f} %\n{counts[row, column]:,}", ha="center", va="center",
                fontsize=8, color="white" if share[row, column] > 0.55 else "black",
            )  # fmt: skip
    return figure


def sample_figure(images: npt.NDArray[np.uint8], labels: Sequence[int], classes: Sequence[str]) -> Figure:
    """Draw images in a grid, each under its class name.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        labels: Class index of each image.
        classes: Class names in label order.
    """
    columns = min(10, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.1 * columns, 1.35 * rows), layout="constrained")
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if number < len(images):
            axes.imshow(images[number], cmap="gray", vmin=0, vmax=255)
            axes.set_title(classes[labels[number]], fontsize=9, pad=3)
    return figure


def curves_figure(history: Mapping[str, Sequence[float]], monitor: str, best_epoch: int | None) -> Figure:
    """Draw loss, the monitored score and accuracy over the epochs, for training and validation.

    Args:
        history: Column name to one value an epoch (NaN where there is none), with ``epoch``.
        monitor: The score that chose the best checkpoint, drawn beside loss and accuracy.
        best_epoch: The best checkpoint's epoch, marked; None for none.
    """
    scores = list(dict.fromkeys(["loss", "accuracy", monitor.partition("/")[2]]))
    epochs = np.asarray(history["epoch"]) + 1
    figure = Figure(figsize=(4.6 * len(scores), 3.6), layout="constrained")
    for axes, score in zip(figure.subplots(1, len(scores), squeeze=False).flat, scores, strict=True):
        for split, colour in (("train", "tab:blue"), ("val", "tab:orange")):
            if f"{split}/{score}" in history:
                style = {"color": colour, "label": split, "marker": "o", "markersize": 3}
                axes.plot(epochs, history[f"{split}/{score}"], **style)
        if best_epoch is not None:
            axes.axvline(best_epoch + 1, color="grey", linestyle=":", label=f"best epoch ({best_epoch + 1})")
        axes.set(title=score.replace("_", " "), xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure
