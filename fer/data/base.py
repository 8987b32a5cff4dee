"""The LightningDataModule that every dataset shares: splits, class selection, loaders."""

import hashlib
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fer.data.cache import default_cache_dir
from fer.data.labels import canonical
from fer.data.samples import SPLITS, Samples
from fer.data.sampling import Batch, EvalBatches, TrainBatches
from fer.data.transforms import Augment
from fer.errors import ConfigError, DatasetError, did_you_mean

log = logging.getLogger(__name__)


class ImageDataset(Dataset[dict[str, Tensor]]):
    """One split, read and augmented a batch at a time.

    Args:
        samples: The whole dataset.
        rows: int64 of shape (N,), this split's rows in it.
        augment: What is done to training images; None for none.
    """

    def __init__(self, samples: Samples, rows: npt.NDArray[np.int64], augment: Augment | None = None) -> None:
        self.samples, self.rows, self.augment = samples, rows, augment

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``image`` uint8 (B, H, W[, 3]), ``label`` int64 (B,), and ``row`` int64 (B,) in the samples."""
        rows = self.rows[batch.indices]
        images = self.samples.images[rows]  # a copy, also of a memory map
        if self.augment:
            images = self.augment(images, batch.seed)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(images)),
            "label": torch.from_numpy(self.samples.labels[rows]),
            "row": torch.from_numpy(rows),
        }


def _leave_signals_to_parent(worker_id: int) -> None:
    """Keep a worker alive through Ctrl-C and SIGTERM, which reach the whole process group: the parent ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _as_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return batch


