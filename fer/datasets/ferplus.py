"""FER+: the faces of FER2013, each labelled anew by ten people.

What it is: ten votes for each of FER2013's 35,887 images (grey, 48x48), over eight emotions, ``unknown`` and ``NF``
(not a face). The images themselves are FER2013's and not part of it.

Classes: neutral, happy, surprise, sad, angry, disgust, fear, contempt.

Layout on disk, one of::

    fer2013new.csv[.gz]       Usage,Image name,neutral,happiness,...,contempt,unknown,NF: the votes, one row per row of
    fer2013.csv               FER2013 (or icml_face_data.csv, or folders of <row>.jpg: see fer.datasets.fer2013)

    [data/]FER2013Train|FER2013Valid|FER2013Test/label.csv      no header: fer0000000.png,"(0, 0, 48, 48)",<ten votes>
    [data/]FER2013Train|FER2013Valid|FER2013Test/fer0000000.png

    [fer2013/]train|validation|test/<class>/*                   passed on with one label each, and without the votes

Votes and images are joined by their row alone: the numbers in ``Image name`` fall behind the rows, since images that
are no faces have no name.

``mode`` says how the votes of training images become labels (:mod:`fer.datasets.ferplus_votes` has the rules):
``majority``, one label; ``crossentropy``, a distribution; ``probability``, one label drawn from that in each epoch;
``multi_target``, a set of labels, for ``loss=multi_target``. Validation and test images always have the majority's
label, as in the
published protocol. Images whose votes make no label are in no split. Where splits are carved out of a part of FER2013,
they are carved out of what ``mode`` gave.

Splits: FER2013's. By majority 25,060 training images, 3,199 for validation and 3,153 for the test; 27,956 training
images by probability or crossentropy.

Licence: the votes MIT; the images for research only (see :mod:`fer.datasets.fer2013`).

Citation: E. Barsoum, C. Zhang, C. Canton Ferrer, Z. Zhang, "Training Deep Networks for Facial Expression Recognition
with Crowd-Sourced Label Distribution", ICMI 2016.

Source: https://github.com/microsoft/FERPlus
"""

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fer.data.base import FERDataModule
from fer.data.entries import Entry, find_path, read_entries
from fer.data.labels import EMOTIONS
from fer.data.rows import csv_rows, parse_rows
from fer.data.samples import Samples
from fer.data.split_folders import split_folders
from fer.data.squares import Box
from fer.datasets.fer2013 import read_fer2013
from fer.datasets.fer2013_rows import USAGES, rows_of
from fer.datasets.ferplus_votes import COLUMNS, MODES, SOURCE, Votes, distributions, parse_votes, read_votes
from fer.datasets.folder import find_entries
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError, did_you_mean, listing

log = logging.getLogger(__name__)

_SPLIT_SIZES = {"train": 28709, "val": 3589}
_PER_CENT = 66  # of images have the same emotion in FER2013 and FER+; by chance about 20 %
_PIECE = 200  # images in a row
_LEAST_OF_PIECE = 0.4  # share of such a row with the same emotion; far below that of the published files
_ORIGINAL = "Use the original fer2013.csv or icml_face_data.csv, with its rows in order."

# Microsoft's folders, and the columns of their label.csv, which has no header, after the image and the box.
_FOLDERS = {"FER2013Train": "train", "FER2013Valid": "val", "FER2013Test": "test"}
_VOTES = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown", "nf")


