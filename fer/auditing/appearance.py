"""Brightness, contrast and sizes of a dataset's images, and which of them are unusual."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer.data import quality
from fer.data.samples import SPLITS, Samples
from fer.data.scratch import allocate

Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

_BLOCK = 1024  # images copied at a time


@dataclass(frozen=True)
class Looks:
    """Measures of all images.

    Attributes:
        brightness: float64 of shape (N,), mean pixel in [0, 1].
        contrast: float64 of shape (N,), standard deviation of the pixels in [0, 1].
        flat: bool of shape (N,), of one colour.
        dark: bool of shape (N,), nearly black.
        bright: bool of shape (N,), nearly white.
        outliers: bool of shape (N,), whose brightness is an outlier of their class's box plot.
        sizes: Width and height of the files to their number; empty if the images do not lie in files of their own.
        oddities: Other unusual things, in sentences.
    """

    brightness: Doubles
    contrast: Doubles
    flat: Bools
    dark: Bools
    bright: Bools
    outliers: Bools
    sizes: dict[tuple[int, int], int]
    oddities: list[str]


def in_a_split(samples: Samples, cache_dir: Path) -> Samples:
    """Return the samples that are in a split, without excluded ones and those of unwanted classes.

    Args:
        samples: The dataset.
        cache_dir: Folder for a temporary copy of the images, which may not fit into memory.

    Raises:
        DatasetError: If there is not enough space.
    """
    rows = np.flatnonzero(samples.splits != "")
    if len(rows) == len(samples):
        return samples
    shape = len(rows), *samples.images.shape[1:]
    images = allocate(cache_dir, shape) if len(rows) else samples.images[:0]
    for start in range(0, len(rows), _BLOCK):
        images[start : start + _BLOCK] = samples.images[rows[start : start + _BLOCK]]
    return replace(
        samples, images=images, labels=samples.labels[rows], splits=samples.splits[rows],
        ids=samples.ids[rows], subjects=None if samples.subjects is None else samples.subjects[rows],
        targets=None if samples.targets is None else samples.targets[rows],
        attributes={name: values[rows] for name, values in samples.attributes.items()},
    )  # fmt: skip


def look(samples: Samples, name: str, dark: float, bright: float, root: Path | None) -> Looks:
    """Measure all images.

    Args:
        samples: The dataset.
        name: Its name.
        dark: The largest mean pixel of dark images.
        bright: The least mean pixel of bright images.
        root: The dataset's folder; None if it has none.
    """
    brightness, flat = quality.brightness(samples.images), quality.flat(samples.images)
    return Looks(
        brightness=brightness,
        contrast=quality.contrast(samples.images),
        flat=flat,
        dark=brightness <= dark,
        bright=brightness >= bright,
        outliers=box_outliers(brightness, samples.labels),
        sizes=_file_sizes(root, samples.ids) if root else {},
        oddities=quality.oddities(samples.images, flat, samples.ids, name),
    )


def box_outliers(values: Doubles, labels: Rows) -> Bools:
    """Say which values lie outside their class's whiskers: 1.5 times the box beyond it, bool of shape (N,)."""
    outside = np.zeros(len(values), dtype=np.bool_)
    for label in np.unique(labels):
        low, high = np.percentile(values[labels == label], (25, 75))
        reach = 1.5 * (high - low)
        outside |= (labels == label) & ((values < low - reach) | (values > high + reach))
    return outside


def class_counts(samples: Samples) -> dict[str, Rows]:
    """Return the number of images of each class, int64 of shape (C,), for each split that has any."""
    there = [split for split in SPLITS if (samples.splits == split).any()]
    return {s: np.bincount(samples.labels[samples.splits == s], minlength=len(samples.classes)) for s in there}


def _file_sizes(root: Path, ids: npt.NDArray[np.str_]) -> dict[tuple[int, int], int]:
    """Read the files' headers; the most frequent size comes first."""
    if not len(ids) or not (root / ids[0]).is_file():  # rows of a table, or files named in another way
        return {}
    sizes: Counter[tuple[int, int]] = Counter()
    for name in ids.tolist():
        try:
            with Image.open(root / name) as image:
                sizes[image.size] += 1
        except OSError:
            continue
    return dict(sizes.most_common())
