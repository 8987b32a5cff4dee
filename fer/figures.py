"""Every picture that a run leaves or shows. Matplotlib without a display, one function a figure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer.data.samples import SPLITS
from fer.study import Axis

matplotlib.rcParams["text.parse_math"] = False  # in a name, "$" begins no formula


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
    figure = Figure(figsize=(side + 0.4, side), layout="constrained")
    _stamp(figure, stamp)
    axes = figure.subplots()
    _confusion(axes, counts, classes, small=False)
    if title:
        axes.set_title(title, fontsize=11)
    return figure


def _confusion(axes: Axes, counts: npt.NDArray[np.int64], classes: Sequence[str], small: bool) -> None:
    """Draw one confusion matrix; a small one without its counts."""
    share = counts / np.maximum(1, counts.sum(1, keepdims=True))
    ticks = 8 if small else 10
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=ticks)
    axes.set_yticks(range(len(classes)), classes, fontsize=ticks)
    axes.set(xlabel="predicted", ylabel="true")
    for (row, column), part in np.ndenumerate(share):
        text = f"{100 * part:.0f}" if small else f"{100 * part:.0f} %\n{counts[row, column]:,}"
        colour = "white" if part > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=7 if small else 8, color=colour)


def reliability_figure(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    ece: float,
    bins: int,
    title: str = "",
    stamp: str | None = None,
) -> Figure:
    """Draw how often a model is right against how sure it is, and how many samples are that sure.

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
    accuracy = np.bincount(place, right, minlength=bins) / np.maximum(1, count)
    mean = np.bincount(place, confidence, minlength=bins) / np.maximum(1, count)
    some = count > 0
    figure = Figure(figsize=(5, 6), layout="constrained")
    _stamp(figure, stamp)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as sure as right")
    upper.bar((np.arange(bins) + 0.5) / bins, accuracy, 0.9 / bins, color="tab:blue", alpha=0.35)
    upper.plot(mean[some], accuracy[some], marker="o", color="tab:blue", label="this model")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=f"{title}\nexpected calibration error {ece:.3f}")
    upper.legend(fontsize=8, loc="upper left")
    lower.bar((np.arange(bins) + 0.5) / bins, count, 0.9 / bins, color="tab:grey")
    lower.set(xlabel="confidence (probability of the predicted class)", ylabel="samples")
    return figure


def gallery_figure(
    images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], title: str = "", stamp: str | None = None
) -> Figure:
    """Draw images in a grid, each over its caption.

    Args:
        images: uint8 of shape (H, W) or (H, W, 3).
        captions: What stands below each.
        title: What the gallery is of.
        stamp: What must not be overlooked.
    """
    columns = min(6, max(1, len(images)))
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(2.2 * columns, 2.5 * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=11)
    _stamp(figure, stamp)
    _images(figure, (rows, columns), images, captions, fontsize=7, y=0, verticalalignment="top", pad=-4)
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
        axes.set_title(caption, **font)


def shortened(name: str, length: int = 34) -> str:
    """Return the end of a sample's id, short enough to stand below its image."""
    return name if len(name) <= length else "..." + name[-length + 3 :]


