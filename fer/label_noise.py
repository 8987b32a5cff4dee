"""Labels that look wrong, by confident learning, and the out-of-fold probabilities that it needs.

Confident learning (C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident Learning: Estimating Uncertainty in Dataset
Labels", JAIR 70, 2021): the mean probability of a class among the samples labelled so is that class's threshold. A
sample is counted as of the most probable class among those whose threshold it reaches; if that is not its label, the
label is suspect. Samples come in the order of their normalised margin, the probability of their label less the largest
of the others.

The probabilities must come from a model that was not fitted to the sample. Where no trained model is given,
:func:`out_of_fold` makes them in seconds, from oriented gradients (N. Dalal, B. Triggs, "Histograms of Oriented
Gradients for Human Detection", CVPR 2005) by linear discriminant analysis in a random subspace of a Gaussian kernel
(C. Williams, M. Seeger, "Using the Nyström Method to Speed Up Kernel Machines", NIPS 2000). A better model finds
wrong labels better.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from fer.data.samples import Samples
from fer.display import read_csv
from fer.errors import ConfigError, DatasetError

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

_SIDE = 48  # images are brought to this size
_LANDMARKS = 2000  # of the kernel, at most
_PER_LANDMARK = 2  # images, at least
_WIDTH = 0.5  # of the kernel, in medians of the squared distances
_SHRINKAGE = 0.4  # share of the mean variance that is added to each, if there were as many landmarks as images
_BLOCK = 4096


@dataclass(frozen=True)
class Suspects:
    """Labels that look wrong.

    Attributes:
        rows: int64 of shape (S,), samples whose label is suspect, the most suspect first.
        likely: int64 of shape (S,), the class that each seems to be of.
        margin: float32 of shape (S,), probability of the label less the largest of the others.
        joint: int64 of shape (C, C), samples counted by label (rows) and by the class that they seem to be of.
        thresholds: float32 of shape (C,), what a class's probability must reach; NaN for a class without samples.
        judged: int64 of shape (J,), the samples that there are probabilities of.
        accuracy: Share of them whose most probable class is their label.
        balanced_accuracy: Mean of that share over the classes.
        probabilities: float32 of shape (N, C), NaN for samples that were not judged.
    """

    rows: Rows
    likely: Rows
    margin: Floats
    joint: Rows
    thresholds: Floats
    judged: Rows
    accuracy: float
    balanced_accuracy: float
    probabilities: Floats


def find(probabilities: Floats, labels: Rows) -> Suspects:
    """Find labels that look wrong.

    Args:
        probabilities: float32 of shape (N, C), of a model that was not fitted to the sample; NaN where there is none.
        labels: int64 of shape (N,).
    """
    judged = np.flatnonzero(~np.isnan(probabilities).any(axis=1))
    p, given = probabilities[judged], labels[judged]
    classes, every = p.shape[1], np.arange(len(given))
    thresholds = np.array([p[given == c, c].mean() if (given == c).any() else np.nan for c in range(classes)])
    reached = np.where(p >= thresholds, p, -1)  # nothing reaches NaN
    likely = reached.argmax(axis=1)
    confident = reached[every, likely] >= 0
    joint = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(joint, (given[confident], likely[confident]), 1)
    others = p.copy()
    others[every, given] = -1
    margin = p[every, given] - others.max(axis=1)
    wrong = np.flatnonzero(confident & (likely != given))
    wrong = wrong[np.argsort(margin[wrong], kind="stable")]
    right = p.argmax(axis=1) == given
    return Suspects(
        rows=judged[wrong],
        likely=likely[wrong],
        margin=margin[wrong],
        joint=joint,
        thresholds=thresholds.astype(np.float32),
        judged=judged,
        accuracy=float(right.mean()),
        balanced_accuracy=float(np.mean([right[given == c].mean() for c in np.unique(given)])),
        probabilities=probabilities,
    )


def out_of_fold(samples: Samples, groups: Rows, folds: int, seed: int) -> Floats:
    """Return each sample's class probabilities from a classifier that has not seen it, float32 of shape (N, C).

    Args:
        samples: The dataset.
        groups: int64 of shape (N,), copies of an image; they share a fold.
        folds: Number of folds.
        seed: Which folds, and which images are the kernel's landmarks.

    Raises:
        ConfigError: If the samples are of one class, or in fewer groups than there are folds.
    """
    if len(np.unique(samples.labels)) < 2 or len(np.unique(groups)) < 2 * folds:
        raise ConfigError(
            f"suspect_labels=true: {len(samples):,} images of {len(np.unique(samples.labels))} classes are too few for "
            f"{folds} folds. Say suspect_labels=false."
        )
    generator = np.random.default_rng(seed)
    fold = deal(groups, samples.labels, folds, generator)
    features = _kernel(samples.images, generator)
    # The fewer samples there are, the less is known of each direction: best on 240 pictures and on FER2013's 32,298.
    shrinkage = max(1e-4, _SHRINKAGE * (features.shape[1] / len(features)) ** 2)
    targets = np.eye(len(samples.classes), dtype=np.float32)[samples.labels]
    # Sums of each fold, so that those of all folds but one are a subtraction.
    parts = [(targets[fold == f], features[fold == f]) for f in range(folds)]
    counts = np.stack([target.sum(axis=0, dtype=np.float64) for target, _ in parts])
    sums = np.stack([target.T @ part for target, part in parts]).astype(np.float64)
    squares = np.stack([part.T @ part for _, part in parts])
    scores = np.empty_like(targets)
    for held in range(folds):
        others = np.arange(folds) != held
        count = counts[others].sum(axis=0)
        means = sums[others].sum(axis=0) / np.maximum(1, count)[:, None]
        within = squares[others].sum(axis=0, dtype=np.float64) - (means * count[:, None]).T @ means
        within += shrinkage * np.trace(within) / len(within) * np.eye(len(within))
        within /= max(1, count.sum())
        weights = np.linalg.solve(within, means.T)
        # Half a sample for a class without any: its probability is small, and known.
        offset = np.log(np.maximum(0.5, count) / max(1, count.sum())) - 0.5 * (means.T * weights).sum(axis=0)
        scores[fold == held] = parts[held][1] @ weights + offset
    return _calibrated(scores, samples.labels, fold)


def _calibrated(scores: Floats, labels: Rows, fold: Rows) -> Floats:
    """Return probabilities, by logistic regression from the scores of the other folds.

    Discriminant analysis alone is far too sure of itself where samples are few, and of rare classes everywhere.

    Args:
        scores: float32 of shape (N, C).
        labels: int64 of shape (N,).
        fold: int64 of shape (N,).
    """
    scores = (scores - scores.mean(axis=0)) / max(1e-6, float(scores.std()))
    probabilities = np.zeros_like(scores)
    for held in np.unique(fold):
        model = LogisticRegression(max_iter=1000).fit(scores[fold != held], labels[fold != held])
        probabilities[np.ix_(fold == held, model.classes_)] = model.predict_proba(scores[fold == held])
    return probabilities


def deal(groups: Rows, labels: Rows, folds: int, generator: np.random.Generator) -> Rows:
    """Deal groups out to folds, class by class.

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


