"""Which samples train, choose and test: splits that a dataset lacks, folds of subjects, and the checks of both."""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fer.data.samples import SPLITS, Samples
from fer.errors import ConfigError, DatasetError, listing

log = logging.getLogger(__name__)

_FEW_SUBJECTS = 2000


def carve(samples: Samples, shares: Mapping[str, float], seed: int, name: str) -> Samples:
    """Make the validation and test splits that a dataset lacks, out of its training split.

    Stratified by class and seeded. Exact copies of an image stay on one side, so that no carved split repeats
    a training image; where the subjects are known, all images of one stay on one side.

    Args:
        samples: The dataset.
        shares: For each split that is wanted, the share of the training images that it gets if there is none.
        seed: Draws the images.
        name: The dataset's name.
    """
    present = set(samples.splits.tolist())
    missing = {split: share for split, share in shares.items() if split not in present}
    for split, share in missing.items():
        if share == 0:
            log.warning("%s has no %s split, and data.%s_fraction=0 carves none.", name, split, split)
    missing = {split: share for split, share in missing.items() if share > 0}
    if not missing:
        return samples
    carver = _carve_images if samples.subjects is None else _carve_subjects
    splits = carver(samples, missing, seed)
    of = "each class" if samples.subjects is None else "the subjects"
    for split, share in missing.items():
        log.info(
            "%s has no %s split: %d of %d training images (%.0f %% of %s, seed %d) were set aside for it.",
            name, split, int((splits == split).sum()), int((samples.splits == "train").sum()), 100 * share, of, seed,
        )  # fmt: skip
    return replace(samples, splits=splits)


def _carve_images(samples: Samples, shares: dict[str, float], seed: int) -> npt.NDArray[np.str_]:
    splits = samples.splits.astype("<U5")
    train = np.flatnonzero(splits == "train")
    hashes = np.array([hashlib.blake2b(samples.images[row].tobytes(), digest_size=8).digest() for row in train])
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    group_label = samples.labels[train][first]
    generator = np.random.default_rng(seed)
    for label in range(len(samples.classes)):
        members = generator.permutation(np.flatnonzero(group_label == label))
        start = 0
        for split, share in shares.items():
            # At least one of each class, where there are enough images to share at all.
            count = max(1, round(share * len(members))) if len(members) > len(shares) else 0
            splits[train[np.isin(group, members[start : start + count])]] = split
            start += count
    return splits


def _carve_subjects(samples: Samples, shares: dict[str, float], seed: int) -> npt.NDArray[np.str_]:
    from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

    assert samples.subjects is not None
    splits = samples.splits.astype("<U5")
    left = 1.0
    for split, share in shares.items():
        train = np.flatnonzero(splits == "train")
        subjects = samples.subjects[train]
        parts = min(round(left / share), len(set(subjects.tolist())))
        if parts >= 2:  # else there is but one subject: check_splits says what is missing
            # Balancing the classes takes a look at every subject; among thousands, chance balances them well enough.
            few = len(set(subjects.tolist())) <= _FEW_SUBJECTS
            folds = (
                StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
                if few
                else GroupShuffleSplit(1, test_size=share / left, random_state=seed)
            )
            _, members = next(folds.split(train, samples.labels[train], subjects))
            splits[train[members]] = split
        left -= share
    return splits


def fold_of_subjects(samples: Samples, fold: int, folds: int | str, name: str) -> Samples:
    """Make one fold of the subjects the test split and all other subjects the training split.

    The folds are balanced by class and always the same, whatever the run's seed: fold 3 means the same people in
    every run.

    Args:
        samples: A dataset that knows its subjects; its own splits are given up.
        fold: The fold, from 0.
        folds: How many there are, or ``loso`` to leave one subject out at a time.
        name: The dataset's name.

    Raises:
        ConfigError: If the subjects are not known, or there is no such fold.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if samples.subjects is None:
        raise ConfigError(
            f"data.fold={fold}: {name} does not say who is in its pictures, so it has no folds of subjects."
        )
    rows = np.flatnonzero(samples.splits != "")
    subjects = samples.subjects[rows]
    people = np.unique(subjects)
    count = len(people) if folds == "loso" else int(folds)
    if not 2 <= count <= len(people):
        raise ConfigError(
            f"data.folds={folds}: {name} has {len(people)} subjects; choose from 2 to {len(people)}, or loso."
        )
    if not 0 <= fold < count:
        raise ConfigError(f"data.fold={fold}: must be from 0 to {count - 1}.")
    if folds == "loso":
        members = np.flatnonzero(subjects == people[fold])
    else:
        parts = StratifiedGroupKFold(count, shuffle=True, random_state=0)
        _, members = list(parts.split(rows, samples.labels[rows], subjects))[fold]
    splits = np.full(len(samples), "", dtype="<U5")
    splits[rows] = "train"
    splits[rows[members]] = "test"
    tested = np.unique(subjects[members])
    log.info(
        "%s: fold %d of %d tests %d subjects (%s) in %d images.",
        name, fold, count, len(tested), ", ".join(tested[:5]) + (", ..." if len(tested) > 5 else ""), len(members),
    )  # fmt: skip
    return replace(samples, splits=splits)


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


def check_subjects(samples: Samples, name: str) -> None:
    """Refuse splits that share a subject: a network would be tested on people whom it has learned.

    Raises:
        DatasetError: Naming the subjects.
    """
    if samples.subjects is None:
        return
    used = samples.splits != ""
    pairs = {(subject, split) for subject, split in zip(samples.subjects[used], samples.splits[used], strict=True)}
    times = Counter(subject for subject, _ in pairs)
    shared = sorted(str(subject) for subject, count in times.items() if count > 1)
    if shared:
        raise DatasetError(
            f"{name}: {len(shared)} subjects stand in more than one split:\n{listing(shared)}\n"
            f"  Split by subject instead, with data.fold=0 and so on."
        )
