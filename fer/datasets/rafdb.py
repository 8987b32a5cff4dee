"""RAF-DB (Real-world Affective Faces), basic emotions: 15,339 faces from the web, each labelled by about 40 people.

What it is: 12,271 training and 3,068 test images. There is no official validation split; one is carved out of the
training images, so that the test images choose nothing.

Classes: 1 surprise, 2 fear, 3 disgust, 4 happy, 5 sad, 6 angry, 7 neutral.

Layout on disk, one of::

    [basic/]EmoLabel/list_patition_label.txt              "train_00001.jpg 5" (the name is misspelt in the original)
    [basic/]Image/aligned/train_00001_aligned.jpg         100x100, RGB
    [basic/]Image/original/train_00001.jpg                as found on the web (aligned=false)
    [basic/]Annotation/manual/train_00001_manu_attri.txt  5 landmarks, gender, race, age (optional)

    [DATASET/]train|test/1..7/train_00001_aligned.jpg     the Kaggle form, with the same codes
    [train|test]_labels.csv                               image,label (optional); must say what the folders say

Gender, race and age, where they are there, become attributes by which scores are sliced.

Licence: for non-commercial research; no redistribution. Passwords are given to academic staff on request.

Citation: S. Li, W. Deng, J. Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression
Recognition in the Wild", CVPR 2017.

Source: http://www.whdeng.cn/RAF/model1.html
"""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer.data.base import FERDataModule
from fer.data.entries import Entry, find_path, read_entries
from fer.data.rows import csv_rows, decode_label, find_columns, parse_rows, text_rows
from fer.data.samples import Samples
from fer.data.split_folders import split_folders
from fer.datasets.folder import find_entries
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError, listing

log = logging.getLogger(__name__)

CODES = {"1": "surprise", "2": "fear", "3": "disgust", "4": "happy", "5": "sad", "6": "angry", "7": "neutral"}
"""Label codes of the list, of the Kaggle folders and of their csv files."""

COUNTS = {"train": 12271, "test": 3068}
"""Images of the official splits."""

ATTRIBUTES = {
    "gender": {"0": "male", "1": "female", "2": "unsure"},
    "race": {"0": "Caucasian", "1": "African-American", "2": "Asian"},
    "age": {"0": "0-3", "1": "4-19", "2": "20-39", "3": "40-69", "4": "70+"},
}
"""Codes of the last three lines of an annotation file, in that order."""

_LANDMARKS = 5


