"""Every picture that a run leaves or shows. Matplotlib without a display, one function a figure."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure, FigureBase

from fer.display import plain
from fer.files.atomic import if_possible, writing
from fer.plots.tables import shortened

matplotlib.rcParams["text.parse_math"] = False  # in a name, "$" begins no formula
warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")  # a name of another script: boxes

FEW = 5
"""Samples below which a bin of a reliability diagram says nothing, and is not drawn."""

_MEASURED = "with augmentation and dropout, if any"


def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a picture; where that cannot be done, say so and go on: the scores must not be lost for it."""
    with if_possible(path), writing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=dpi)


def confusion_figure(
    counts: npt.NDArray[np.int64], classes: Sequence[str], title: str = "", stamp: str | None = None
) -> Figure:
    """Draw a confusion matrix: colour and percentage are the share of the true class, the count stands below.

    Args:
        counts: int64 of shape (C, C), true class in rows.
        classes: Class names in label order.
        title: What the matrix is of.
        stamp: What must not be overlooked.
    """
    side = 1.6 + 0.75 * len(classes)
    figure = Figure(figsize=(max(side + 0.6, 4.5), side), layout="constrained")
    if title:
        figure.suptitle(plain(title, keep="\n"), fontsize=11)
    write_stamp(figure, stamp)
    axes = figure.subplots()
    total = counts.sum(1)
    share = counts / np.maximum(1, total[:, None])
    colours = colormaps["Blues"]
    axes.imshow(share, cmap=colours, vmin=0, vmax=1)
    names = [shortened(name, 20) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), [f"{name}\nn = {n:,}" for name, n in zip(names, total, strict=True)])
    axes.set(xlabel="predicted", ylabel="true")
    for (row, column), part in np.ndenumerate(share):
        if not counts[row, column]:
            axes.text(column, row, "•", ha="center", va="center", fontsize=9, color="0.75")
            continue
        text = f"{100 * part:.0f} %\n{counts[row, column]:,}"
        colour = _legible_on(colours(part))
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    return figure


def _legible_on(colour: Iterable[float]) -> str:
    """Return black or white, whichever stands out more from a colour (by WCAG's contrast of luminances)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (*colour,)[:3]]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


def reliability_figure(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    ece: float,
    bins: int,
    title: str = "",
    stamp: str | None = None,
) -> Figure:
    """Draw how often a model is right against how sure it is, with intervals, and how many samples are that sure.

    Args:
        probabilities: float32 of shape (N, C).
        labels: int64 of shape (N,).
        ece: Expected calibration error, named in the title.
        bins: Number of equal steps of confidence.
        title: What was tested.
        stamp: What must not be overlooked.
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    some = count >= FEW
    n = count[some]
    accuracy = np.bincount(place, right, minlength=bins)[some] / n
    mean = np.bincount(place, confidence, minlength=bins)[some] / n
    low, high = wilson(accuracy, n)
    figure = Figure(figsize=(5, 6.2), layout="constrained")
    figure.suptitle(plain(f"{title}\nexpected calibration error {ece:.3f}".strip(), keep="\n"), fontsize=11)
    write_stamp(figure, stamp)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as sure as right")
    middles = (np.arange(bins) + 0.5) / bins
    upper.bar(middles[some], accuracy, 0.9 / bins, color="tab:blue", alpha=0.25)
    bars = np.maximum(0, [accuracy - low, high - accuracy])
    label = "this model, 95 % interval"
    upper.errorbar(mean, accuracy, bars, color="tab:blue", marker="o", markersize=4, capsize=3, ls="none", label=label)
    across = np.full((2, bins), np.nan)
    across[:, some] = mean, accuracy
    upper.plot(*across, color="tab:blue")  # with gaps where nothing is drawn
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    upper.legend(fontsize=8, loc="upper left")
    lower.bar(middles, count, 0.9 / bins, color=np.where(some, "tab:grey", "lightgrey"))
    lower.set(xlabel="confidence (probability of the predicted class)", ylabel="samples")
    if (count[~some] > 0).any():
        lower.set_title(f"pale: fewer than {FEW} samples, not drawn above", fontsize=8, color="grey", loc="left")
    return figure


def wilson(share: npt.NDArray[np.float64], n: npt.NDArray[np.int64]) -> tuple[Any, Any]:
    """Return the bounds of the 95 % interval of a share of ``n`` (Wilson, "Probable inference", JASA 1927)."""
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - reach, middle + reach


def gallery_figure(
    images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], title: str = "", stamp: str | None = None
) -> Figure:
    """Draw images in a grid, each over its caption.

    Args:
        images: uint8 of shape (H, W) or (H, W, 3), of one shape or nearly.
        captions: What stands below each.
        title: What the gallery is of.
        stamp: What must not be overlooked.
    """
    wide = max(1.0, images[0].shape[1] / images[0].shape[0]) if len(images) else 1.0
    columns = min(round(6 / wide), max(2, len(images))) or 1
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(2.3 * wide * columns, 2.6 * rows + 0.7), layout="constrained")
    figure.suptitle(plain(title, keep="\n"), fontsize=12)
    write_stamp(figure, stamp)
    _images(figure, (rows, columns), images, captions, fontsize=9, y=0, verticalalignment="top", pad=-4)
    return figure


