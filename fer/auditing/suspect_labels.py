"""Labels that look wrong, by confident learning from class probabilities.

Confident learning (C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident Learning: Estimating Uncertainty in Dataset
Labels", JAIR 70, 2021): the mean probability of a class among the samples with that label is the class's threshold. A
sample counts as the most probable class among those whose threshold it reaches; if that is not its label, the label is
suspect. Suspects are sorted by their normalised margin: the probability of the label minus the largest of the others.

The probabilities must come from a model that was not fitted to the sample: a run's ``predictions.csv``, or
:func:`fer.auditing.out_of_fold.out_of_fold`. A better model finds wrong labels better.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer.data.samples import Samples
from fer.errors import ConfigError, DatasetError
from fer.files import predictions

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


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
    fitted = 0
    row_of = {name: row for row, name in enumerate(samples.ids.tolist())}
    probabilities = np.full((len(samples), len(samples.classes)), np.nan, dtype=np.float32)
    try:
        seen = predictions.fitted_to(path)
        for line, sample, values in predictions.read_probabilities(path, samples.classes):
            if values is None:
                columns = ", ".join(f"p_{name}" for name in samples.classes)
                raise DatasetError(f"{path}:{line}: {columns} are not all numbers from 0 to 1.")
            if (known := row_of.get(sample)) is None:
                continue
            if sample in seen:
                fitted += 1
            else:
                probabilities[known] = values
    except ValueError as error:
        raise ConfigError(f"probabilities={path}: {error}.") from error
    if fitted:
        log.warning(
            "probabilities=%s: %s images were in its model's training, which is no judge of their labels; they are "
            "left out.",
            path, f"{fitted:,}",
        )  # fmt: skip
    if fitted and np.isnan(probabilities).all():
        raise ConfigError(
            f"probabilities={path}: its model was fitted to all images of this dataset that are in it. Leave it out: "
            f"the audit then fits classifiers that have not seen the images that they judge."
        )
    if np.isnan(probabilities).all():
        raise ConfigError(
            f"probabilities={path}: none of its ids is a sample of this dataset, whose ids look like "
            f"'{samples.ids[0]}'. Is it of another dataset, or of another form of this one?"
        )
    return probabilities
