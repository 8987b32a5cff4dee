"""Which samples train, choose and test: splits that a dataset lacks, folds of subjects, and the checks of both."""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fer.data.fingerprints import hashes
from fer.data.quality import flat
from fer.data.samples import SPLITS, Samples
from fer.errors import ConfigError, DatasetError, listing

log = logging.getLogger(__name__)

_FEW_SUBJECTS = 200
"""Of fewer subjects than these whole ones are chosen, so that the shares come near to what is asked for."""

Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


def carve(samples: Samples, shares: Mapping[str, float], seed: int, name: str) -> Samples:
    """Make the validation and test splits that a dataset lacks, out of its training split.

    The seed and an image's id alone decide its side: adding or removing other images does not move it, except where
    a split would lose its last image of a class. Exact copies of an image stay on one side, so that no carved split
    repeats a training image; where the subjects are known, all images of one subject stay on one side, and so do
    subjects that share an image. With few subjects, those are taken whose number of images comes nearest to the share.

    Args:
        samples: The dataset, with all its classes.
        shares: Split to the share of the training images that it gets if the dataset lacks it.
        seed: Draws the images.
        name: The dataset's name.

    Raises:
        ConfigError: If the shares leave nothing to train on.
    """
    present = set(samples.splits.tolist())
    missing = {split: share for split, share in shares.items() if split not in present}
    for split, share in missing.items():
        if share == 0:
            log.warning("%s has no %s split, and data.%s_fraction=0 carves none.", name, split, split)
    missing = {split: share for split, share in missing.items() if share > 0}
    if sum(missing.values()) >= 0.9999:
        said = " and ".join(f"data.{split}_fraction={share:g}" for split, share in missing.items())
        raise ConfigError(f"{said} leave no image to train on: {name} has neither split. Their sum must be below 1.")
    train = np.flatnonzero(samples.splits == "train")
    if not missing or not len(train):
        return samples
    pool = _Pool.of(samples, train, seed)
    few = samples.subjects is not None and len(pool.place) < _FEW_SUBJECTS
    sides = (_nearest if few else _by_threshold)(pool, missing)
    splits = samples.splits.astype("<U5")
    splits[train] = sides[pool.unit]
    for split, share in missing.items():
        units = ""
        if samples.subjects is not None:
            there, of = (len(np.unique(samples.subjects[rows])) for rows in (splits == split, train))
            units = f", of {there} of {of} subjects,"
        count = int((splits == split).sum())
        log.info(
            "%s has no %s split: %d of %d training images%s were set aside for it (%.1f %%; asked for: %.0f %% of %s, "
            "seed %d).",
            name, split, count, len(train), units, 100 * count / len(train), 100 * share,
            "each class" if samples.subjects is None else "the subjects", seed,
        )  # fmt: skip
    return replace(samples, splits=splits)


@dataclass(frozen=True)
class _Pool:
    """The units that are assigned to splits: subjects (those that share an image are one), or images with their copies.

    Attributes:
        unit: int64 of shape (N,), the unit (of U) of each training image.
        place: float64 of shape (U,), a number in [0, 1) that depends on the seed and the unit's name alone.
        has: bool of shape (U, C), the classes that it has images of.
        size: int64 of shape (U,), the number of its images.
    """

    unit: npt.NDArray[np.int64]
    place: Doubles
    has: Bools
    size: npt.NDArray[np.int64]

    @classmethod
    def of(cls, samples: Samples, rows: npt.NDArray[np.int64], seed: int) -> "_Pool":
        """Group the images of some rows."""
        if samples.subjects is not None:
            names, unit = np.unique(_people(samples, rows), return_inverse=True)
        else:
            order = np.argsort(samples.ids[rows], kind="stable")  # a unit of copies has the name of its first id
            same = hashes(samples.images, rows[order])
            _, first, unit = np.unique(same, return_index=True, return_inverse=True)
            names, unit = samples.ids[rows[order][first]], unit[np.argsort(order)]
        key = str(seed).encode()
        digests = (
            hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8, key=key) for name in names.tolist()
        )
        place = np.array([int.from_bytes(digest.digest(), "little") / 2**64 for digest in digests])
        has = np.zeros((len(names), len(samples.classes)), dtype=np.bool_)
        has[unit, samples.labels[rows]] = True
        return cls(unit, place, has, np.bincount(unit, minlength=len(names)))

    def from_end(self, split: str) -> npt.NDArray[np.int64]:
        """Return the units in the order in which a split takes them: ``test`` from 0 up, ``val`` from 1 down."""
        order = np.argsort(self.place, kind="stable")
        return order if split == "test" else order[::-1]


def _people(samples: Samples, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    """Return who is in the images of some rows, str of shape (N,); subjects that share an image have the first's name.

    Images of one flat colour show nobody. So are, for one, those that cannot be decoded and are left out.
    """
    assert samples.subjects is not None
    names, unit = np.unique(samples.subjects[rows], return_inverse=True)
    _, first, copy_of = np.unique(hashes(samples.images, rows), return_index=True, return_inverse=True)
    other = unit[first][copy_of]
    shared = np.flatnonzero(unit != other)
    if len(shared):
        shared = shared[~flat(samples.images)[rows[shared]]]
    if not len(shared):
        return np.asarray(names[unit])
    from scipy.sparse import coo_array  # both would delay a training's first step
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(shared)), (unit[shared], other[shared])), shape=(len(names), len(names)))
    group = connected_components(links, directed=False)[1]
    return np.asarray(names[np.unique(group, return_index=True)[1]][group][unit])


