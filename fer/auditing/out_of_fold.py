"""Each sample's class probabilities from a fast classifier that was not fitted to it.

Linear discriminant analysis of oriented gradients (N. Dalal, B. Triggs, "Histograms of Oriented Gradients for Human
Detection", CVPR 2005) in a random subspace of a Gaussian kernel (C. Williams, M. Seeger, "Using the Nyström Method to
Speed Up Kernel Machines", NIPS 2000): seconds for FER2013, where a network takes minutes. scikit-learn's estimators for
these steps keep the kernel of all images in memory and fit each fold from the start; here it is in a file, and folds
share their sums.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.linalg import solve
from sklearn.linear_model import LogisticRegression

from fer.auditing.appearance import in_a_split
from fer.data.samples import Samples
from fer.data.scratch import scratch
from fer.errors import ConfigError
from fer.files.predictions import Predictions

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


_SIDE = 48  # images are brought to this size
_LANDMARKS = 2000  # of the kernel, at most
_PER_LANDMARK = 2  # images per landmark, at least
_WIDTH = 0.5  # of the kernel, times the median of the squared distances
_SHRINKAGE = 0.4  # share of the mean variance that is added to each, if there were as many landmarks as images
_BLOCK = 512  # images at a time
_FIRST = 4096  # images from whose distances the kernel's width is estimated


def out_of_fold(samples: Samples, groups: Rows, folds: int, seed: int, cache_dir: Path) -> Floats:
    """Return each sample's class probabilities from a classifier that has not seen it, float32 of shape (N, C).

    Args:
        samples: The dataset.
        groups: int64 of shape (N,), copies of an image; they share a fold.
        folds: Number of folds.
        seed: Seeds the choice of folds and of the kernel's landmarks.
        cache_dir: Folder for a temporary file with the kernel, which may not fit into memory.

    Raises:
        ConfigError: If the samples are of one class, or in fewer groups than there are folds.
        DatasetError: If there is not enough space for the kernel.
    """
    if len(np.unique(samples.labels)) < 2 or len(np.unique(groups)) < 2 * folds:
        raise ConfigError(
            f"suspect_labels=true: {len(samples):,} images of {len(np.unique(samples.labels))} classes are too few for "
            f"{folds} folds. Say suspect_labels=false."
        )
    generator = np.random.default_rng(seed)
    fold = deal(groups, samples.labels, folds, generator)
    order = np.argsort(fold, kind="stable")
    ends = np.cumsum(np.bincount(fold, minlength=folds)).tolist()
    targets = np.eye(len(samples.classes), dtype=np.float32)[samples.labels]
    scores = np.empty_like(targets)
    with closing(_kernel(samples.images, order, generator, cache_dir)) as kernel:
        width = kernel.width
        # Stronger with fewer samples; chosen on 240 pictures and on FER2013's 32,298.
        shrinkage = max(1e-4, _SHRINKAGE * (width / len(samples)) ** 2)
        # Sums of each fold: those of all folds but one are then added up without reading the samples again.
        counts = np.stack([targets[fold == f].sum(axis=0, dtype=np.float64) for f in range(folds)])
        sums = np.zeros((folds, targets.shape[1], width))
        with closing(_Filed(cache_dir, folds * width, width)) as squares:
            for f, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
                square = np.zeros((width, width), dtype=np.float32)
                for part in _parts(start, end):
                    features = kernel[part]
                    sums[f] += targets[order[part]].T @ features
                    square += features.T @ features
                squares.append(square)
            for held, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
                others = [f for f in range(folds) if f != held]
                total = np.zeros((width, width))
                for f in others:
                    total += squares[f * width : (f + 1) * width]
                weights, offset = _discriminants(counts[others].sum(axis=0), sums[others].sum(axis=0), total, shrinkage)
                for part in _parts(start, end):
                    scores[order[part]] = kernel[part] @ weights + offset
    return _calibrated(scores, samples.labels, fold)


def of_training(samples: Samples, groups: Rows, folds: int, seed: int, cache_dir: Path) -> Predictions:
    """Return the training images' class probabilities, from classifiers fitted to other training images alone.

    Those of :func:`out_of_fold` are fitted to labels of other splits too: training on them would tell of these.

    Args:
        samples: The dataset, all of it in a split.
        groups: int64 of shape (N,), copies of an image; they share a fold.
        folds: Number of folds.
        seed: Seeds the choice of folds and of the kernel's landmarks.
        cache_dir: Folder for temporary files.

    Raises:
        ConfigError: If the training images are of one class, or too few.
        DatasetError: If there is not enough space.
    """
    rows = np.flatnonzero(samples.splits == "train")
    part = in_a_split(replace(samples, splits=np.where(samples.splits == "train", "train", "")), cache_dir)
    _, firsts, group = np.unique(groups[rows], return_index=True, return_inverse=True)
    return Predictions("train", rows, part.ids, part.labels, out_of_fold(part, firsts[group], folds, seed, cache_dir))


def _discriminants(count: Doubles, sums: Doubles, square: Doubles, shrinkage: float) -> tuple[Doubles, Doubles]:
    """Return weights (D, C) and offsets (C,) of linear discriminant analysis.

    Args:
        count: Samples of each class, shape (C,).
        sums: Sums of their features, shape (C, D).
        square: Products of features with each other, summed over all samples, shape (D, D); it is overwritten.
        shrinkage: Share of the mean variance that is added to each.
    """
    means = sums / np.maximum(1, count)[:, None]
    within = square
    # In place and in blocks: each such matrix takes 32 MB.
    for start in range(0, len(within), _BLOCK // 8):
        part = slice(start, start + _BLOCK // 8)
        within[part] -= (means[:, part] * count[:, None]).T @ means
    # Positive even if all images are equal.
    within[np.diag_indices_from(within)] += max(1e-9, shrinkage * np.trace(within) / len(within))
    within /= max(1, count.sum())
    weights = solve(within.T, means.T, overwrite_a=True, assume_a="pos")
    # A class without samples counts as half a sample: its probability is small but defined.
    offset = np.log(np.maximum(0.5, count) / max(1, count.sum())) - 0.5 * (means.T * weights).sum(axis=0)
    return weights, offset


def _calibrated(scores: Floats, labels: Rows, fold: Rows) -> Floats:
    """Return probabilities, by logistic regression from the scores of the other folds.

    Discriminant analysis alone is overconfident where samples are few, and always for rare classes.

    Args:
        scores: float32 of shape (N, C).
        labels: int64 of shape (N,).
        fold: int64 of shape (N,).
    """
    scores = (scores - scores.mean(axis=0)) / max(1e-6, float(scores.std()))
    probabilities = np.zeros_like(scores)
    for held in np.unique(fold):
        if len(np.unique(labels[fold != held])) < 2:
            raise ConfigError(
                "suspect_labels=true: copies of an image share a fold, and without one of the folds a single class is "
                "left. Say suspect_labels=false refine=false."
            )
        model = LogisticRegression(max_iter=1000).fit(scores[fold != held], labels[fold != held])
        probabilities[np.ix_(fold == held, model.classes_)] = model.predict_proba(scores[fold == held])
    return probabilities


def deal(groups: Rows, labels: Rows, folds: int, generator: np.random.Generator) -> Rows:
    """Assign groups to folds, class by class.

    Args:
        groups: int64 of shape (N,), the first row of each sample's group.
        labels: int64 of shape (N,).
        folds: Number of folds.
        generator: Shuffles the groups.

    Returns:
        int64 of shape (N,), from 0 to ``folds`` - 1, one for all of a group.
    """
    heads = generator.permutation(np.unique(groups))
    heads = heads[np.argsort(labels[heads], kind="stable")]
    fold = np.empty(len(groups), dtype=np.int64)
    fold[heads] = np.arange(len(heads)) % folds
    return fold[groups]


class _Filed:
    """Rows of float32 in a file, since memory may not hold them; a constant row is subtracted when they are read.

    Args:
        cache_dir: Where the file is.
        count: Number of rows.
        width: Numbers in a row.
    """

    def __init__(self, cache_dir: Path, count: int, width: int) -> None:
        self.width = width
        self.less = np.zeros(width, dtype=np.float32)
        self._file = scratch(cache_dir, 4 * count * width)

    def append(self, rows: Floats) -> None:
        self._file.write(np.ascontiguousarray(rows, dtype=np.float32).data)

    def __getitem__(self, part: slice) -> Floats:
        self._file.seek(4 * part.start * self.width)
        rows = np.fromfile(self._file, np.float32, (part.stop - part.start) * self.width).reshape(-1, self.width)
        rows -= self.less
        return rows

    def close(self) -> None:
        self._file.close()


def _kernel(images: npt.NDArray[np.uint8], order: Rows, generator: np.random.Generator, cache_dir: Path) -> _Filed:
    """Return the Gaussian kernel of each image, and its mirror image, with randomly chosen ones.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        order: int64 of shape (N,), the order of the rows.
        generator: Chooses the landmarks.
        cache_dir: Where the kernel is kept: that of 36,000 images takes 288 MB.

    Returns:
        N rows, one number for each landmark, of mean 0; equal for an image and its mirror image.
    """
    count = min(_LANDMARKS, max(1, len(images) // _PER_LANDMARK))
    landmarks = _gradients(images[np.sort(generator.permutation(len(images))[:count])])
    first = [_distance(images[part], landmarks) for part in _parts(0, min(len(images), _FIRST))]
    scale = max(1e-6, _WIDTH * float(np.median(np.concatenate(first), overwrite_input=True)))
    del first
    kernel = _Filed(cache_dir, len(images), count)
    total = np.zeros(count)
    for part in _parts(0, len(images)):
        block = images[order[part]]
        features = np.exp(-_distance(block, landmarks) / scale)
        features += np.exp(-_distance(block[:, :, ::-1], landmarks) / scale)
        total += features.sum(axis=0)
        kernel.append(features)
    kernel.less = (total / len(images)).astype(np.float32)
    return kernel


def _distance(images: npt.NDArray[np.uint8], landmarks: Floats) -> Floats:
    """Return images' squared distances to the landmarks, float32 of shape (N, landmarks)."""
    vectors = _gradients(images)
    distance: Floats = -2 * vectors @ landmarks.T
    distance += (vectors**2).sum(axis=1)[:, None]
    distance += (landmarks**2).sum(axis=1)
    np.maximum(0, distance, out=distance)
    return distance


def _parts(start: int, end: int) -> Iterator[slice]:
    return (slice(first, min(first + _BLOCK, end)) for first in range(start, end, _BLOCK))


def _gradients(images: npt.NDArray[np.uint8]) -> Floats:
    """Return histograms of oriented gradients, float32 of shape (N, 900), whatever the images' size and colours."""
    describe = cv2.HOGDescriptor((_SIDE, _SIDE), (16, 16), (8, 8), (8, 8), 9)
    result = np.empty((len(images), describe.getDescriptorSize()), dtype=np.float32)
    for row, image in enumerate(images):
        grey = np.ascontiguousarray(image)
        if grey.ndim == 3:
            grey = cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY)
        if grey.shape != (_SIDE, _SIDE):
            grey = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        result[row] = describe.compute(grey)
    return result
