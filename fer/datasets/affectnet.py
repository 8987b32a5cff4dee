"""AffectNet: faces from the web, searched by 1,250 emotion words in six languages, some 290,000 with an expression.

What it is: about 287,650 training and 4,000 validation images (500 of each class). The test set was never published,
and papers report the validation set: it is the split ``test`` here, and a validation split is carved out of the
training images, so that the test images choose nothing.

Classes: 0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 angry, 7 contempt. What was labelled 8 None,
9 Uncertain or 10 No-Face is left out. AffectNet-7 leaves out contempt too, by ``data.classes``.

Layout on disk, one of (``<root>/AffectNet`` will do for ``<root>``)::

    Manually_Annotated_file_lists/training.csv, validation.csv    csv form; their first line may be missing
    Manually_Annotated_Images/<folder>/<hash>.<any extension>     cropped to the listed box of the face
    Automatically_Annotated_file_lists/automatically_annotated.csv, Automatically_Annotated_Images/    (automatic=true)

    train_set|val_set/images/<id>.jpg, annotations/<id>_exp.npy   npy form: cropped faces

and what is passed on at Kaggle, whose splits and labels are the uploaders' own (see
:mod:`fer.datasets.affectnet_kaggle`).

Licence: for non-commercial research; an agreement has to be signed. No redistribution.

Citation: A. Mollahosseini, B. Hasani, M. H. Mahoor, "AffectNet: A Database for Facial Expression, Valence, and
Arousal Computing in the Wild", IEEE Transactions on Affective Computing 10(1), 2019.

Source: http://mohammadmahoor.com/affectnet/
"""

import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from fer.data.base import FERDataModule
from fer.data.entries import Entry, find_path, read_entries
from fer.data.rows import csv_rows, decode_label, find_columns, parse_rows
from fer.data.samples import Samples
from fer.data.split_folders import split_folders
from fer.datasets.affectnet_kaggle import csv_entries, folder_entries, is_yolo, pair, yolo_entries
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError

log = logging.getLogger(__name__)

CODES = {
    "0": "neutral",
    "1": "happy",
    "2": "sad",
    "3": "surprise",
    "4": "fear",
    "5": "disgust",
    "6": "angry",
    "7": "contempt",
}
"""Label codes of the csv and npy forms."""

LEFT_OUT = {"8": "None", "9": "Uncertain", "10": "No-Face"}
"""Codes of images without one of the eight expressions."""

COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
"""Columns of the csv files, in the order that they have where the first line does not name them."""

_LISTS = "Manually_Annotated_file_lists"
_AUTOMATIC = ("Automatically_Annotated_file_lists", "Automatically_Annotated_file_list")
_USED = (*COLUMNS[:5], "expression")