class FERPlus(FERDataModule):
    """FER+: Training fits, PublicTest selects, PrivateTest is tested once.

    Args:
        root: The folder, or FER2013's csv file itself.
        votes: The file of votes; None to look for ``fer2013new.csv`` in ``root``.
        mode: How votes become training labels, one of :data:`fer.datasets.ferplus_votes.MODES`.
        **loading: See :class:`fer.data.base.FERDataModule`.

    Raises:
        ConfigError: If there is no such mode.
    """

    name = "ferplus"
    source = SOURCE

    def __init__(self, root: str, votes: str | None = None, mode: str = "majority", **loading: Any) -> None:
        super().__init__(**loading)
        if mode not in MODES:
            raise ConfigError(f"data.mode={mode}: must be one of {', '.join(MODES)}.{did_you_mean(mode, MODES)}")
        self.root, self.mode = Path(root).expanduser(), mode
        self.votes = Path(votes).expanduser() if votes else None
        self.draw_targets = mode == "probability"

    def read(self) -> Samples:
        """Read whichever form stands in ``root``."""
        if self.votes and not self.votes.is_file():
            raise ConfigError(f"data.votes={self.votes}: no such file. fer2013new.csv is found at {self.source}")
        base = self.root.parent if self.root.is_file() else self.root
        votes = self.votes or find_path(base, "fer2013new.csv", "fer2013new.csv.gz")
        found = {split: find_path(base, f"data/{name}", name) for name, split in _FOLDERS.items()}
        folders = {folder: split for split, folder in found.items() if folder}
        # Microsoft's repository has the votes in both forms, but no images until the user has made them.
        has_images = any(next(folder.glob("*.png"), None) for folder in folders)
        if votes and (self.votes or not has_images):
            return self._join(votes)
        if folders:
            if not has_images:
                raise DatasetError(
                    f"{base} has Microsoft's label.csv files but no images, which FER+ does not contain. Put "
                    f"fer2013new.csv and FER2013's fer2013.csv there, or make the images with its "
                    f"generate_training_data.py."
                )
            return self._read_microsoft(base, folders)
        for place in (base, base / "fer2013"):
            if split_folders(place):
                return self._read_class_folders(place)
        raise DatasetNotFoundError(
            self.name,
            [base / "fer2013new.csv", base / "data/FER2013Train/label.csv", base / "train"],
            "fer2013new.csv together with FER2013's fer2013.csv, Microsoft's folders FER2013Train, FER2013Valid and "
            "FER2013Test, or folders train|validation|test/<class>/ of images.",
            self.source,
        )

    def _join(self, path: Path) -> Samples:
        """Give FER2013's images, where they are, the labels that the votes make; images without one are in no split."""
        votes = read_votes(path)
        samples = read_fer2013(self.root, self.cache_dir, self.excluded, self.as_files)
        rows = rows_of(samples)
        _check_rows(samples, rows, votes, path, self.excluded)
        targets, kept = _targets(votes.counts[rows], samples.splits, self.mode)
        kept &= votes.named[rows]
        labels = np.where(kept, targets.argmax(1), -1)
        in_order = np.flatnonzero(kept)[np.argsort(rows[kept], kind="stable")]
        _check_agreement(samples.labels[in_order], labels[in_order], rows[in_order], path)
        log.info(
            "FER+: %d of %d images have a label by %s; %d rows of %s have no image.",
            kept.sum(), len(samples), self.mode, len(votes.counts) - len(samples), path,
        )  # fmt: skip
        return replace(
            samples,
            labels=labels,
            splits=np.where(kept, samples.splits, ""),
            classes=EMOTIONS,
            targets=None if self.mode == "majority" else targets,
        )

    def _read_microsoft(self, base: Path, folders: Mapping[Path, str]) -> Samples:
        listed: list[_Listed] = []
        for folder, split in folders.items():
            label = find_path(folder, "label.csv")
            if label is None:
                raise DatasetError(f"{folder} has no label.csv. It is found at {self.source}")
            below = folder.relative_to(base).as_posix()
            listed += parse_rows(csv_rows(label), partial(_parse_listed, below=below, split=split))
        if not listed:
            raise DatasetError(f"{base} has label.csv files without a row. They are found at {self.source}")
        splits = np.array([row.split for row in listed])
        targets, kept = _targets(np.array([row.votes for row in listed]), splits, self.mode)
        labels = targets.argmax(1)
        entries = [
            Entry(row.path, row.split, EMOTIONS[label], box=row.box)
            for row, label, keep in zip(listed, labels, kept, strict=True)
            if keep
        ]
        samples = read_entries(self.name, base, entries, **self.storage)
        return replace(
            samples,
            labels=labels[kept],
            classes=EMOTIONS,
            targets=None if self.mode == "majority" else targets[kept],
        )

    def _read_class_folders(self, base: Path) -> Samples:
        entries = find_entries(base)
        if "contempt" not in {entry.emotion for entry in entries}:
            raise LabelError(
                f"{base} has no class folder for contempt: these seem to be FER2013's own labels, not those of FER+. "
                f"Put fer2013new.csv and fer2013.csv there, or read them with data=fer2013."
            )
        if self.mode != "majority":
            raise ConfigError(
                f"data.mode={self.mode} needs the votes, but {base} has class folders, with one label for each image. "
                f"Put fer2013new.csv and fer2013.csv there, or choose data.mode=majority."
            )
        counts = Counter(entry.split for entry in entries)
        if copied := [split for split, size in _SPLIT_SIZES.items() if counts[split] > size]:
            log.warning(
                "%s has %d %s images, more than FER2013 has (%d): they contain augmented copies, and no published "
                "score is comparable with it.",
                base, counts[copied[0]], copied[0], _SPLIT_SIZES[copied[0]],
            )  # fmt: skip
        if not counts["val"]:
            log.warning(
                "%s has no validation split: FER2013's splits were mixed, and no published score is comparable with "
                "it.",
                base,
            )
        return read_entries(self.name, base, entries, **self.storage)