def _kernel(images: npt.NDArray[np.uint8], generator: np.random.Generator) -> Floats:
    """Return the Gaussian kernel of each image, and its mirror image, with randomly chosen ones.

    Returns:
        float32 of shape (N, landmarks), of mean 0; equal for an image and its mirror image.
    """
    count = min(_LANDMARKS, max(1, len(images) // _PER_LANDMARK))
    landmarks = _gradients(images[np.sort(generator.permutation(len(images))[:count])])
    lengths = (landmarks**2).sum(axis=1)
    result = np.zeros((len(images), len(landmarks)), dtype=np.float32)
    width: float | None = None
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        for part in (block, block[:, :, ::-1]):
            vectors = _gradients(part)
            distance = np.maximum(0, (vectors**2).sum(axis=1)[:, None] + lengths - 2 * vectors @ landmarks.T)
            width = max(1e-6, _WIDTH * float(np.median(distance))) if width is None else width
            result[start : start + _BLOCK] += np.exp(-distance / width)
    result -= result.mean(axis=0)
    return result


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


def read_probabilities(path: Path, samples: Samples) -> Floats:
    """Read a run's ``predictions.csv``, whose model must not have been fitted to these samples.

    Args:
        path: A csv file with columns ``id`` and ``p_<class>`` for each class of the dataset.
        samples: The dataset.

    Returns:
        float32 of shape (N, C); NaN for samples that are not in the file.

    Raises:
        ConfigError: If the file is absent, has other columns, or names no sample of the dataset.
        DatasetError: If a row holds no probabilities.
    """
    if not path.is_file():
        raise ConfigError(f"probabilities={path}: no such file. A run and a test leave one, predictions.csv.")
    columns = [f"p_{name}" for name in samples.classes]
    row_of = {name: row for row, name in enumerate(samples.ids.tolist())}
    probabilities = np.full((len(samples), len(columns)), np.nan, dtype=np.float32)
    with path.open(newline="", encoding="utf-8") as file:
        header, reader = read_csv(file)
        if missing := [name for name in ("id", *columns) if name not in header]:
            raise ConfigError(f"probabilities={path}: has no column {', '.join(missing)}; it has {header}.")
        for line, row in enumerate(reader, start=2):
            try:
                values = np.array([float(row[name]) for name in columns])
            except (TypeError, ValueError):
                values = np.full(len(columns), np.nan)
            if not ((values >= 0) & (values <= 1)).all():
                raise DatasetError(f"{path}:{line}: {', '.join(columns)} are not all numbers from 0 to 1.")
            if (known := row_of.get(row["id"])) is not None:
                probabilities[known] = values
    if np.isnan(probabilities).all():
        raise ConfigError(
            f"probabilities={path}: none of its ids is a sample of this dataset, whose ids look like "
            f"'{samples.ids[0]}'. Is it of another dataset, or of another form of this one?"
        )
    return probabilities