def _by_threshold(pool: _Pool, shares: Mapping[str, float]) -> npt.NDArray[np.str_]:
    """Return each unit's side, str of shape (U,): its place decides, unless that leaves a class without images."""
    sides = np.full(len(pool.place), "train", dtype="<U5")
    for split, share in shares.items():
        sides[pool.place < share if split == "test" else pool.place >= 1 - share] = split
    for column in pool.has.T:
        members = np.flatnonzero(column)
        if len(members) <= len(shares):  # too few to be split
            continue
        members = members[np.argsort(pool.place[members], kind="stable")]
        for split in shares:
            if not (sides[members] == split).any():
                sides[members[0 if split == "test" else -1]] = split
        if not (sides[members] == "train").any():
            sides[members[len(members) // 2 if "test" in shares else (len(members) - 1) // 2]] = "train"
    return sides


def _nearest(pool: _Pool, shares: Mapping[str, float]) -> npt.NDArray[np.str_]:
    """Return each unit's side, str of shape (U,): units are taken as they come, if that is nearer to the share."""
    sides = np.full(len(pool.place), "train", dtype="<U5")
    # Always in this order, as if both were wanted: the test split is the same with and without a validation split.
    for split in (split for split in ("test", "val") if split in shares):
        later = 1 + (split == "test" and ("val" in shares or len(sides) > 2))
        order = pool.from_end(split)
        for guarded in (True, False):  # a class's last units are taken only if no others are left

            def free(unit: int, guarded: bool = guarded, later: int = later) -> bool:
                left = sides == "train"
                few = pool.has[left].sum(0) <= later
                return bool(left[unit]) and left.sum() > later and not (guarded and (few & pool.has[unit]).any())

            for emotion in np.argsort(pool.has.sum(0), kind="stable"):
                if not pool.has[sides == split, emotion].any():
                    first = next((unit for unit in order if pool.has[unit, emotion] and free(unit)), None)
                    if first is not None:
                        sides[first] = split
            if (sides == split).any():
                break
        target = shares[split] * pool.size.sum()
        for unit in order:
            count = pool.size[sides == split].sum()
            if abs(count + pool.size[unit] - target) < abs(count - target) and free(unit):
                sides[unit] = split
    return sides


def fold_of_subjects(samples: Samples, fold: int, folds: int | str, name: str) -> Samples:
    """Make one fold of the subjects the test split and all other subjects the training split.

    The folds are balanced by class and always the same, whatever the run's seed: fold 3 means the same people in
    every run. Subjects that share an image are tested together.

    Args:
        samples: A dataset whose subjects are known; its own splits are replaced.
        fold: The fold, from 0.
        folds: Number of folds, or ``loso`` to leave one subject out at a time.
        name: The dataset's name.

    Raises:
        ConfigError: If the subjects are not known, there is no such fold, or too few subjects or images for so many.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if samples.subjects is None:
        raise ConfigError(
            f"data.fold={fold}: {name} does not say who is in its pictures, so it has no folds of subjects."
        )
    rows = np.flatnonzero(samples.splits != "")
    subjects = _people(samples, rows)
    people = np.unique(subjects)
    loso = folds == "loso"
    count = len(people) if loso else int(folds)
    largest = int(np.bincount(samples.labels[rows], minlength=1).max())  # scikit-learn takes no more folds than these
    most = len(people) if loso else min(len(people), largest)
    if not 2 <= count <= most:
        choices = [*([f"from 2 to {most}"] if most > 1 else []), "loso"]
        raise ConfigError(
            f"data.folds={folds}: {name} has {len(people)} subjects, and {largest} images of its largest class; choose "
            f"{', or '.join(choices)}."
        )
    if not 0 <= fold < count:
        raise ConfigError(f"data.fold={fold}: must be from 0 to {count - 1}.")
    if loso:
        members = np.flatnonzero(subjects == people[fold])
    else:
        parts = StratifiedGroupKFold(count, shuffle=True, random_state=0)
        _, members = list(parts.split(rows, samples.labels[rows], subjects))[fold]
    splits = np.full(len(samples), "", dtype="<U5")
    splits[rows] = "train"
    splits[rows[members]] = "test"
    tested = np.unique(samples.subjects[rows[members]])
    log.info(
        "%s: fold %d of %d tests %d subjects (%s) in %d images.",
        name, fold, count, len(tested), ", ".join(tested[:5]) + (", ..." if len(tested) > 5 else ""), len(members),
    )  # fmt: skip
    return replace(samples, splits=splits)


def check_splits(samples: Samples, name: str) -> None:
    """Refuse a dataset with one class, without training or validation images, or with a class that lacks either.

    Raises:
        DatasetError: Naming the split or the classes, with the counts.
    """
    if len(samples.classes) < 2:
        raise DatasetError(
            f"{name} has one class, {', '.join(map(repr, samples.classes))}: there is nothing to tell apart. A network "
            f"needs images of two or more."
        )
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
    """Refuse splits that share a subject: a network would be tested on people it was trained on.

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
