"""Pictures of a test on corrupted images."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fer.display import plain
from fer.plots.figures import write_stamp
from fer.plots.tables import shortened

_LEAST = 0.035  # of the height between two names


def strengths_figure(
    accuracy: Mapping[str, Sequence[float]], clean: float, mean: float, title: str = "", stamp: str | None = None
) -> Figure:
    """Draw accuracy against the strength of each kind of corruption.

    Args:
        accuracy: Kind to its accuracies, from strength 1 on.
        clean: Accuracy of the images as they are, drawn at strength 0.
        mean: Mean corruption accuracy, drawn as a line.
        title: What was tested.
        stamp: What must not be overlooked.
    """
    figure = Figure(figsize=(6.6, 4.8), layout="constrained")
    figure.suptitle(plain(title, keep="\n"), fontsize=11)
    write_stamp(figure, stamp)
    axes = figure.subplots()
    last = max(len(values) for values in accuracy.values())
    ends = {kind: values[-1] for kind, values in accuracy.items()}
    low = min(min(values) for values in accuracy.values())
    high = max(clean, *(max(values) for values in accuracy.values()))
    axes.set_ylim(max(0.0, low - 0.06), min(1.02, high + 0.06))
    bottom, top = axes.get_ylim()
    places = _apart(ends, _LEAST * (top - bottom))
    for number, (kind, values) in enumerate(accuracy.items()):
        colour = f"C{number}"
        axes.plot(range(len(values) + 1), [clean, *values], color=colour, marker="o", markersize=3.5)
        name = kind.replace("_", " ")
        axes.text(last + 0.15, places[kind], name, color=colour, fontsize=9, va="center")
    axes.plot([0, last], [mean, mean], color="grey", linestyle=":")
    axes.text(0, mean, f"mean {mean:.3f}", color="grey", fontsize=9, va="bottom")
    axes.set(xlim=(-0.1, last + 1.25), xlabel="strength of the corruption (0: none)", ylabel="accuracy")
    axes.set_xticks(range(last + 1))
    axes.grid(alpha=0.3)
    return figure


def _apart(heights: Mapping[str, float], least: float) -> dict[str, float]:
    """Move names that stand too close to each other apart, keeping their order and the middle of each heap."""
    names = sorted(heights, key=lambda name: heights[name])
    heaps: list[tuple[list[str], float]] = []  # and the middle of each
    for name in names:
        heap, middle = [name], heights[name]
        while heaps and middle - least * (len(heap) - 1) / 2 - heaps[-1][1] < least * (len(heaps[-1][0]) + 1) / 2:
            before, other = heaps.pop()
            middle = (middle * len(heap) + other * len(before)) / (len(heap) + len(before))
            heap = before + heap
        heaps.append((heap, middle))
    return {
        name: middle + least * (place - (len(heap) - 1) / 2)
        for heap, middle in heaps
        for place, name in enumerate(heap)
    }


def forms_figure(
    image: npt.NDArray[np.uint8], forms: Mapping[str, Sequence[npt.NDArray[np.uint8]]], name: str
) -> Figure:
    """Draw an image in its corrupted forms: a row a kind, a column a strength, the image itself first.

    Args:
        image: uint8 of shape (H, W) or (H, W, 3).
        forms: Kind to the image at its strengths, each of the same shape.
        name: The image's id.
    """
    columns = 1 + max(len(row) for row in forms.values())
    figure = Figure(figsize=(1.15 * columns + 1.3, 1.15 * len(forms) + 0.8), layout="constrained")
    figure.suptitle(f"{shortened(name)}: what is meant by each kind and strength", fontsize=11)
    grid = figure.subplots(len(forms), columns, squeeze=False)
    for line, (kind, row) in zip(grid, forms.items(), strict=True):
        for axes, shown in zip(line, [image, *row], strict=True):
            axes.set(xticks=[], yticks=[], frame_on=False)
            axes.imshow(shown, cmap="gray", vmin=0, vmax=255)
        line[0].set_ylabel(kind.replace("_", " "), rotation=0, ha="right", va="center", fontsize=10)
    for number, axes in enumerate(grid[0]):
        axes.set_title(str(number) if number else "none", fontsize=10)
    return figure
