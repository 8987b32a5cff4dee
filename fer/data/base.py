"""The LightningDataModule that every dataset shares: splits, class selection, loaders."""

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from fer import compat
from fer.data.augment import Augment
from fer.data.augment_on_device import AugmentOnDevice
from fer.data.cache import default_cache_dir
from fer.data.classes import select_classes, val_from_test
from fer.data.corruptions import Corruption
from fer.data.exclude import exclude, listed_ids
from fer.data.loading import ImageDataset, loader
from fer.data.refine import refined
from fer.data.samples import Samples
from fer.data.sampling import EvalBatches, TrainBatches
from fer.data.splits import carve, check_splits, check_subjects, fold_of_subjects
from fer.data.squares import DEFAULT_FIT, FITS
from fer.errors import ConfigError, DatasetError, did_you_mean

log = logging.getLogger(__name__)


class FERDataModule(pl.LightningDataModule):
    """Base of every dataset: a subclass sets ``name`` and reads its files in :meth:`read`.

    Args:
        classes: Train on these emotions alone, in this label order; None for all of the dataset's.
        image_size: Side of the network's input in pixels; None for the backbone's or the dataset's own.
        fit: How images that are not square become square, one of :data:`fer.data.squares.FITS`; None for what suits
            the dataset.
        channels: 1 for grey, 3 for RGB; None for the backbone's or the dataset's own.
        mean: Mean of the images in [0, 1], one number or one per channel; None for the backbone's, else 0.5.
        std: Their standard deviation; None for the backbone's, else 0.25.
        val_fraction: Share of the training images that becomes the validation split where the dataset has none.
        test_fraction: Share of them that becomes the test split where the dataset has none; 0 for no test.
        batch_size: Global batch size, shared by all devices.
        num_workers: Loader processes of each device; None for one per core (at most 8) with augmentation, else 0.
        augment_on: Where training images are augmented: ``loader`` (by its processes) or ``device`` (the GPU).
        sampler: ``shuffle``, or ``weighted`` to draw every class equally often, with replacement.
        cache_dir: Where decoded images are kept; None for ``~/.cache/fer``.
        stream: Decode images anew each time and keep none, where the dataset can (:attr:`streams`).
        exclude: A csv file with a column ``id`` (``fer.audit`` writes one): these samples are left out.
        fold: Which fold of the subjects is the test split, from 0; None for the dataset's own splits.
        folds: Number of folds, or ``loso`` for as many as there are subjects.
        select_on_test: Use the test split as the validation split, as many published results do.
        refine: An audit's folder: training labels are mixed with the probabilities in it; None to keep them.
        refine_weight: Share of those probabilities in the new labels.
        seed: Seeds carving, order and augmentation.
        split_seed: Seeds carving in place of ``seed``; None for ``seed``.
        transforms: The ``transforms`` group: augmentation of training images.

    Raises:
        ConfigError: If an option's value is not possible.
    """

    name = "dataset"
    source = ""
    """Where the dataset comes from: its page."""
    own_fit: str | None = None
    """How its images become square if the user does not say: None as a model's own do, in a test; empty as what it is
    made of says. Neither: in the default way."""
    streams = False
    """Whether its images need not be decoded into the cache."""
    draw_targets = False
    """Whether training draws a label from each sample's distribution of votes anew in each epoch."""
    in_folds = False
    """Whether it is a part of a dataset whose splits are folds of subjects."""
    carved: tuple[str, ...] = ()
    """The splits that were carved."""
    unused: frozenset[str] = frozenset()
    """Ids of its own that are no sample's: :meth:`read` has left them out."""

    def __init__(
        self,
        classes: Sequence[str] | None = None,
        image_size: int | None = None,
        fit: str | None = None,
        channels: int | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        batch_size: int = 64,
        num_workers: int | None = None,
        augment_on: str = "loader",
        sampler: str = "shuffle",
        cache_dir: str | None = None,
        stream: bool = False,
        exclude: str | None = None,
        fold: int | None = None,
        folds: int | str = 10,
        select_on_test: bool = False,
        refine: str | None = None,
        refine_weight: float = 0.5,
        seed: int = 0,
        split_seed: int | None = None,
        transforms: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else default_cache_dir()
        self.wanted = [str(name) for name in classes] if classes else None
        if image_size is not None and not isinstance(image_size, int):
            raise ConfigError(f"data.image_size={image_size}: must be one whole number; networks take squares.")
        if fit is not None and fit not in FITS:
            raise ConfigError(f"data.fit={fit}: must be one of {', '.join(FITS)}.{did_you_mean(str(fit), FITS)}")
        self.image_size, self.channels, self.mean, self.std = image_size, channels, mean, std
        self.fit = fit or self.own_fit or DEFAULT_FIT
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.batch_size, self.num_workers = batch_size, num_workers
        self.sampler, self.seed, self.stream = sampler, seed, stream
        self.split_seed = seed if split_seed is None else split_seed
        if folds != "loso" and (not isinstance(folds, int) or isinstance(folds, bool)):
            raise ConfigError(f"data.folds={folds}: must be a whole number, or loso (leave one subject out).")
        self.exclude, self.fold, self.folds = exclude, fold, folds
        self.also_excluded: frozenset[str] = frozenset()  # ids that are left out later, by more than `exclude`
        self.select_on_test, self.refine, self.refine_weight = select_on_test, refine, refine_weight
        self.augment = Augment(transforms or {})
        on_device = augment_on == "device" and len(self.augment)
        self.augment_on_device = AugmentOnDevice(self.augment) if on_device else None
        self.features: npt.NDArray[np.float32] | None = None
        self.as_files = False  # list image files and decode none, for a command that copies them
        self._samples: Samples | None = None

    def read(self) -> Samples:
        """Read the dataset's files (from the cache, after the first time)."""
        raise TypeError(f"{type(self).__name__} does not say how it is read.")

    @property
    def storage(self) -> dict[str, Any]:
        """How and where images are stored: what a reader of image files hands on to :func:`fer.data.entries`."""
        return {
            "cache_dir": self.cache_dir,
            "image_size": self.image_size,
            "channels": self.channels,
            "fit": self.fit,
            "excluded": self.excluded,
            "as_files": self.as_files,
            "stream": self.stream,
        }

    @property
    def excluded(self) -> frozenset[str]:
        """The ids of samples that are left out later: their images may be broken."""
        listed = listed_ids(Path(self.exclude).expanduser()) if self.exclude else frozenset()
        return listed | self.also_excluded

    def setup(self, stage: str) -> None:
        """Read, select classes and make the splits, carving those that are missing; once.

        Args:
            stage: Lightning's; every stage has the same splits. Labels are refined to fit alone.
        """
        if self._samples is not None:
            return
        samples = self.chosen(self.shares)
        if self.select_on_test:
            samples = val_from_test(samples, self.name)
        check_splits(samples, self.name)
        check_subjects(samples, self.name)
        if self.refine is not None and stage == "fit":
            samples = refined(samples, Path(self.refine).expanduser(), self.refine_weight, self.name)
        self._samples = samples

    def use_own_splits(self) -> None:
        """Read and select classes, and leave the splits as the dataset has them: to audit it, or to test on it.

        In place of :meth:`setup`, which then finds it done.
        """
        samples = self.chosen(None)
        check_subjects(samples, self.name)
        self._samples, self.select_on_test = samples, False  # nothing is selected

    def with_images(self, images: npt.NDArray[np.uint8]) -> Self:
        """Return a copy of the datamodule with other images of the same samples: uint8 (N, H, W) or (N, H, W, 3)."""
        other = copy(self)
        other._samples = replace(self.samples, images=images)
        return other

    def use_features(self, features: npt.NDArray[np.float32] | None) -> None:
        """Hand a frozen backbone's features of unaugmented images on with each batch, or no longer (None).

        Args:
            features: float32 of shape (M, D), of all images that are in a split, in the order of ``rows("all")``.
        """
        if features is not None and len(features) != len(self.rows("all")):
            raise ValueError(f"{len(features)} features for {len(self.rows('all'))} images")
        self.features = features

    def chosen(self, shares: Mapping[str, float] | None) -> Samples:
        """Read the dataset, make its splits, and choose classes and samples; the others are in no split.

        Args:
            shares: The splits that are wanted, and their shares of the training images where there is none; None to
                leave the splits as the dataset has them.
        """
        if self.stream and not self.streams:
            raise ConfigError(f"data.stream=true: {self.name} is always decoded into the cache. Leave it out.")
        # Sides first: which images are tested must not depend on what else is chosen or left out.
        samples = self.read()
        if self.fold is not None:
            samples = fold_of_subjects(samples, self.fold, self.folds, self.name)
        if shares is not None:
            if len(samples.classes) < 2:
                raise DatasetError(
                    f"{self.name} has one class alone ({', '.join(samples.classes)}): there is nothing to tell apart. "
                    f"Training needs images of two classes or more."
                )
            lacking = [split for split in shares if not (samples.splits == split).any()]
            samples = carve(samples, shares, self.split_seed, self.name)
            self.carved = tuple(split for split in lacking if (samples.splits == split).any())
        samples = select_classes(samples, self.wanted, self.name)
        if self.exclude is not None:
            samples = exclude(samples, Path(self.exclude).expanduser(), self.name, self.unused)
        if self.fold is not None and not (samples.splits == "test").any():
            raise ConfigError(
                f"data.fold={self.fold}: of its subjects no image is left to test, with data.classes="
                f"{list(samples.classes)} and data.exclude={self.exclude}. Choose another fold, or fewer folds."
            )
        return samples

    @property
    def shares(self) -> dict[str, float]:
        """The splits that a run needs, and the share of the training images for one that the dataset lacks."""
        shares = {"test": self.test_fraction}
        return shares if self.select_on_test else {"val": self.val_fraction, **shares}

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
        """Return the rows of a split (``train``, ``val``, ``test``, or ``all`` of them), int64 of shape (N,)."""
        splits = self.samples.splits
        return np.flatnonzero(splits != "" if split == "all" else splits == split)

    def class_counts(self, split: str) -> npt.NDArray[np.int64]:
        """Return the number of images of each class in a split, int64 of shape (C,)."""
        return np.bincount(self.samples.labels[self.rows(split)], minlength=len(self.classes))

    def batches(self) -> tuple[int, int]:
        """Return the number of batches of the training and of the validation split."""
        return len(self.train_batches()), -(-len(self.rows("val")) // self.batch_size)

    @property
    def input_options(self) -> dict[str, Any]:
        """What :func:`fer.models.preprocessing.resolve` needs to know of the data."""
        images = self.samples.images
        return {
            "image_size": self.image_size,
            "fit": self.fit,
            "channels": self.channels,
            "mean": self.mean,
            "std": self.std,
            "native_size": images.shape[1],
            "native_channels": 1 if images.ndim == 3 else 3,
        }

    def train_batches(
        self, rank: int = 0, world_size: int = 1, epoch: int = 0, start: int = 0, same: bool = False
    ) -> TrainBatches:
        """Return the training split's batches, from batch ``start`` of ``epoch`` on; the ``same`` in every epoch."""
        weights = None
        if self.sampler == "weighted":
            weights = (1.0 / np.maximum(1, self.class_counts("train")))[self.samples.labels[self.rows("train")]]
        return TrainBatches(
            len(self.rows("train")), self.batch_size, self.seed, rank, world_size, weights, epoch, start, same
        )

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the augmenting, shuffling loader of the training split.

        Raises:
            ConfigError: If the global batch cannot be shared equally by the devices.
        """
        rank, world_size, epoch, start, limit, same = 0, 1, 0, 0, 1.0, False
        if self.trainer:
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
            if self.batch_size % world_size:
                raise ConfigError(
                    f"data.batch_size={self.batch_size} is the global batch and must be a multiple of the number of "
                    f"devices ({world_size}), for example {max(1, self.batch_size // world_size) * world_size}."
                )
            # In a resumed run the loop's progress is restored before the loader is made.
            epoch, start = compat.place_in_run(self.trainer)
            limit, same = self.trainer.limit_train_batches, cast(Any, self.trainer).overfit_batches > 0
        batches = self.train_batches(rank, world_size, epoch, same=same)
        # Loaders that are made anew between epochs still find the last epoch's number of batches.
        if start < limited(len(batches), limit):
            batches = self.train_batches(rank, world_size, epoch, start, same)
        return self._loader("train", batches, self.augment_on_device or (self.augment if len(self.augment) else None))

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Tensor]:
        """Augment a training batch on its device, where that was asked for."""
        if self.augment_on_device and "seed" in batch:
            batch["image"] = self.augment_on_device(batch["image"], batch.pop("seed"))
        return batch

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the loader of the validation split, mixed: ``limit_val_batches`` takes the first ones."""
        return self._eval_loader("val", mixed=True)

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the loader of the test split.

        Raises:
            DatasetError: If there is none.
        """
        if not len(self.rows("test")):
            raise DatasetError(
                f"{self.name} has no test split. Carve one with data.test_fraction, or predict another split: "
                f"trainer.predict(module, datamodule.eval_dataloader('val'))."
            )
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the loader of the test split, as :meth:`test_dataloader` does."""
        return self.test_dataloader()

    def eval_dataloader(self, split: str, corruptions: Sequence[Corruption] = ()) -> DataLoader[dict[str, Tensor]]:
        """Return a split's loader: every sample once (with corruptions once in each), in order, not augmented."""
        return self._eval_loader(split, mixed=False, corruptions=corruptions)

    def _eval_loader(
        self, split: str, mixed: bool, corruptions: Sequence[Corruption] = ()
    ) -> DataLoader[dict[str, Tensor]]:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        size = len(self.rows(split)) * max(1, len(corruptions))
        batches = EvalBatches(size, self.batch_size, rank, world_size, mixed)
        return self._loader(split, batches, None, corruptions)

    def _loader(
        self,
        split: str,
        batches: TrainBatches | EvalBatches,
        augment: Augment | AugmentOnDevice | None,
        corruptions: Sequence[Corruption] = (),
    ) -> DataLoader[dict[str, Tensor]]:
        draws = self.draw_targets and split == "train"
        dataset = ImageDataset(self.samples, self.rows(split), augment, draws, self.features, corruptions)
        return loader(dataset, batches, self.num_workers)


def limited(batches: int, limit: float | None) -> int:
    """Return how many of an epoch's batches ``trainer.limit_train_batches`` leaves: a number, a share, or all."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * (1.0 if limit is None else limit))
