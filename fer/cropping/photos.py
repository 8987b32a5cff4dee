"""Which photographs there are, of which class and split, and who is in them."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fer.data.images import find_images
from fer.data.samples import readable
from fer.data.split_folders import split_folders, subfolders, warn_of_left_out
from fer.errors import ConfigError, DatasetError, listing
from fer.files.csv_table import read_csv
from fer.files.home import expanded

log = logging.getLogger(__name__)

PREFIX = "prefix"
"""Word for subjects that stand in the file names: all before the first ``_``."""


@dataclass(frozen=True)
class Photo:
    """One photograph.

    Attributes:
        path: Relative to the source folder, with ``/``: ``[<split>/]<class>/...``.
        label: Its class folder's name.
        subject: Who is in it; empty if that is not known.
    """

    path: str
    label: str
    subject: str = ""

    @property
    def shown(self) -> str:
        """The path as text: a file name may hold bytes that are none."""
        return readable(self.path)


def find(root: Path, subjects: str | None) -> list[Photo]:
    """List the photographs of a tree of class folders, ``[<split>/]<class>/...``.

    Args:
        root: The folder that holds the class folders, or the split folders.
        subjects: ``prefix``, or a csv file with columns ``file`` (relative to ``root``) and ``subject``; None if it
            is not known who is in a photograph.

    Raises:
        ConfigError: If there is no such folder or csv file, or the csv lacks a column.
        DatasetError: If there are no class folders with photographs, or a photograph's subject is missing.
    """
    if not root.is_dir():
        raise ConfigError(f"source={root}: there is no such folder. It holds class folders: {root}/happy/*.jpg.")
    splits = list(split_folders(root)) or [""]
    found: list[Photo] = []
    others = 0
    for split in splits:
        for label in subfolders(root / split):
            images, left = find_images(root / split / label)
            others += len(left)
            below = f"{split}/{label}" if split else label
            found += [Photo(f"{below}/{image}", readable(label)) for image in images]
    if not found:
        raise DatasetError(
            f"source={root}: no photographs were found in class folders. Expected: {root}/<class>/*.jpg, or "
            f"{root}/<split>/<class>/*.jpg, with splits train, val and test."
        )
    if others:
        log.info("%s: files that are not photographs, left out: %d", root, others)
    warn_of_left_out(root, splits)
    found.sort(key=lambda photo: photo.path)
    return found if subjects is None else _with_subjects(found, root, subjects)


def _with_subjects(photos: Sequence[Photo], root: Path, subjects: str) -> list[Photo]:
    if subjects == PREFIX:
        named = {photo.path: PurePosixPath(photo.shown).name.partition("_") for photo in photos}
        known = {path: person for path, (person, mark, _) in named.items() if mark and person}
        remedy = "Name files <person>_<anything>, or list them: subjects=<csv with columns file and subject>."
    else:
        listed = _read_subjects(expanded(subjects))
        known = {photo.path: listed[photo.shown] for photo in photos if listed.get(photo.shown)}
        remedy = f"Add lines for them to {subjects}: file is the path below {root}, with /."
    if missing := [photo.shown for photo in photos if photo.path not in known]:
        raise DatasetError(
            f"subjects={subjects}: of {len(missing)} of {len(photos)} photographs it is not known who is in them:\n"
            f"{listing(missing)}\n  {remedy} Without subjects (subjects=null), one person may stand in two splits."
        )
    return [Photo(photo.path, photo.label, known[photo.path]) for photo in photos]


def _read_subjects(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ConfigError(
            f"subjects={path}: there is no such file. It is null, {PREFIX} (<class>/<person>_*), or a csv file with "
            f"columns file and subject."
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, rows = read_csv(file)
            if lacking := {"file", "subject"} - set(header):
                raise ConfigError(f"subjects={path}: has no column {', '.join(sorted(lacking))}; it has {header}.")
            return {str(row["file"]).strip(): str(row["subject"] or "").strip() for row in rows}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"subjects={path}: is no csv file in UTF-8 ({error}).") from error