class AffectNet(FERDataModule):
    """AffectNet: training fits, a part of it selects, validation is tested once.

    Args:
        root: The folder that holds one of the forms, or a folder ``AffectNet`` with it.
        automatic: Train on the automatically annotated images too (csv form).
        label_map: What numbered class folders mean (a Kaggle form that does not say it).
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "affectnet"
    streams = True
    source = "http://mohammadmahoor.com/affectnet/"

    def __init__(
        self, root: str, automatic: bool = False, label_map: Mapping[str, str] | None = None, **loading: Any
    ) -> None:
        super().__init__(**loading)
        self.root, self.automatic, self.label_map = Path(root).expanduser(), automatic, label_map

    def read(self) -> Samples:
        """Read whichever form stands in ``root``.

        Raises:
            DatasetNotFoundError: If there is none of the known forms.
            DatasetError: If rows, annotations or images are missing or wrong; all of them are named.
            LabelError: If label codes or names are not known.
            ConfigError: If an option is not for the form that is there.
        """
        form, base = self._find()
        log.info("AffectNet is read from %s (%s form).", base, form)
        if self.automatic and form != "csv":
            raise ConfigError(f"data.automatic=true: {base} is the {form} form; only the csv form has such images.")
        if self.label_map and form != "folder":
            raise ConfigError(f"data.label_map: the {form} form in {base} says what its labels mean; leave it out.")
        if form == "csv":
            entries = list_entries(base, self.automatic)
        elif form == "npy":
            entries = npy_entries(base)
        elif form == "YOLO":
            entries = yolo_entries(base)
        elif form == "labels.csv":
            entries = csv_entries(base)
        else:
            entries = folder_entries(base, self.label_map)
        if form in ("csv", "npy"):
            log.info("AffectNet: its validation set is the split 'test', as in papers: its test set is not public.")
        return read_entries(self.name, base, entries, **self.storage)

    def _find(self) -> tuple[str, Path]:
        """Return which form there is, and the folder that holds it."""
        for base in (self.root, find_path(self.root, "AffectNet")):
            if base is None:
                continue
            yolo = find_path(base, "YOLO_format") or base
            if find_path(base, _LISTS):
                return "csv", base
            if find_path(base, "train_set", "val_set"):
                return "npy", base
            if is_yolo(yolo):
                return "YOLO", yolo
            if find_path(base, "labels.csv"):
                return "labels.csv", base
            if split_folders(base):
                return "folder", base
        looked = [self.root / name for name in (_LISTS, "train_set", "YOLO_format", "labels.csv", "train", "AffectNet")]
        expected = (
            f"{_LISTS} and Manually_Annotated_Images; or train_set and val_set with images and annotations; "
            f"or one of Kaggle's forms (YOLO_format, labels.csv and class folders, train|test/<class>)."
        )
        raise DatasetNotFoundError(self.name, looked, expected, self.source)


def list_entries(base: Path, automatic: bool = False) -> list[Entry]:
    """List the faces of the csv form.

    Args:
        base: The folder that holds ``Manually_Annotated_file_lists``.
        automatic: Add the automatically annotated images to the training split.
    """
    entries = _listed(base, (f"{_LISTS}/training.csv",), "Manually_Annotated_Images", "train")
    entries += _listed(base, (f"{_LISTS}/validation.csv",), "Manually_Annotated_Images", "test")
    if automatic:
        lists = tuple(f"{folder}/automatically_annotated.csv" for folder in _AUTOMATIC)
        entries += _listed(base, lists, "Automatically_Annotated_Images", "train")
    return _unique(_with_expression(entries))


def _listed(base: Path, lists: Sequence[str], folder: str, split: str) -> list[Entry]:
    """Read one csv file; faces without an emotion get the name in :data:`LEFT_OUT`."""
    path, images = find_path(base, *lists), find_path(base, folder)
    for found, missing in ((path, lists[0]), (images, folder)):
        if found is None:
            raise DatasetError(f"{base / missing} is missing: unpack it there, all parts.")
    assert path is not None
    assert images is not None
    below = images.relative_to(base).as_posix()
    rows = csv_rows(path)
    first = next(rows, None)
    if first is None:
        raise DatasetError(f"{path} is empty. Get it again.")
    where, header = first
    if "expression" in (field.lower() for field in header):
        columns, width = find_columns(where, header, _USED), len(header)
    else:
        columns, width = {name: COLUMNS.index(name) for name in _USED}, len(COLUMNS)
        rows = chain([first], rows)

    used, meanings = itemgetter(*(columns[column] for column in _USED)), CODES | LEFT_OUT

    def parse(row: list[str]) -> Entry:
        if len(row) != width:
            raise ValueError(f"{len(row)} fields, expected {width}")
        name, *numbers, code = used(row)
        meaning = decode_label(code, meanings)
        if code in LEFT_OUT:  # often without a box
            return Entry(f"{below}/{name}", split, meaning)
        try:
            x, y, face_width, face_height = map(int, numbers)
        except ValueError:
            raise ValueError(f"the face's box '{','.join(numbers)[:50]}' is not four whole numbers") from None
        if face_width <= 0 or face_height <= 0:
            raise ValueError(f"the face's box has the size {face_width}x{face_height}")
        return Entry(f"{below}/{name}", split, meaning, box=(x, y, x + face_width, y + face_height))

    return parse_rows(rows, parse)


def npy_entries(base: Path) -> list[Entry]:
    """List the images of the npy form.

    Args:
        base: The folder that holds ``train_set`` and ``val_set``.
    """
    entries: list[Entry] = []
    for folder, split in (("train_set", "train"), ("val_set", "test")):
        pairs = pair(base, f"{folder}/images", f"{folder}/annotations", "_exp.npy")

        def parse(files: tuple[str, Path], split: str = split) -> Entry:
            image, annotation = files
            return Entry(image, split, decode_label(_read_code(annotation.read_bytes()), CODES | LEFT_OUT))

        entries += parse_rows(((str(annotation), (image, annotation)) for image, annotation in pairs), parse)
    return _with_expression(entries)


@lru_cache  # hundreds of thousands of files hold one of eight contents
def _read_code(content: bytes) -> str:
    """Read the label code of a ``.npy`` file, which holds it as a string or an integer."""
    array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    if array.size != 1 or array.dtype.kind not in "iuU":
        raise ValueError(f"holds {array.dtype} of shape {array.shape}, expected one string or integer")
    return str(array.item()).strip()


def _with_expression(entries: Sequence[Entry]) -> list[Entry]:
    """Leave out faces without one of the eight expressions."""
    others = Counter(entry.emotion for entry in entries if entry.emotion in LEFT_OUT.values())
    if others:
        counts = ", ".join(f"{count} {meaning}" for meaning, count in sorted(others.items()))
        log.info("AffectNet: %d of %d images were left out: %s.", others.total(), len(entries), counts)
    return [entry for entry in entries if entry.emotion not in others]


def _unique(entries: Sequence[Entry]) -> list[Entry]:
    """Number the faces of pictures that are listed more than once, in their ids."""
    seen: Counter[str] = Counter()
    unique: list[Entry] = []
    for entry in entries:
        seen[entry.path] += 1
        count = seen[entry.path]
        unique.append(entry if count == 1 else entry._replace(id=f"{entry.path}#{count}"))
    if repeated := [path for path, count in seen.items() if count > 1]:
        log.warning("AffectNet: %d pictures are listed more than once, %s for one.", len(repeated), repeated[0])
    return unique
