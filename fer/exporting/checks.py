"""Is an export the same model? Compared with torch on real images and on other sizes, and timed beside it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer.data.base import FERDataModule
from fer.predicting.exported import ExportedNetwork
from fer.scores.calibration import calibrated
from fer.training.module import FERModule

Network = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""uint8 (B, H, W, 3) to probabilities, float32 (B, C)."""

BATCHES = (1, 64)
_SECONDS = 1.0  # of timing, for each network and batch size
_SHAPES = ((1, 1.0), (3, 1.6), (2, 0.5))  # batch sizes, and heights over widths, of the made-up images


@dataclass(frozen=True)
class Comparison:
    """An export beside torch.

    Attributes:
        images: Number of real images compared.
        difference: The largest difference in probability.
        agree: Share of the real images that get the same class.
        milliseconds: Median time of one batch of each of :data:`BATCHES`: of torch and of the export.
    """

    images: int
    difference: float
    agree: float
    milliseconds: dict[int, tuple[float, float]]


def in_torch(module: FERModule | ExportedNetwork, temperature: float = 1.0) -> Network:
    """Return the trained network, calibrated by its temperature, as a function of RGB images."""
    if isinstance(module, ExportedNetwork):  # which is calibrated already
        return of(module)

    def probabilities(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return calibrated(module.probabilities(torch.from_numpy(images)).numpy(), temperature)

    return probabilities


def of(network: Any) -> Network:
    """Return an exported model as a function of RGB images.

    Args:
        network: A :class:`fer.predicting.exported.ExportedNetwork`.
    """

    def probabilities(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return network.probabilities(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]

    return probabilities


def of_torch_export(path: Path) -> Network:
    """Return a ``model.pt2`` that was just written as a function of RGB images."""
    graph = torch.export.load(path).module()

    def probabilities(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return graph(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]

    return probabilities


def rgb(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return images (N, H, W) or (N, H, W, 3) with three channels, as exports take them."""
    return np.repeat(images[..., None], 3, axis=3) if images.ndim == 3 else images


def rows_to_compare(datamodule: FERDataModule, most: int) -> npt.NDArray[np.int64]:
    """Return at most so many rows of the validation split, evenly spread."""
    rows = datamodule.rows("val")
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)]


def answers(network: Network, images: npt.NDArray[np.uint8], rows: Sequence[int] | npt.NDArray[np.int64]) -> Any:
    """Apply a network to some of many images, in batches.

    Returns:
        Probabilities, float32 of shape (N, C).
    """
    parts = [network(rgb(images[rows[start : start + 64]])) for start in range(0, len(rows), 64)]
    return np.concatenate(parts)


def compare(
    reference: Network, exported: Network, images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], size: int
) -> Comparison:
    """Compare an export with torch on real images, and on noise of other sizes and shapes.

    Args:
        reference: The network in torch.
        exported: The export.
        images: uint8 of shape (M, H, W) or (M, H, W, 3).
        rows: int64 of shape (N,), which of them.
        size: Side of the network's input in pixels.
    """
    expected, got = (answers(network, images, rows) for network in (reference, exported))
    difference = float(np.abs(expected - got).max())
    random = np.random.default_rng(0)
    for batch, ratio in _SHAPES:
        shape = (batch, max(8, round(size * ratio)), size + 5, 3)
        noise = random.integers(0, 256, shape, dtype=np.uint8)
        difference = max(difference, float(np.abs(reference(noise) - exported(noise)).max()))
    some = rgb(images[rows[:1]])
    times = {}
    for batch in BATCHES:
        repeated = np.repeat(some, batch, axis=0)
        times[batch] = (_milliseconds(reference, repeated), _milliseconds(exported, repeated))
    agree = float((expected.argmax(1) == got.argmax(1)).mean())
    return Comparison(len(rows), difference, agree, times)


def _milliseconds(network: Network, images: npt.NDArray[np.uint8]) -> float:
    network(images)
    network(images)
    taken: list[float] = []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end or len(taken) < 3:
        start = time.perf_counter()
        network(images)
        taken.append(1000 * (time.perf_counter() - start))
    return median(taken)
