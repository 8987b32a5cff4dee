"""Images whose labels stand in a csv file: one row an image.

What it is: your own images, or one of the many datasets that are passed on in this form.

Classes: those of :data:`fer.data.labels.EMOTIONS` that are there, in that order, whatever their spelling
(``Happiness``, ``AN``). Numbers, whose meaning differs between datasets, need a ``label_map``; ``own_classes`` keeps
other names.

Layout on disk; a csv file with a header, whose columns may stand in any order and have any case::

    <root>/labels.csv               image,label[,split][,subject]
    <root>/<image>

    <root>/data/legend.csv          "user.id,image,emotion" (muxspace: 13,690 images, eight classes), with
    <root>/images/<image>           data.file=data/legend.csv data.images=images

Splits: the column ``split``, in the words that folders are called by (train, val, test, PublicTest, ...). Without it
all images are training images, and the other splits are carved. Subjects: the column ``subject``; no person then
stands in two splits.

Licence, citation: those of the dataset.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fer.data.base import FERDataModule
from fer.data.entries import Entry, find_path, read_entries
from fer.data.labels import plain
from fer.data.rows import csv_rows, find_columns, parse_rows
from fer.data.samples import Samples, readable
from fer.data.split_folders import SPLIT_NAMES
from fer.datasets.folder import classes_of
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError

log = logging.getLogger(__name__)

_NAMES = {
    "image": ("image", "path", "file", "filename", "image_path", "img", "pth"),
    "label": ("label", "emotion", "expression", "class"),
    "split": ("split", "usage"),
    "subject": ("subject", "person"),
}
"""What columns are called, where the configuration does not say it."""


class _Row(NamedTuple):
    image: str
    label: str
    split: str
    subject: str


class CsvLabels(FERDataModule):
    """Images that a csv file labels.

    Args:
        root: The folder of the csv file and the images.
        file: The csv file below ``root``.
        images: The folder below ``root`` that the column of images is relative to.
        image_column: The column of the images' paths; None for the one of a usual name.
        label_column: The column of the labels; None as above.
        split_column: The column of the splits; None as above, if there is one.
        subject_column: The column that says who is in the image; None as above, if there is one.
        label_map: What labels mean that are no emotions' names; None for those that are left out.
        own_classes: Keep labels' names, whatever they are, but for those in ``label_map``.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "csv"
    streams = True

    def __init__(
        self,
        root: str,
        file: str = "labels.csv",
        images: str = ".",
        image_column: str | None = None,
        label_column: str | None = None,
        split_column: str | None = None,
        subject_column: str | None = None,
        label_map: Mapping[str, str | None] | None = None,
        own_classes: bool = False,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        self.root, self.file, self.images = Path(root).expanduser(), file, images
        self.columns = {"image": image_column, "label": label_column, "split": split_column, "subject": subject_column}
        self.label_map, self.own_classes = label_map, own_classes

    def read(self) -> Samples:
        """Read every image that the csv file lists.

        Raises:
            DatasetNotFoundError: If there is no such csv file or folder of images.
            DatasetError: If a column is missing, rows are wrong (all are named), or images are absent or broken.
            LabelError: If labels are numbers or unknown, and not in ``label_map``.
            ConfigError: If two columns may be meant.
        """
        path, folder = find_path(self.root, self.file), find_path(self.root, self.images)
        if path is None or folder is None:
            expected = "a csv file, data.file, with columns image and label, and the folder of its images, data.images."
            looked = [self.root / self.file, self.root / self.images]
            raise DatasetNotFoundError(self.name, looked, expected, "your own images")
        rows = list(dict.fromkeys(self._rows(path)))
        labels = sorted({row.label for row in rows})
        meant = classes_of(self.root, labels, self.label_map or {}, self.own_classes, self.wanted, what="label")
        below = os.path.relpath(folder, self.root)
        entries = [
            Entry(os.path.normpath(f"{below}/{row.image}"), row.split, meant[row.label], row.subject)
            for row in rows
            if row.label in meant
        ]
        return read_entries(self.name, self.root, entries, **self.storage)

    def _rows(self, path: Path) -> list[_Row]:
        """Return what the rows say, those that are there twice included."""
        rows = csv_rows(path)
        where, header = next(rows, (f"{path}:1", []))
        columns = self._positions(where, header)
        first: dict[str, _Row] = {}

        def parse(fields: Sequence[str]) -> _Row:
            if len(fields) != len(header):
                raise ValueError(f"{len(fields)} fields, expected {len(header)}")
            said = {name: fields[position] for name, position in columns.items()}
            row = _Row(
                _relative(said["image"]), plain(said["label"]), _split(said.get("split")), said.get("subject", "")
            )
            if not row.label:
                raise ValueError(f"{row.image} has no label")
            if (other := first.setdefault(row.image, row)) != row:
                before = ", ".join(field for field in other[1:] if field)
                raise ValueError(f"{row.image} is listed before, and otherwise: {before}")
            return row

        parsed = parse_rows(rows, parse)
        if not parsed:
            raise DatasetError(f"{path} lists no images.")
        if repeated := len(parsed) - len(first):
            log.warning("%s lists %d images more than once; each is used once.", path, repeated)
        nobody = [row.image for row in parsed if not row.subject]
        if "subject" in columns and nobody:
            log.warning(
                "%s does not say who is in %d of %d images (such as %s): persons may stand in two splits.",
                path, len(nobody), len(parsed), readable(nobody[0]),
            )  # fmt: skip
        return parsed

    def _positions(self, where: str, header: list[str]) -> dict[str, int]:
        """Return where the columns stand, those of splits and subjects if there are any.

        Raises:
            DatasetError: If a column is missing.
            ConfigError: If two columns may be meant.
        """
        chosen = {}
        there = [column.lower() for column in header]
        for what, names in _NAMES.items():
            if (column := self.columns[what]) is not None:
                chosen[what] = column
            elif found := [name for name in names if name in there]:
                if len(found) > 1:
                    raise ConfigError(
                        f"{where}: is the {what} in column {' or '.join(found)}? Say data.{what}_column=..."
                    )
                chosen[what] = found[0]
            elif what in ("image", "label"):
                raise DatasetError(
                    f"{where}: no column {' or '.join(names)}; found: {readable(', '.join(header))[:200]}. "
                    f"Say which one it is: data.{what}_column=..."
                )
        positions = find_columns(where, header, chosen.values())
        return {what: positions[column] for what, column in chosen.items()}


def _relative(image: str) -> str:
    image = image.replace("\\", "/")
    if not image:
        raise ValueError("no image")
    if image.startswith("/") or image[1:2] == ":" or ".." in image.split("/"):
        raise ValueError(f"{image} must be relative to the folder of the images, data.images, and below it")
    return os.path.normpath(image)  # ./a.png and a.png are one image


def _split(word: str | None) -> str:
    if word is None:
        return "train"
    if word.lower() not in SPLIT_NAMES:
        raise ValueError(f"the split '{word}' is none of {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES[word.lower()]
