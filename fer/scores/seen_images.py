"""Which tested images the model has seen: a checkpoint carries fingerprints of the images that fitted and chose it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer.data import near_copies
from fer.data.base import FERDataModule
from fer.data.fingerprints import fingerprints

KEY = "seen_images"
"""Where a checkpoint holds them."""
SUMMARY = "seen_images_summary"
"""Where there stands, of an export, what it says of them: their numbers, without fingerprints."""
PARENT = "parent"
"""Where it holds what is known of the model whose weights its training began with."""
UNKNOWN = "unknown_before"
"""Among them: that the training began with weights of which nobody can tell what images they have seen."""
_EARLIER = "earlier_"  # before the name of a split: images of earlier stages of the training, no longer in the data


@dataclass(frozen=True)
class Seen:
    """What is known of tested images.

    Attributes:
        fitted: bool of shape (N,), whether the model was fitted to the image or a copy of it.
        exact: bool of shape (N,), whether it was fitted to this very image: same size, same pixels.
        chose: bool of shape (N,), whether the image or a copy of it was among those that chose the checkpoint.
        dataset: The dataset that the model was trained on; None if the checkpoint does not say.
        selected_on_test: Whether the checkpoint was chosen on a test split.
        complete: Whether all images that the model has seen are known.
        summary: Of an export, how many images fitted the model and how many chose it; which ones is then not known.
    """

    fitted: npt.NDArray[np.bool_]
    exact: npt.NDArray[np.bool_]
    chose: npt.NDArray[np.bool_]
    dataset: str | None
    selected_on_test: bool
    complete: bool = True
    summary: tuple[int, int] | None = None

    def counts(self) -> dict[str, Any]:
        """Return what ``metrics.json`` says of it under ``seen``."""
        return {
            "known": self.dataset is not None and self.summary is None,
            "complete": self.complete,
            "trained_on": self.dataset,
            "images": len(self.fitted),
            "in_training": int(self.fitted.sum()),
            "in_training_exactly": int(self.exact.sum()),
            "chose_the_checkpoint": int((self.chose & ~self.fitted).sum()),
            **({} if self.summary is None else {"summary": list(self.summary)}),
        }


def seen_images(datamodule: FERDataModule, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a checkpoint carries: the dataset's name, and the fingerprints of its train and val images.

    Some 100 bytes an image, from which no image can be restored.

    Args:
        datamodule: The data that the model is trained on now.
        before: What the checkpoint carries that the training went on from, or began with: its images stay known.
    """
    images = datamodule.samples.images
    chosen_on_test = datamodule.select_on_test or bool((before or {}).get("selected_on_test"))
    carried: dict[str, Any] = {"dataset": datamodule.name, "selected_on_test": chosen_on_test}
    for split in ("train", "val"):
        now = fingerprints(images, datamodule.rows(split))
        carried[split] = torch.from_numpy(now)
        earlier = _ever(before or {}, split)
        if len(earlier := earlier[~near_copies.exact_matches(earlier, now)]):
            carried[_EARLIER + split] = torch.from_numpy(earlier)
    if (before or {}).get(UNKNOWN):
        carried[UNKNOWN] = True
    return carried


def earlier(carried: Mapping[str, Any]) -> int:
    """Return how many images fitted the model in earlier stages of its training, and no longer do."""
    return len(carried.get(_EARLIER + "train", ()))


def _ever(carried: Mapping[str, Any], split: str) -> npt.NDArray[np.uint8]:
    """Return the fingerprints of a split's images, now and in earlier stages of the training."""
    parts = [carried[key].numpy() for key in (split, _EARLIER + split) if key in carried]
    return np.concatenate(parts) if parts else fingerprints(np.empty((0, 1, 1), dtype=np.uint8))


def merged(several: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Return what several checkpoints carry, as if of one that saw all of their images; None if all carry nothing.

    Args:
        several: What stands at :data:`KEY` in each, None for one that carries nothing.
    """
    carried = [one for one in several if one is not None]
    if not carried:
        return None
    found: dict[str, Any] = {
        "dataset": ", ".join(dict.fromkeys(one["dataset"] for one in carried if "dataset" in one)) or "unknown",
        "selected_on_test": any(one.get("selected_on_test", False) for one in carried),
    }
    for split in ("train", "val"):
        prints = np.concatenate([_ever(one, split) for one in carried])
        found[split] = torch.from_numpy(np.unique(prints, axis=0))
    if len(carried) < len(several) or any(one.get(UNKNOWN) for one in carried):
        found[UNKNOWN] = True
    return found


def find(checkpoint: Mapping[str, Any], images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> Seen:
    """Look for tested images among those that a checkpoint was trained and chosen on.

    Args:
        checkpoint: From :func:`fer.training.checkpoint_content.load_checkpoint`; or of an export, its :data:`SUMMARY`.
        images: The tested dataset's images, uint8 of shape (M, H, W) or (M, H, W, 3).
        rows: int64 of shape (N,), which of them are tested.
    """
    carried = checkpoint.get(KEY)
    if carried is None:
        nothing = np.zeros(len(rows), dtype=np.bool_)
        said = checkpoint.get(SUMMARY)
        said = said if isinstance(said, Mapping) else {}
        fitted, chose = said.get("fitted"), said.get("chose")
        if not (isinstance(said.get("dataset"), str) and isinstance(fitted, int) and isinstance(chose, int)):
            return Seen(nothing, nothing, nothing, None, False)
        on_test = bool(said.get("selected_on_test"))
        return Seen(nothing, nothing, nothing, said["dataset"], on_test, False, (fitted, chose))
    prints = fingerprints(images, rows)
    fitted, chose = (near_copies.matches(prints, _ever(carried, split)) for split in ("train", "val"))
    exact = near_copies.exact_matches(prints, _ever(carried, "train"))
    complete = not carried.get(UNKNOWN, False)
    return Seen(fitted, exact, chose, carried["dataset"], carried["selected_on_test"], complete)