def overlay_figure(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the loss and accuracy curves of several runs over each other: training dashed, validation solid.

    Args:
        histories: Run name to its history, one list a column.
    """
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for number, (name, history) in enumerate(histories.items()):
        epochs = np.asarray(history["epoch"])
        for axes, score in ((loss, "loss"), (accuracy, "accuracy")):
            for split, line in (("train", "--"), ("val", "-")):
                if f"{split}/{score}" in history:
                    label = name if split == "val" and score == "loss" else None
                    axes.plot(epochs, history[f"{split}/{score}"], line, color=f"C{number % 10}", label=label)
    for axes, title in ((loss, "loss"), (accuracy, "accuracy")):
        axes.set(title=f"{title} (training dashed, validation solid)", xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)
    return figure


def confusions_figure(matrices: Sequence[tuple[str, Sequence[Sequence[int]], Sequence[str]]]) -> Figure:
    """Draw confusion matrices side by side, as shares of the true class.

    Args:
        matrices: Title, counts (C, C) with true classes in rows, and class names of each.
    """
    columns = min(3, max(1, len(matrices)))
    rows = max(1, -(-len(matrices) // columns))
    figure = Figure(figsize=(4.6 * columns, 4.8 * rows), layout="constrained")
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if number >= len(matrices):
            axes.set_axis_off()
            continue
        title, values, classes = matrices[number]
        _confusion(axes, np.asarray(values), classes, small=True)
        axes.set_title(title, fontsize=8)
    return figure


def _stamp(figure: Figure, text: str | None) -> None:
    """Write across the foot of a figure what must not be overlooked."""
    if text:
        figure.supxlabel(text, color="red", fontsize=9, fontweight="bold", wrap=True)


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
    _images(figure, (rows, columns), images, [classes[label] for label in labels], fontsize=9, pad=3)
    return figure


def curves_figure(
    history: Mapping[str, Sequence[float]], monitor: str, best_epoch: int | None, stamp: str | None = None
) -> Figure:
    """Draw loss, the monitored score and accuracy over the epochs, for training and validation.

    Args:
        history: Column name to one value an epoch (NaN where there is none), with ``epoch``.
        monitor: The score that chose the best checkpoint, drawn beside loss and accuracy.
        best_epoch: The best checkpoint's epoch, marked; None for none.
        stamp: What must not be overlooked.
    """
    scores = list(dict.fromkeys(["loss", "accuracy", monitor.partition("/")[2]]))
    epochs = np.asarray(history["epoch"])
    figure = Figure(figsize=(4.6 * len(scores), 3.6), layout="constrained")
    _stamp(figure, stamp)
    for axes, score in zip(figure.subplots(1, len(scores), squeeze=False).flat, scores, strict=True):
        for split, colour in (("train", "tab:blue"), ("val", "tab:orange")):
            if f"{split}/{score}" in history:
                style = {"color": colour, "label": split, "marker": "o", "markersize": 3}
                axes.plot(epochs, history[f"{split}/{score}"], **style)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best epoch ({best_epoch})")
        axes.set(title=score.replace("_", " "), xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


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
    axes.set_xticks(range(len(classes)), classes)
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
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
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
    axes.set_xticks(range(1, len(classes) + 1), classes)
    axes.set(ylabel="brightness (mean pixel)", ylim=(0, 1))
    return figure


def groups_figure(
    groups: Sequence[Sequence[npt.NDArray[np.uint8]]], captions: Sequence[Sequence[str]], columns: int = 3
) -> Figure:
    """Draw groups of images that belong together, the images of a group side by side.

    Args:
        groups: For each group, its images, uint8 of shape (H, W) or (H, W, 3).
        captions: For each group, the lines below it.
        columns: Number of groups beside each other.
    """
    rows = max(1, -(-len(groups) // columns))
    lines = max((len(text) for text in captions), default=0)
    figure = Figure(figsize=(3.6 * columns, (1.35 + 0.13 * lines) * rows), layout="constrained")
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if number >= len(groups):
            continue
        left = 0.0
        for image in groups[number]:
            width = image.shape[1] / image.shape[0]  # each is 1 high, whatever its size
            axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(left, left + width, 0, 1))
            left += width + 0.06
        axes.set(xlim=(0, max(left, 3.18)), ylim=(0, 1), aspect="equal")
        axes.text(0, -0.05, "\n".join(captions[number]), fontsize=6.5, va="top", family="monospace")
    return figure


def parallel_coordinates_figure(axes: Sequence[Axis], score: Axis) -> Figure:
    """Draw each job of a sweep as a line through its choices to its score, coloured by the score.

    Args:
        axes: The choices.
        score: The score, drawn last.
    """
    scales = [*axes, score]
    figure = Figure(figsize=(2.2 + 1.5 * len(scales), 5), layout="constrained")
    plot = figure.subplots()
    colours = colormaps["viridis"]
    for job in np.argsort(score.places, kind="stable"):  # the best ones on top
        places = [scale.places[job] for scale in scales]
        plot.plot(places, color=colours(score.places[job]), linewidth=1 + 1.5 * score.places[job], alpha=0.8)
    for position, scale in enumerate(scales):
        plot.axvline(position, color="black", linewidth=0.8)
        for place, label in scale.ticks:
            plot.annotate(
                label, (position, place), (4, 0), textcoords="offset points", va="center", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
            )  # fmt: skip
    plot.set_xticks(range(len(scales)), [scale.name for scale in scales], rotation=25, ha="right")
    plot.set(xlim=(-0.1, len(scales) - 0.5), ylim=(-0.05, 1.05), yticks=[])
    plot.spines[:].set_visible(False)
    return figure


def importance_figure(importances: Mapping[str, float], title: str) -> Figure:
    """Draw a bar for each choice of a sweep: how much of the score it explains.

    Args:
        importances: Config key to its share, the largest first.
        title: What the bars are of.
    """
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(importances)), layout="constrained")
    plot = figure.subplots()
    names, shares = list(importances), [100 * share for share in importances.values()]
    plot.bar_label(plot.barh(names, shares), fmt="%.0f %%", padding=3, fontsize=9)
    plot.invert_yaxis()
    plot.set(xlim=(0, 1.12 * max(1.0, *shares)), xlabel="share of importance (%)")
    plot.set_title(title, fontsize=11)
    plot.spines[["top", "right"]].set_visible(False)
    return figure
