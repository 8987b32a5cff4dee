"""Which samples go into which batch: a pure function of the seed and the epoch.

``batch_size`` is the global batch. With several processes each takes its share of every batch, so that training on two
devices sees the same batches as training on one. Since nothing depends on a generator's history, a resumed run goes on
with exactly the batches that the killed one would have had.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler


class Batch(NamedTuple):
    """One batch's rows of a split, and the seed of its augmentation."""

    indices: npt.NDArray[np.int64]
    seed: tuple[int, ...]


class TrainBatches(Sampler[Batch]):
    """Shuffled batches of the training split, the last incomplete one left out.

    Args:
        size: Number of training samples.
        batch_size: Global batch size.
        seed: The run's seed.
        rank: This process's number.
        world_size: Number of processes; divides ``batch_size``.
        weights: Sampling weight of each sample, drawn with replacement; None for each sample once.
        epoch: The first epoch.
        start: Number of batches of the first epoch that are already done (a run resumed in mid-epoch).
        same: Draw the first epoch's batches in every epoch (Lightning's ``overfit_batches``).
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        weights: npt.NDArray[np.float64] | None = None,
        epoch: int = 0,
        start: int = 0,
        same: bool = False,
    ) -> None:
        self.same = same
        self.size, self.seed, self.rank, self.world_size = size, seed, rank, world_size
        # Fewer samples than one batch: one smaller batch, still the same for every process.
        self.batch_size = min(batch_size, size - size % world_size)
        self.probabilities = None if weights is None else weights / weights.sum()
        self.epoch, self._first_epoch, self._start = epoch, epoch, start

    @property
    def sampler(self) -> "TrainBatches":
        """Where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.batch_size if self.batch_size else 0

    def __iter__(self) -> Iterator[Batch]:
        generator = np.random.default_rng([self.seed, 0 if self.same else self.epoch])
        if self.probabilities is None:
            order = generator.permutation(self.size)
        else:
            order = generator.choice(self.size, self.size, p=self.probabilities)
        start = self._start if self.epoch == self._first_epoch else 0
        for number in range(start, len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield Batch(batch[self.rank :: self.world_size], (self.seed, self.epoch, number, self.rank))


class EvalBatches(Sampler[Batch]):
    """Every sample once, without padding, in the same number of batches on each process.

    Args:
        size: Number of samples.
        batch_size: Largest global batch.
        rank: This process's number.
        world_size: Number of processes.
        mixed: Always in one mixed order, so that any number of batches stands for the whole; else in the split's.
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1, mixed: bool = False) -> None:
        count = -(-size // batch_size)
        # Parts of nearly equal size: no process is left without a sample in the last batch, where it would miss the
        # others' collective calls.
        order = np.random.default_rng(0).permutation(size) if mixed else np.arange(size)
        self.parts = np.array_split(order, count) if count else []
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        for part in self.parts:
            yield Batch(part[self.rank :: self.world_size], ())