def _images(
    figure: Figure, grid: tuple[int, int], images: Iterable[npt.NDArray[np.uint8]], captions: Sequence[str], **font: Any
) -> None:
    """Draw images in a grid of rows and columns, each with its caption; what is left of the grid stays empty."""
    places = figure.subplots(*grid, squeeze=False).ravel()
    for axes in places:
        axes.set_axis_off()
    for axes, image, caption in zip(places, images, captions, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(plain(caption, keep="\n"), **font)


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
    names = [shortened(classes[label], 12) for label in labels]
    _images(figure, (rows, columns), images, names, fontsize=9, pad=3)
    return figure


def preview_figure(
    images: npt.NDArray[np.uint8],
    augmented: Sequence[npt.NDArray[np.uint8]],
    names: Sequence[str],
    title: str = "",
) -> Figure:
    """Draw images beside what the network gets of them: a row an image, the original first.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        augmented: Several draws of all of them, each uint8 of shape (N, H', W') or (N, H', W', 3).
        names: Each image's class.
        title: What is shown.
    """
    columns = 1 + len(augmented)
    figure = Figure(figsize=(1.15 * columns + 1.4, 1.15 * len(images) + 0.9), layout="constrained")
    figure.suptitle(plain(title, keep="\n"), fontsize=11)
    grid = figure.subplots(len(images), columns, squeeze=False)
    for row, line in enumerate(grid):
        for axes, image in zip(line, [images[row], *(draw[row] for draw in augmented)], strict=True):
            axes.set(xticks=[], yticks=[], frame_on=False)
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        line[0].set_ylabel(shortened(names[row], 16), rotation=0, ha="right", va="center", fontsize=10)
    grid[0, 0].set_title("original", fontsize=10)
    grid[0, 1].set_title("as the network gets it", fontsize=10, loc="left")
    return figure


def curves_figure(
    history: Mapping[str, Sequence[float]],
    monitor: str,
    best_epoch: int | None,
    stamp: str | None = None,
    title: str = "",
) -> Figure:
    """Draw loss, the monitored score and accuracy over the epochs, for training and validation.

    Args:
        history: Column name to one value an epoch (NaN where there is none), with ``epoch``.
        monitor: The score that chose the best checkpoint, drawn beside loss and accuracy.
        best_epoch: The best checkpoint's epoch, marked; None for none.
        stamp: What must not be overlooked.
        title: What was trained, on what.
    """
    scores = list(dict.fromkeys(["loss", "accuracy", monitor.partition("/")[2]]))
    epochs = np.asarray(history["epoch"])
    figure = Figure(figsize=(4.6 * len(scores), 4), layout="constrained")
    plots: FigureBase = figure
    if stamp:  # below the legend
        plots, foot = figure.subfigures(2, 1, squeeze=False, height_ratios=(12, 1)).ravel()
        foot.text(0.5, 0.5, stamp, color="red", fontsize=9, fontweight="bold", ha="center", va="center", wrap=True)
    if title:
        plots.suptitle(plain(title), fontsize=12)
    lines: dict[str, Any] = {}
    for axes, score in zip(plots.subplots(1, len(scores), squeeze=False).flat, scores, strict=True):
        for split, colour in (("train", "tab:blue"), ("val", "tab:orange")):
            if f"{split}/{score}" in history:
                style = {"color": colour, "marker": "o", "markersize": 3}
                label = f"train (while training, {_MEASURED})" if split == "train" else "val"
                lines[label] = axes.plot(epochs, history[f"{split}/{score}"], **style)[0]
        if best_epoch is not None:
            lines[f"best epoch ({best_epoch})"] = axes.axvline(best_epoch, color="grey", linestyle=":")
        axes.set(title=shortened(score.replace("_", " ")), xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
    plots.legend(lines.values(), lines.keys(), fontsize=9, loc="outside lower center", ncols=3)
    return figure


def overlay_figure(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the loss and accuracy curves of several runs over each other: training dashed, validation solid.

    Args:
        histories: Run name to its history, one list a column.
    """
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    figure.suptitle(f"validation solid; training dashed ({_MEASURED})", fontsize=11)
    loss, accuracy = figure.subplots(1, 2)
    for number, (name, history) in enumerate(histories.items()):
        epochs = np.asarray(history["epoch"])
        dot = {"marker": "o"} if len(epochs) == 1 else {}  # a line of one point is none
        for axes, score in ((loss, "loss"), (accuracy, "accuracy")):
            for split, line in (("train", "--"), ("val", "-")):
                if f"{split}/{score}" in history:
                    label = shortened(name, 70) if split == "val" and score == "loss" else None
                    axes.plot(epochs, history[f"{split}/{score}"], line, color=f"C{number % 10}", label=label, **dot)
    for axes, title in ((loss, "loss"), (accuracy, "accuracy")):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)
    return figure


def write_stamp(figure: Figure, text: str | None) -> None:
    """Write across the foot of a figure what must not be overlooked."""
    if text:
        figure.supxlabel(text, color="red", fontsize=9, fontweight="bold", wrap=True)
