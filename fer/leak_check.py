"""Which tested images the model has seen: a checkpoint carries fingerprints of the images that fitted and chose it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer import leaks
from fer.data.base import FERDataModule

KEY = "seen_images"
"""Where a checkpoint holds them."""


@dataclass(frozen=True)
class Seen:
    """What is known of tested images.

    Attributes:
        fitted: bool of shape (N,), whether the model was fitted to the image or a copy of it.
        exact: bool of shape (N,), whether it was fitted to this very image: same size, same pixels.
        chose: bool of shape (N,), whether the image or a copy of it was among those that chose the checkpoint.
        dataset: The dataset that the model was trained on; None if the checkpoint does not say.
        selected_on_test: Whether the checkpoint was chosen on a test split.
    """

    fitted: npt.NDArray[np.bool_]
    exact: npt.NDArray[np.bool_]
    chose: npt.NDArray[np.bool_]
    dataset: str | None
    selected_on_test: bool


def seen_images(datamodule: FERDataModule) -> dict[str, Any]:
    """Return what a checkpoint carries: the dataset's name, and the fingerprints of its train and val images.

    Some 100 bytes an image, from which no image can be restored.
    """
    images = datamodule.samples.images
    prints = {split: torch.from_numpy(leaks.fingerprints(images, datamodule.rows(split))) for split in ("train", "val")}
    return {"dataset": datamodule.name, "selected_on_test": datamodule.select_on_test, **prints}


def find(checkpoint: Mapping[str, Any], images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> Seen:
    """Look for tested images among those that a checkpoint was trained and chosen on.

    Args:
        checkpoint: From :func:`fer.checkpoint.load_checkpoint`.
        images: The tested dataset's images, uint8 of shape (M, H, W) or (M, H, W, 3).
        rows: int64 of shape (N,), which of them are tested.
    """
    carried = checkpoint.get(KEY)
    if carried is None:
        nothing = np.zeros(len(rows), dtype=np.bool_)
        return Seen(nothing, nothing, nothing, None, False)
    prints = leaks.fingerprints(images, rows)
    fitted, chose = (leaks.matches(prints, carried[split].numpy()) for split in ("train", "val"))
    exact = leaks.exact_matches(prints, carried["train"].numpy())
    return Seen(fitted, exact, chose, carried["dataset"], carried["selected_on_test"])