def _targets(
    votes: npt.NDArray[np.int64], splits: npt.NDArray[np.str_], mode: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return :func:`distributions` by ``mode`` for training images, by majority for all others."""
    targets, kept = distributions(votes, "majority")
    train = splits == "train"
    targets[train], kept[train] = distributions(votes[train], mode)
    return targets, kept


class _Listed(NamedTuple):
    """A row of Microsoft's ``label.csv``."""

    path: str
    split: str
    box: Box
    votes: list[int]
    """In the order of :data:`fer.datasets.ferplus_votes.COLUMNS`."""


def _parse_listed(fields: Sequence[str], below: str, split: str) -> _Listed:
    """Return what a row says of an image in the folder ``below``.

    Raises:
        ValueError: Saying what is wrong with the row.
    """
    if len(fields) != 2 + len(_VOTES):
        raise ValueError(f"{len(fields)} columns, expected an image, a box and {len(_VOTES)} votes")
    found = re.fullmatch(r"\((\d+), *(\d+), *(\d+), *(\d+)\)", fields[1])
    left, top, right, bottom = map(int, found.groups()) if found else (0, 0, 0, 0)
    if right <= left or bottom <= top:
        raise ValueError(f"'{fields[1][:40]}' is not a box (left, top, right, bottom)")
    votes = parse_votes([fields[2 + _VOTES.index(name)] for name in COLUMNS])
    return _Listed(f"{below}/{fields[0]}", split, (left, top, right, bottom), votes)


def _check_rows(
    samples: Samples, rows: npt.NDArray[np.int64], votes: Votes, path: Path, excluded: Collection[str]
) -> None:
    """Refuse images whose row in the file of votes is not certain; those that are left out later may be broken."""
    if (rows < 0).any():
        raise DatasetError(
            f"FER+ is joined to FER2013 by row, but the names of {int((rows < 0).sum())} images (such as "
            f"{samples.ids[int(rows.argmin())]}) do not say, or not for certain, which row of fer2013.csv they were. "
            f"Use FER2013's fer2013.csv or icml_face_data.csv: data.root=<the file>."
        )
    if rows.max() >= len(votes.counts):
        raise DatasetError(
            f"{path} has {len(votes.counts)} rows of votes, but FER2013 has an image of row {rows.max()}. The file may "
            f"be cut off; get it again from {SOURCE}"
        )
    wrong = np.flatnonzero((samples.splits != votes.splits[rows]) & ~np.isin(samples.ids, sorted(excluded)))
    if len(wrong):
        usages = {split: usage for usage, split in USAGES.items()}
        rest = [
            f"{samples.ids[n]} is {usages[samples.splits[n]]}, row {rows[n]} of the votes is "
            f"{usages[votes.splits[rows[n]]]}"
            for n in wrong
        ]
        raise DatasetError(
            f"{len(wrong)} of {len(rows)} images have another Usage in FER2013 than in {path}, so their rows are not "
            f"the same:\n{listing(rest)}\n  Use the original fer2013.csv or icml_face_data.csv, with its rows in order."
        )


def _check_agreement(
    fer2013: npt.NDArray[np.int64], ferplus: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], path: Path
) -> None:
    """Refuse votes that are about other images: two of three are labelled alike in the published files.

    Images come in the order of their rows: where rows were taken out or put in, the labels disagree from there on.
    """
    # FER2013's classes are the first of EMOTIONS: labels can be compared as numbers.
    alike = fer2013 == ferplus
    if len(alike) < 100:
        return
    if alike.mean() < 0.5:
        raise DatasetError(
            f"only {100 * alike.mean():.0f} % of the images have the same emotion in FER2013 and in {path}, where "
            f"{_PER_CENT} % are expected: the rows of FER2013 are in another order. {_ORIGINAL}"
        )
    for start in [*range(0, len(alike) - _PIECE, _PIECE), max(0, len(alike) - _PIECE)]:
        piece = alike[start : start + _PIECE]
        if piece.mean() < _LEAST_OF_PIECE:
            raise DatasetError(
                f"from row {rows[start]} on only {100 * piece.mean():.0f} % of {len(piece)} images have the same "
                f"emotion in FER2013 and in {path}, where {_PER_CENT} % are expected: rows were taken out of FER2013, "
                f"or put in. {_ORIGINAL}"
            )
