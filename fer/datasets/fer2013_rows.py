"""Which row of ``fer2013.csv`` an image was, and in which split: from its file's name, if that is certain.

Files named ``Training_N`` and so on say their split. Files named by a number may be rows of ``fer2013.csv``, as in one
published archive, or numbered by somebody else. They are taken for rows only if the images of each class in each split
are then those that were published: no other numbering comes near to that.
"""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer.data.entries import Entry
from fer.data.labels import BASIC
from fer.data.samples import Samples, readable

log = logging.getLogger(__name__)

USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
"""The csv's ``Usage``, and the split that it means."""

PUBLISHED = {
    "train": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "val": (467, 56, 496, 895, 653, 415, 607),
    "test": (491, 55, 528, 879, 594, 416, 626),
}
"""Images of each of :data:`fer.data.labels.BASIC` in the published file."""

_FIRST_ROW = {"train": 0, "val": 28709, "test": 32298}
_ROWS = 35887
_MAY_LACK = 0.01  # share of the rows: flat images, or copies, may have been removed

Rows = npt.NDArray[np.int64]


def rows_of(samples: Samples) -> Rows:
    """Return the row of ``fer2013.csv``, from 0, that each image was.

    Args:
        samples: FER2013, as :mod:`fer.datasets.fer2013` reads it; ids are ``fer2013.csv:<row>`` or ``.../<row>.jpg``.

    Returns:
        int64 of shape (N,); -1 where that is not certain.
    """
    ids = samples.ids.tolist()
    if all(found := [re.fullmatch(r"[^/]+:(\d{1,9})", name) for name in ids]):
        return np.array([int(match[1]) for match in found if match], dtype=np.int64)
    rows = np.array([_number(name) for name in ids], dtype=np.int64)
    numbered = np.flatnonzero(rows >= 0)
    if doubt(rows[numbered], samples.labels[numbered]):
        rows[:] = -1
    return rows


def doubt(rows: Rows, labels: Rows) -> str:
    """Say why numbers cannot be taken for rows of ``fer2013.csv``; nothing if the counts of the classes prove it.

    Args:
        rows: int64 of shape (N,), from 0.
        labels: int64 of shape (N,), indices of :data:`fer.data.labels.BASIC`.
    """
    if not len(rows):
        return ""
    if rows.max() >= _ROWS:
        return f"it has {_ROWS:,} rows, and a number is larger"
    number, times = Counter(rows.tolist()).most_common(1)[0]
    if times > 1:
        return f"{times} images have the number {number}"
    splits = splits_of(rows)
    for split, published in PUBLISHED.items():
        counts = np.bincount(labels[splits == split], minlength=len(BASIC))
        for emotion, count, right in zip(BASIC, counts.tolist(), published, strict=True):
            if count > right:
                return f"of the rows of its {split} split {right:,} are {emotion}, and here they would be {count:,}"
    total = sum(map(sum, PUBLISHED.values()))
    if len(rows) < (1 - _MAY_LACK) * total:
        return f"it has {total:,} images, and of these {len(rows):,} nothing proves that they are from it"
    return ""


def splits_of(rows: Rows) -> npt.NDArray[np.str_]:
    """Return the split of each row of ``fer2013.csv``, str of shape (N,)."""
    return np.array(list(_FIRST_ROW))[np.searchsorted(list(_FIRST_ROW.values()), rows, side="right") - 1]


def restore_splits(entries: Sequence[Entry], base: Path) -> list[str]:
    """Return each image's original split: from its name's prefix or row, if that is certain, else from its folder.

    Args:
        entries: The images, with their folders' splits.
        base: Where they stand, for messages.
    """
    splits = [entry.split for entry in entries]
    numbers = np.array([_number(entry.path) for entry in entries], dtype=np.int64)
    numbered = np.flatnonzero(numbers >= 0).tolist()
    labels = np.array([BASIC.index(entries[place].emotion) for place in numbered], dtype=np.int64)
    why = doubt(numbers[numbered], labels)
    if not why:
        for place, split in zip(numbered, splits_of(numbers[numbered]).tolist(), strict=True):
            splits[place] = split
    unknown = set(numbered) if why else set()
    for place, entry in enumerate(entries):
        usage = entry.path.rpartition("/")[2].partition("_")[0]
        if usage in USAGES:
            splits[place] = USAGES[usage]
        elif numbers[place] < 0:
            unknown.add(place)
    _tell(entries, splits, sorted(unknown), why, base)
    return splits


def _tell(entries: Sequence[Entry], splits: Sequence[str], unknown: Sequence[int], why: str, base: Path) -> None:
    """Warn of images whose split is not certain, and of those whose folder says another one."""
    if why:
        numbered = next(entries[place].path for place in unknown if _number(entries[place].path) >= 0)
        log.warning(
            "%s: images are named by numbers (such as %s), but those are not taken for rows of fer2013.csv: %s.",
            base, readable(numbered), why,
        )  # fmt: skip
    if unknown:
        log.warning(
            "%s: the names of %d images (such as %s) do not say where in FER2013 they come from, so their "
            "folder decides: PublicTest and PrivateTest are mixed in 'test', and no published score is "
            "comparable with it. Images of your own are read with data=folder.",
            base, len(unknown), readable(entries[unknown[0]].path),
        )  # fmt: skip
    # The published folders have both in `test`: only what trains, or should not, is a surprise.
    moved = [place for place, entry in enumerate(entries) if (entry.split == "train") != (splits[place] == "train")]
    if moved:
        log.warning(
            "%s: %d of %d images do not stand in a folder of the split that FER2013 has them in, which is the one that "
            "counts (such as %s: %s). To keep the folders' splits, read them with data=folder.",
            base, len(moved), len(entries), readable(entries[moved[0]].path), splits[moved[0]],
        )  # fmt: skip


def _number(path: str) -> int:
    """Return the number that a file is named by; -1 if there is none."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    return min(int(stem), _ROWS) if re.fullmatch("[0-9]+", stem) else -1
