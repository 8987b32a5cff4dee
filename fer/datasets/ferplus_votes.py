"""FER+'s votes: the file of them, and how they become labels.

The rules are those of the published program. A single vote for a class counts as none. Then, by mode:

- ``majority``: the class with more than half of the votes.
- ``probability``, ``crossentropy``: the distribution of the most frequent classes, until they have three quarters of
  the votes. Equally frequent ones are taken together; more than three, or no more than half of the votes, is no label.
- ``multi_target``: all classes with at least 30 % of the votes, if they have more than half of them together.

Images for which ``unknown`` or ``NF`` (not a face) is thus the most frequent have no label.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fer.data.labels import EMOTIONS, canonical
from fer.data.rows import csv_rows, parse_rows
from fer.datasets.fer2013_rows import USAGES
from fer.errors import DatasetError, LabelError, listing

SOURCE = "https://github.com/microsoft/FERPlus"

MODES = ("majority", "probability", "crossentropy", "multi_target")
"""The published ways to make labels of votes."""

RATERS = 10
"""Votes for each image (one image has nine)."""

PUBLISHED = {
    "train": (2100, 119, 532, 7287, 3014, 3149, 8740, 119),
    "val": (287, 24, 62, 865, 351, 415, 1182, 13),
    "test": (273, 18, 83, 893, 384, 396, 1090, 16),
}
"""Images of each of :data:`fer.data.labels.EMOTIONS` by majority, in the published votes."""

COLUMNS = (*EMOTIONS, "unknown", "nf")
"""What people could vote for, in this project's order."""

_ROWS = 35887


class Votes(NamedTuple):
    """The file of votes, row by row."""

    counts: npt.NDArray[np.int64]
    """Shape (N, 10), in the order of :data:`COLUMNS`."""
    splits: npt.NDArray[np.str_]
    """Shape (N,)."""
    named: npt.NDArray[np.bool_]
    """Shape (N,): whether the row has an image name; those without are no faces."""


def read_votes(path: Path) -> Votes:
    """Read ``fer2013new.csv``.

    Raises:
        DatasetError: If the file or rows of it are broken (all are named), or if it is complete but not as published.
    """
    rows = csv_rows(path)
    _, header = next(rows, ("", []))
    names = [_column(name) for name in header]
    wanted = ("usage", "image name", *COLUMNS)
    if missing := [name for name in wanted if name not in names]:
        raise DatasetError(
            f"{path}: no column {' and no column '.join(missing)}. Expected Usage, Image name, the eight emotions, "
            f"unknown and NF in the first line, but found: {','.join(header)[:200]}"
        )
    usage, image, *columns = (names.index(name) for name in wanted)

    def parse(fields: list[str]) -> tuple[list[int], str, bool]:
        if len(fields) != len(names):
            raise ValueError(f"{len(fields)} columns, expected {len(names)}")
        if fields[usage] not in USAGES:
            raise ValueError(f"Usage '{fields[usage][:20]}' is none of {', '.join(USAGES)}")
        return parse_votes([fields[column] for column in columns]), USAGES[fields[usage]], bool(fields[image])

    parsed = parse_rows(rows, parse)
    if not parsed:
        raise DatasetError(f"{path}: no rows of votes. Get it again from {SOURCE}")
    counts, splits, named = zip(*parsed, strict=True)
    votes = Votes(np.array(counts, dtype=np.int64), np.array(splits), np.array(named))
    if len(counts) == _ROWS:
        _check_published(votes, path)
    return votes


def _column(name: str) -> str:
    """Return a column's name in lower case; an emotion's canonical name."""
    try:
        return canonical(name)
    except LabelError:
        return name.lower()


def parse_votes(fields: Sequence[str]) -> list[int]:
    """Return ten counts of votes.

    Raises:
        ValueError: If they are not ten whole numbers.
    """
    if wrong := [field for field in fields if not field.isdecimal()]:
        raise ValueError(f"'{wrong[0][:20]}' is not a number of votes")
    votes = [int(field) for field in fields]
    if sum(votes) > RATERS:
        raise ValueError(f"{sum(votes)} votes, but there are {RATERS} raters")
    return votes


def distributions(votes: npt.NDArray[np.int64], mode: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Turn votes into labels, as the published program does.

    Args:
        votes: int64 of shape (N, 10): eight emotions in any order, then unknown and not-a-face.
        mode: One of :data:`MODES`.

    Returns:
        Distributions over the eight emotions, float32 of shape (N, 8), one-hot for ``majority``; and which rows have
        one, bool of shape (N,). The others are all 0.
    """
    votes = np.where(votes > 1, votes, 0)
    total = votes.sum(1)
    if mode == "majority":
        taken = votes > 0.5 * total[:, None]
    elif mode == "multi_target":
        taken = votes >= 0.3 * total[:, None]
    else:
        taken = _most_frequent(votes, total)
    chosen = np.where(taken, votes, 0)
    emotions = chosen[:, :8]
    keep = (chosen.sum(1) > 0.5 * total) & (taken[:, :8].sum(1) <= 3) & (chosen.argmax(1) < 8)
    shares = np.zeros(emotions.shape, dtype=np.float32)
    np.divide(emotions, emotions.sum(1, keepdims=True), out=shares, where=keep[:, None], casting="same_kind")
    return shares, keep


def _most_frequent(votes: npt.NDArray[np.int64], total: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say which classes add up to three quarters of the votes, bool of shape (N, 10).

    Classes are added from the most frequent down, ties together, until there are three. Unknown and not-a-face are
    never added but stop the search, after the emotions of the same frequency.
    """
    taken = np.zeros(votes.shape, dtype=np.bool_)
    going_on = total > 0
    for count in range(RATERS, 1, -1):
        equal = (votes == count) & going_on[:, None]
        taken[:, :8] |= equal[:, :8]
        enough = np.where(taken, votes, 0).sum(1) >= 0.75 * total
        going_on &= ~enough & (taken.sum(1) < 3) & ~equal[:, 8:].any(1)
    return taken


def _check_published(votes: Votes, path: Path) -> None:
    """Refuse a complete file of votes whose majorities are not the published ones."""
    targets, kept = distributions(votes.counts, "majority")
    wrong: list[str] = []
    for split, published in PUBLISHED.items():
        found = np.bincount(targets.argmax(1)[kept & (votes.splits == split)], minlength=len(EMOTIONS))
        wrong += [
            f"{split} {emotion}: {count:,}, published {right:,}"
            for emotion, count, right in zip(EMOTIONS, found.tolist(), published, strict=True)
            if count != right
        ]
    if wrong:
        raise DatasetError(
            f"{path} is not the published file of votes; its majorities are others:\n{listing(wrong)}\n"
            f"  Get it again from {SOURCE}"
        )