class RAFDB(FERDataModule):
    """RAF-DB, basic emotions: train fits, a part of it selects, test is tested once.

    Args:
        root: The folder that holds ``basic`` or ``DATASET``, or that folder itself.
        aligned: The aligned faces (100x100); if False the original pictures, whose sizes differ.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "rafdb"
    source = "http://www.whdeng.cn/RAF/model1.html"

    def __init__(self, root: str, aligned: bool = True, **loading: Any) -> None:
        super().__init__(**loading)
        self.root, self.aligned = Path(root).expanduser(), aligned

    def read(self) -> Samples:
        """Read whichever form stands in ``root``.

        Raises:
            DatasetNotFoundError: If there is neither form.
            DatasetError: If rows, images or annotations are missing or wrong; all of them are named.
            LabelError: If label codes are none of 1 to 7.
            ConfigError: If the original pictures are wanted of a form that has none.
        """
        label_list = find_path(self.root, "basic/EmoLabel/list_patition_label.txt", "EmoLabel/list_patition_label.txt")
        if label_list:
            # Ids are relative to `basic`, whichever of the two folders `root` is.
            base = label_list.parent.parent
            entries = official_entries(label_list, self.aligned)
        else:
            base = find_path(self.root, "DATASET") or self.root
            if not split_folders(base):
                looked = [self.root / "basic/EmoLabel/list_patition_label.txt", self.root / "DATASET/train"]
                expected = "EmoLabel/list_patition_label.txt with Image/aligned, or folders train|test/<1-7>/."
                raise DatasetNotFoundError(self.name, looked, expected, self.source)
            if not self.aligned:
                raise ConfigError(
                    f"data.aligned=false: {base} holds aligned faces only; basic/Image/original is needed."
                )
            entries = kaggle_entries(base)
        counts = Counter(entry.split for entry in entries)
        for split, official in COUNTS.items():
            if counts[split] != official:
                log.warning(
                    "RAF-DB in %s has %s of the official %s %s images: scores are not comparable with published ones.",
                    base, f"{counts[split]:,}", f"{official:,}", split,
                )  # fmt: skip
        return read_entries(self.name, base, entries, **self.storage)


def official_entries(label_list: Path, aligned: bool) -> list[Entry]:
    """List the images of the official form, with their attributes where those are annotated.

    Args:
        label_list: ``EmoLabel/list_patition_label.txt``.
        aligned: The aligned faces, or the original pictures.
    """
    base = label_list.parent.parent
    kind = "aligned" if aligned else "original"
    folder = find_path(base, f"Image/{kind}")
    if folder is None:
        raise DatasetError(f"{base / 'Image' / kind} is missing: unpack Image/{kind}.zip there.")
    below = folder.relative_to(base).as_posix()
    seen: set[str] = set()

    def parse(row: str) -> tuple[str, Entry]:
        name, _, code = " ".join(row.split()).rpartition(" ")
        stem, _, extension = name.rpartition(".")
        split = stem.partition("_")[0]
        if split not in COUNTS or not extension:
            raise ValueError(f"'{row[:50]}' is not '<name> <label>' with a name like train_00001.jpg or test_0001.jpg")
        if stem in seen:
            raise ValueError(f"'{name}' is listed before")
        seen.add(stem)
        file = f"{stem}_aligned.{extension}" if aligned else f"{stem}.{extension}"
        return stem, Entry(f"{below}/{file}", split, decode_label(code, CODES))

    entries = parse_rows(text_rows(label_list), parse)
    manual = find_path(base, "Annotation/manual")
    attributes = read_attributes(manual, [stem for stem, _ in entries]) if manual else {}
    return [entry._replace(attributes=attributes.get(stem, {})) for stem, entry in entries]


def read_attributes(folder: Path, stems: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Read gender, race and age of the images that have an annotation file.

    Args:
        folder: ``Annotation/manual``.
        stems: The images' names in the list, without extension.

    Returns:
        For each annotated image ``gender``, ``race`` and ``age``, in words.

    Raises:
        DatasetError: Naming all files that are wrong.
    """
    names = set(os.listdir(folder))
    files = [(stem, f"{stem}_manu_attri.txt") for stem in stems]
    present = [(stem, file) for stem, file in files if file in names]
    if len(present) < len(files):
        absent = next(file for _, file in files if file not in names)
        log.warning("%s: %d images have no attributes; the first missing file is %s.",
                    folder, len(files) - len(present), absent)  # fmt: skip

    def parse(stem: str) -> tuple[str, dict[str, str]]:
        text = (folder / f"{stem}_manu_attri.txt").read_text(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if len(lines) != _LANDMARKS + len(ATTRIBUTES):
            raise ValueError(f"{len(lines)} lines, expected {_LANDMARKS} landmarks, gender, race and age")
        values: dict[str, str] = {}
        for (attribute, codes), code in zip(ATTRIBUTES.items(), lines[_LANDMARKS:], strict=True):
            if code not in codes:
                known = ", ".join(f"{number} {meaning}" for number, meaning in codes.items())
                raise ValueError(f"{attribute} '{code[:20]}' is none of {known}")
            values[attribute] = codes[code]
        return stem, values

    return dict(parse_rows(((str(folder / file), stem) for stem, file in present), parse))


def kaggle_entries(base: Path) -> list[Entry]:
    """List the images of the Kaggle form, and check its csv files where they are there.

    Args:
        base: The folder that holds ``train`` and ``test``.
    """
    folders = [path for split in split_folders(base) for path in (base / split).iterdir() if path.is_dir()]
    foreign = sorted(str(path) for path in folders if path.name not in CODES and not path.name.startswith((".", "__")))
    if foreign:
        known = ", ".join(f"{code} {emotion}" for code, emotion in CODES.items())
        raise LabelError(
            f"class folders of RAF-DB are {known}, but found:\n{listing(foreign)}\n"
            f"  Read folders that are named or numbered otherwise with data=folder and data.label_map."
        )
    entries = find_entries(base, CODES)
    beside = base.parent if base.name.lower() == "dataset" else base  # as the archive has it
    problems: list[str] = []
    for split in split_folders(base):
        label_csv = find_path(beside, f"{split}_labels.csv")
        if label_csv:
            paths = [entry.path for entry in entries if entry.path.startswith(f"{split}/")]
            problems += _disagreements(label_csv, paths)
    if problems:
        raise DatasetError(
            f"{base}: folders and csv files disagree:\n{listing(problems)}\n"
            f"  Unpack the archive again, or remove the csv files to trust the folders."
        )
    return entries


def _disagreements(label_csv: Path, paths: Sequence[str]) -> list[str]:
    """Compare ``<split>/<code>/<image>`` with the rows ``image,label`` of a csv file."""
    rows = csv_rows(label_csv)
    where, header = next(rows, (f"{label_csv}:1", []))
    columns = find_columns(where, header, ("image", "label"))

    def parse(row: list[str]) -> tuple[str, str]:
        if len(row) != len(header):
            raise ValueError(f"{len(row)} fields, expected {len(header)}")
        decode_label(row[columns["label"]], CODES)
        return row[columns["image"]], row[columns["label"]]

    listed = dict(parse_rows(rows, parse))
    problems: list[str] = []
    for path in paths:
        _, code, image = path.split("/", 2)
        label = listed.pop(image, None)
        if label is None:
            problems.append(f"{path} is not listed in {label_csv.name}")
        elif label != code:
            problems.append(f"{path} ({CODES[code]}) is labelled {label} ({CODES[label]}) in {label_csv.name}")
    return problems + [f"{image} of {label_csv.name} is in no folder" for image in listed]
