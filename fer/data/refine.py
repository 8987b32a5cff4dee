"""Softer training labels from an audit: each is mixed with what a classifier that was not fitted to the image says.

After Reed et al., "Training Deep Neural Networks on Noisy Labels with Bootstrapping", ICLR 2015 workshop,
https://arxiv.org/abs/1412.6596, with out-of-fold probabilities in place of the network's own. Nothing on disk is
touched, labels stay what scores and class counts go by, and the validation and test splits are left alone.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer.data.samples import Samples
from fer.errors import ConfigError
from fer.files import predictions
from fer.files.csv_table import write_csv

log = logging.getLogger(__name__)

FILE = "probabilities.csv"
"""In an audit's folder: probabilities of the training images, each from classifiers fitted to other training images."""
TABLE = "refined_labels.csv"
"""In a run's folder: the training images whose most probable class is no longer their label."""


def refined(samples: Samples, where: Path, weight: float, name: str) -> Samples:
    """Mix the training images' labels with an audit's probabilities; those with none for any of the classes stay.

    Args:
        samples: The dataset, in the splits of the run.
        where: The audit's folder, or its file of probabilities.
        weight: Their share of the new label, from 0 to 1.
        name: The dataset's name.

    Returns:
        The samples with ``targets``.

    Raises:
        ConfigError: If the file cannot be used, is of another dataset, knows the labels of images that choose or test
            the network, or the images have several raters' votes.
    """
    key, path = f"data.refine={where}", where / FILE if where.is_dir() else where
    if samples.targets is not None:
        raise ConfigError(
            f"{key}: {name} has several raters' votes for each image, which need no refining. Leave it out."
        )
    found = _read(key, path, samples)
    known = np.isin(samples.ids, list(found))
    for split in ("val", "test"):
        if count := int((known & (samples.splits == split)).sum()):
            raise ConfigError(
                f"{key}: the audit's classifiers were fitted to {count:,} images that are {split} in this run, so the "
                f"training labels would tell of them. Audit data that have their splits on disk."
            )
    targets = np.eye(len(samples.classes), dtype=np.float32)[np.maximum(samples.labels, 0)]
    rows = np.flatnonzero(known & (samples.splits == "train"))
    if not len(rows):
        raise ConfigError(
            f"{key}: none of its {len(found):,} ids is a training image of {name} (whose ids look like "
            f"'{samples.ids[0]}'). Is it of another dataset, or of another form of this one?"
        )
    p = _probabilities(key, path, [found[one] for one in samples.ids[rows].tolist()], samples.classes)
    said = p.sum(1) > 0  # all of an image's may be of classes that were left out
    rows, p = rows[said], p[said]
    targets[rows] = (1 - weight) * targets[rows] + weight * p / p.sum(1, keepdims=True)
    changed = int((targets[rows].argmax(1) != samples.labels[rows]).sum())
    train = int((samples.splits == "train").sum())
    log.info(
        "%s: %s of %s training labels are refined by %s; of %s another class is now the most probable.",
        name, f"{len(rows):,}", f"{train:,}", path, f"{changed:,}",
    )  # fmt: skip
    return replace(samples, targets=targets)


def _read(key: str, path: Path, samples: Samples) -> dict[str, tuple[int, list[float] | None]]:
    """Return each id's line, and its probabilities of the classes; None where they are wrong."""
    if not path.is_file():
        raise ConfigError(f"{key}: there is no {path}. python -m fer.audit refine=true leaves one in its folder.")
    try:
        found = predictions.read_probabilities(path, samples.classes)
        return {sample: (line, values) for line, sample, values in found}
    except (ValueError, OSError) as error:
        raise ConfigError(f"{key}: {path} {error}.") from error


def _probabilities(
    key: str, path: Path, used: Sequence[tuple[int, list[float] | None]], classes: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return the probabilities of the images that are used, float32 of shape (N, C)."""
    if wrong := [line for line, values in used if values is None]:
        columns = ", ".join(f"p_{name}" for name in classes)
        raise ConfigError(f"{key}: {path}:{wrong[0]}: {columns} are not all numbers from 0 to 1.")
    return np.array([values for _, values in used], dtype=np.float32)


def write_changes(path: Path, samples: Samples) -> None:
    """Write the training images whose most probable class is no longer their label: id, both, and the new label.

    Args:
        path: The file.
        samples: From :func:`refined`.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    assert samples.targets is not None
    likely = samples.targets.argmax(1)
    rows = np.flatnonzero((samples.splits == "train") & (likely != samples.labels))

    def lines() -> Iterable[list[str]]:
        assert samples.targets is not None
        for row in rows.tolist():
            values = [f"{value:.6f}" for value in samples.targets[row]]
            yield [samples.ids[row], samples.classes[samples.labels[row]], samples.classes[likely[row]], *values]

    write_csv(path, ["id", "label", "refined", *(f"p_{name}" for name in samples.classes)], lines())