class FERDataModule(pl.LightningDataModule):
    """Base of every dataset: a subclass sets ``name`` and reads its files in :meth:`read`.

    Args:
        classes: Train on these emotions alone, in this label order; None for all of the dataset's.
        image_size: Side of the network's input in pixels; None for the backbone's or the dataset's own.
        channels: 1 for grey, 3 for RGB; None for the backbone's or the dataset's own.
        mean: Mean of the images in [0, 1], one number or one per channel; None for the backbone's, else 0.5.
        std: Their standard deviation; None for the backbone's, else 0.25.
        val_fraction: Share of the training images that becomes the validation split where the dataset has none.
        test_fraction: Share of them that becomes the test split where the dataset has none; 0 for no test.
        batch_size: Global batch size, shared by all devices.
        num_workers: Loader processes of each device; None for one per core (at most 8) with augmentation, else 0.
        sampler: ``shuffle``, or ``weighted`` to draw every class equally often, with replacement.
        cache_dir: Where decoded images are kept; None for ``~/.cache/fer``.
        seed: Seeds carving, order and augmentation.
        transforms: The ``transforms`` group: augmentation of training images.

    Raises:
        ConfigError: If an option's value is not possible.
    """

    name = "dataset"

    def __init__(
        self,
        classes: Sequence[str] | None = None,
        image_size: int | None = None,
        channels: int | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        batch_size: int = 64,
        num_workers: int | None = None,
        sampler: str = "shuffle",
        cache_dir: str | None = None,
        seed: int = 0,
        transforms: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else default_cache_dir()
        self.wanted = [canonical(name) for name in classes] if classes else None
        self.image_size, self.channels, self.mean, self.std = image_size, channels, mean, std
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.batch_size, self.num_workers = batch_size, num_workers
        self.sampler, self.seed = sampler, seed
        self.augment = Augment(transforms or {})
        self._samples: Samples | None = None

    def read(self) -> Samples:
        """Read the dataset's files (from the cache, after the first time)."""
        raise TypeError(f"{type(self).__name__} does not say how it is read.")

    def setup(self, stage: str) -> None:
        """Read, select classes and carve missing splits; once, whatever the stage."""
        if self._samples is None:
            samples = select_classes(self.read(), self.wanted, self.name)
            samples = carve(samples, self.val_fraction, self.test_fraction, self.seed, self.name)
            check_splits(samples, self.name)
            self._samples = samples

    @property
    def samples(self) -> Samples:
        """All splits; reads the dataset if that has not been done."""
        self.setup("fit")
        assert self._samples is not None
        return self._samples

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.samples.classes

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the rows of a split, int64 of shape (N,)."""
        return np.flatnonzero(self.samples.splits == split)

    def class_counts(self, split: str) -> npt.NDArray[np.int64]:
        """Return the number of images of each class in a split, int64 of shape (C,)."""
        return np.bincount(self.samples.labels[self.rows(split)], minlength=len(self.classes))

    @property
    def input_options(self) -> dict[str, Any]:
        """What :func:`fer.preprocessing.resolve` needs to know of the data."""
        images = self.samples.images
        return {
            "image_size": self.image_size,
            "channels": self.channels,
            "mean": self.mean,
            "std": self.std,
            "native_size": images.shape[1],
            "native_channels": 1 if images.ndim == 3 else 3,
        }

    def train_batches(self, rank: int = 0, world_size: int = 1, epoch: int = 0, start: int = 0) -> TrainBatches:
        """Return the training split's batches, from batch ``start`` of ``epoch`` on."""
        weights = None
        if self.sampler == "weighted":
            weights = (1.0 / np.maximum(1, self.class_counts("train")))[self.samples.labels[self.rows("train")]]
        return TrainBatches(
            len(self.rows("train")), self.batch_size, self.seed, rank, world_size, weights, epoch, start
        )

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the augmenting, shuffling loader of the training split.

        Raises:
            ConfigError: If the global batch cannot be shared equally by the devices.
        """
        rank, world_size, epoch, start = 0, 1, 0, 0
        if self.trainer:
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
            if self.batch_size % world_size:
                raise ConfigError(
                    f"data.batch_size={self.batch_size} is the global batch and must be a multiple of the number of "
                    f"devices ({world_size}), for example {max(1, self.batch_size // world_size) * world_size}."
                )
            # In a resumed run the loop's progress is restored before the loader is made.
            epoch = cast(Any, self.trainer.fit_loop.epoch_progress.current).processed
            start = cast(Any, self.trainer.fit_loop.epoch_loop.batch_progress.current).processed
        batches = self.train_batches(rank, world_size, epoch)
        if start < len(batches):
            batches = self.train_batches(rank, world_size, epoch, start)
        return self._loader("train", batches, self.augment if len(self.augment) else None)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the loader of the validation split, in order."""
        return self.eval_dataloader("val")

    def eval_dataloader(self, split: str) -> DataLoader[dict[str, Tensor]]:
        """Return a split's loader: every sample once, in order, without augmentation."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return self._loader(split, EvalBatches(len(self.rows(split)), self.batch_size, rank, world_size), None)

    def _loader(
        self, split: str, batches: TrainBatches | EvalBatches, augment: Augment | None
    ) -> DataLoader[dict[str, Tensor]]:
        workers = self.num_workers
        if workers is None:
            # A batch without augmentation is one copy: a worker would only add its transport.
            workers = min(8, len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)
            workers = workers if augment else 0
        return DataLoader(
            ImageDataset(self.samples, self.rows(split), augment),
            batch_sampler=cast(Any, batches),  # of whole batches, which torch's types do not foresee
            num_workers=workers,
            collate_fn=cast(Any, _as_is),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            worker_init_fn=_leave_signals_to_parent,
            # Forked workers share the parent's memory and imports; Python 3.14 would start them afresh.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        )


def select_classes(samples: Samples, wanted: Sequence[str] | None, name: str) -> Samples:
    """Keep the wanted classes, in the wanted label order.

    Raises:
        ConfigError: If a class is not among the dataset's, or is named twice.
    """
    if wanted is None:
        return samples
    for emotion in wanted:
        if emotion not in samples.classes:
            hint = did_you_mean(emotion, samples.classes)
            raise ConfigError(f"data.classes: {name} has no '{emotion}'.{hint} It has: {', '.join(samples.classes)}.")
    if len(set(wanted)) != len(wanted) or len(wanted) < 2:
        raise ConfigError(f"data.classes={list(wanted)}: needs two or more different classes.")
    index = np.full(len(samples.classes), -1, dtype=np.int64)
    for number, emotion in enumerate(wanted):
        index[samples.classes.index(emotion)] = number
    labels = index[samples.labels]
    # The other classes' images stay where they are (on disk), in no split.
    splits = np.where(labels >= 0, samples.splits, "")
    return Samples(samples.images, labels, splits, samples.ids, tuple(wanted))


def carve(samples: Samples, val_fraction: float, test_fraction: float, seed: int, name: str) -> Samples:
    """Make the validation and test splits that a dataset lacks, out of its training split.

    Stratified by class and seeded. Exact copies of an image stay on one side, so that no carved split repeats
    a training image.
    """
    present = set(samples.splits.tolist())
    wanted = {"val": val_fraction, "test": test_fraction}
    missing = {split: share for split, share in wanted.items() if split not in present}
    for split, share in missing.items():
        if share == 0:
            log.warning("%s has no %s split, and data.%s_fraction=0 carves none.", name, split, split)
    missing = {split: share for split, share in missing.items() if share > 0}
    if not missing:
        return samples
    splits = samples.splits.astype("<U5")
    train = np.flatnonzero(splits == "train")
    hashes = np.array([hashlib.blake2b(samples.images[row].tobytes(), digest_size=8).digest() for row in train])
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    group_label = samples.labels[train][first]
    generator = np.random.default_rng(seed)
    for label in range(len(samples.classes)):
        members = generator.permutation(np.flatnonzero(group_label == label))
        start = 0
        for split, share in missing.items():
            # At least one of each class, where there are enough images to share at all.
            count = max(1, round(share * len(members))) if len(members) > len(missing) else 0
            splits[train[np.isin(group, members[start : start + count])]] = split
            start += count
    for split, share in missing.items():
        log.info(
            "%s has no %s split: %d of %d training images (%.0f %% of each class, seed %d) were set aside for it.",
            name, split, int((splits == split).sum()), len(train), 100 * share, seed,
        )  # fmt: skip
    return Samples(samples.images, samples.labels, splits, samples.ids, samples.classes)


def check_splits(samples: Samples, name: str) -> None:
    """Refuse a dataset without training or validation images, or with a class that has none to train on.

    Raises:
        DatasetError: Naming the split or the classes, with the counts.
    """
    counts = {split: Counter(samples.labels[samples.splits == split].tolist()) for split in SPLITS}
    for split in ("train", "val"):
        if not counts[split]:
            raise DatasetError(f"{name}: the {split} split is empty; the dataset has {len(samples)} images in all.")
        empty = [emotion for number, emotion in enumerate(samples.classes) if not counts[split][number]]
        if empty:
            raise DatasetError(
                f"{name}: the {split} split has no image of {', '.join(empty)}. "
                f"Leave the class out with data.classes=[...], or add images of it."
            )
