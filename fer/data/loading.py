"""From a split's rows to batches: what a DataLoader is given."""

import multiprocessing
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.util import Finalize
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fer.data.augment import Augment
from fer.data.augment_on_device import AugmentOnDevice
from fer.data.corruptions import Corruption
from fer.data.samples import Samples
from fer.data.sampling import Batch, EvalBatches, TrainBatches
from fer.data.streamed import Streamed
from fer.environment import usable_cores

_ENDS_IN = 1.0  # seconds


class ImageDataset(Dataset[dict[str, Tensor]]):
    """One split, read and augmented a batch at a time.

    Args:
        samples: The whole dataset.
        rows: int64 of shape (N,), this split's rows in it.
        augment: What is done to training images; None for none. On the device it is done once they are there.
        draw_targets: Draw one label of each sample's distribution of votes, instead of handing on the distribution.
        features: float32 of shape (M, D), what a frozen backbone makes of the images of all splits; None for none.
        corruptions: Ways in which the images are made worse before anything else: the whole split in the first way,
            then in the next; none for the images as they are.
    """

    def __init__(
        self,
        samples: Samples,
        rows: npt.NDArray[np.int64],
        augment: Augment | AugmentOnDevice | None = None,
        draw_targets: bool = False,
        features: npt.NDArray[np.float32] | None = None,
        corruptions: Sequence[Corruption] = (),
    ) -> None:
        self.samples, self.rows, self.augment, self.draw_targets = samples, rows, augment, draw_targets
        self.features, self.corruptions = features, corruptions
        if features is not None:
            self.places = np.searchsorted(np.flatnonzero(samples.splits != ""), rows)  # of the rows in the features

    def __len__(self) -> int:
        return len(self.rows) * max(1, len(self.corruptions))

    def __getitems__(self, batch: Batch) -> dict[str, Any]:
        """Return ``image`` uint8 (B, H, W[, 3]), ``label`` int64 (B,), and ``row`` int64 (B,) in the samples.

        With several raters' votes there is a ``target`` too: float32 (B, C), a distribution; where the device
        augments, ``seed``, the batch's.
        """
        ways, places = np.divmod(batch.indices, len(self.rows))
        rows = self.rows[places]
        images = self.samples.images[rows]  # a copy, also of a memory map
        for way in np.unique(ways) if self.corruptions else ():
            here = ways == way
            images[here] = self.corruptions[way](images[here], self.samples.ids[rows[here]].tolist())
        if isinstance(self.augment, Augment):
            images = self.augment(images, batch.seed)
        item: dict[str, Any] = {
            "image": torch.from_numpy(np.ascontiguousarray(images)),
            "label": torch.from_numpy(self.samples.labels[rows]),
            "row": torch.from_numpy(rows),
        }
        if isinstance(self.augment, AugmentOnDevice):
            item["seed"] = batch.seed  # no tensor, which a GPU would have to give back
        if self.samples.targets is not None:
            target = self.samples.targets[rows]
            if self.draw_targets and batch.seed:
                target = _draw(target, np.random.default_rng([*batch.seed, 1]))
            item["target"] = torch.from_numpy(target)
        if self.features is not None:
            item["features"] = torch.from_numpy(self.features[self.places[places]])
        return item


def _draw(target: npt.NDArray[np.float32], generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw one class of each distribution; returns float32 of the same shape, one 1 in each row."""
    above = target.cumsum(1)
    chosen = (generator.random((len(target), 1)) * above[:, -1:] < above).argmax(1)
    drawn: npt.NDArray[np.float32] = np.eye(target.shape[1], dtype=np.float32)[chosen]
    return drawn


def loader(
    dataset: ImageDataset, batches: TrainBatches | EvalBatches, workers: int | None
) -> DataLoader[dict[str, Tensor]]:
    """Return the loader of a split.

    Args:
        dataset: The split.
        batches: Which of its samples each batch has.
        workers: Processes that load; None for one per core (at most 8) where images are decoded or changed, else 0:
            then a batch is one copy, to which a worker would only add its transport.
    """
    if workers is None:
        streamed = isinstance(dataset.samples.images, Streamed)
        work = streamed or isinstance(dataset.augment, Augment) or dataset.corruptions
        workers = min(8, usable_cores()) if work else 0
    return DataLoader(
        dataset,
        batch_sampler=cast(Any, batches),  # of whole batches, which torch's types do not foresee
        num_workers=workers,
        collate_fn=cast(Any, as_is),
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_parent,
        # Forked workers share the parent's memory and imports; Python 3.14 would start them afresh.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )


def _leave_signals_to_parent(worker_id: int) -> None:
    """Keep a worker alive through Ctrl-C and SIGTERM, which reach the whole process group: the parent ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_loaders() -> None:
    daemons = [child for child in multiprocessing.active_children() if child.daemon]
    for child in daemons:
        child.terminate()  # for those that are not ours, and do something then
    until = time.monotonic() + _ENDS_IN
    for child in daemons:
        child.join(max(0, until - time.monotonic()))
        if child.is_alive():
            child.kill()


# At its exit Python sends SIGTERM to daemons and waits for them: for ever for a worker, which leaves it to its parent.
Finalize(None, _end_loaders, exitpriority=0)


def as_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch that is whole already: nothing is left to collate."""
    return batch
