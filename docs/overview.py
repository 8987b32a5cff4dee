"""Draw docs/overview.png from a run's folder: ``python docs/overview.py outputs/<name>/<time>``."""

import sys
from pathlib import Path

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure

from fer.data.faces import generate
from fer.data.labels import BASIC


def main(run: Path) -> None:
    """Put drawn faces beside the run's own figures."""
    images, labels = generate(2000, seed=0)
    figure = Figure(figsize=(13, 6.4), layout="constrained")
    faces, results = figure.subfigures(1, 2, width_ratios=[1, 1])
    for axes, number in zip(faces.subplots(7, 7).flat, range(49), strict=True):
        axes.set_axis_off()
        label = number // 7
        axes.imshow(images[np.flatnonzero(labels == label)[number % 7 + 3]], cmap="gray", vmin=0, vmax=255)
        if number % 7 == 3:
            axes.set_title(BASIC[label], fontsize=10, pad=2)
    top, bottom = results.subplots(2, 1, height_ratios=[1, 2.2])
    for axes, name in ((top, "curves.png"), (bottom, "confusion.png")):
        axes.set_axis_off()
        axes.imshow(matplotlib.image.imread(run / name), interpolation="antialiased")
    figure.savefig(Path(__file__).with_name("overview.png"), dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
