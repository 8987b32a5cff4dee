"""The README's picture, docs/overview.png, from the default run: ``python -m benchmarks readme`` (some minutes).

No measurement, so ``python -m benchmarks`` alone leaves it out.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from fer.data.labels import BASIC
from fer.datasets.synthetic_faces import generate

REPO = Path(__file__).parents[1]


def make(console: Console) -> None:
    """Train as ``python -m fer.train`` does, and draw what comes out."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        subprocess.run([sys.executable, "-m", "fer.train"], cwd=folder, env=environment, check=True)
        (run,) = Path(folder).glob("outputs/*/*")
        draw(run, REPO / "docs" / "overview.png")
    console.print("drawn: docs/overview.png. The README quotes the table above: compare the two.")


def draw(run: Path, path: Path) -> None:
    """Put drawn faces beside a run's own figures.

    Args:
        run: The run's folder.
        path: The picture.
    """
    images, labels = generate(2000, seed=0)
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    faces, results = figure.subfigures(1, 2, width_ratios=[1, 1.05])
    for axes, number in zip(faces.subplots(7, 7).flat, range(49), strict=True):
        axes.set_axis_off()
        label = number // 7
        axes.imshow(images[np.flatnonzero(labels == label)[number % 7 + 3]], cmap="gray", vmin=0, vmax=255)
        if number % 7 == 3:
            axes.set_title(BASIC[label], fontsize=10, pad=2)
    pictures = [matplotlib.image.imread(run / name) for name in ("curves.png", "confusion.png")]
    for axes, picture in zip(results.subplots(2, 1, height_ratios=(1, 2)), pictures, strict=True):
        axes.set_axis_off()
        axes.imshow(picture, interpolation="antialiased")
    figure.savefig(path, dpi=100)
