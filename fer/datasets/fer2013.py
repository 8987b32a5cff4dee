"""FER2013: 35,887 grey faces of 48x48 pixels from a web image search, the field's oldest common benchmark.

What it is: 28,709 training images, 3,589 of the challenge's public test (used for validation) and 3,589 of
its private test (the test split of published scores). Labels are noisy: people agree with them on about two
images out of three.

Classes: angry, disgust, fear, happy, sad, surprise, neutral (0-6 in the csv).

Layout on disk, one of::

    fer2013.csv               emotion,pixels,Usage
    icml_face_data.csv        emotion, Usage, pixels   (with leading spaces)
    train.csv [val.csv] test.csv    emotion,pixels; the challenge's own test.csv has no labels and is left out
    train|test/<class>/Training_N.jpg, PublicTest_N.jpg, PrivateTest_N.jpg
    [images/]train|validation/<class>/N.jpg     re-split; N is the row of fer2013.csv, if the classes' counts prove it
    train|test/<class>/imN.png                  PublicTest and PrivateTest can no longer be told apart

The original split (``Usage``) is restored wherever rows or names allow it.

Licence: for research only; the images' copyright is with their owners (Kaggle challenge "Challenges in
Representation Learning: Facial Expression Recognition", 2013).

Citation: I. J. Goodfellow et al., "Challenges in Representation Learning: A Report on Three Machine Learning
Contests", ICONIP 2013.

Source: https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fer.data.base import FERDataModule
from fer.data.cache import cached, fingerprint, is_cached
from fer.data.entries import unusable
from fer.data.images import decode_images
from fer.data.labels import BASIC
from fer.data.samples import Samples, readable
from fer.datasets.fer2013_rows import USAGES, restore_splits
from fer.datasets.folder import find_entries, split_folders
from fer.errors import DatasetError, DatasetNotFoundError, LabelError, listing

log = logging.getLogger(__name__)

SIZE = 48
"""Side of the images in pixels."""

SOURCE = "https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge"

_PIXELS = SIZE * SIZE


class FER2013(FERDataModule):
    """FER2013: Training fits, PublicTest selects, PrivateTest is tested once.

    Args:
        root: The folder, or the csv file itself.
        **loading: See :class:`fer.data.base.FERDataModule`.
    """

    name = "fer2013"

    def __init__(self, root: str, **loading: Any) -> None:
        super().__init__(**loading)
        self.root = Path(root).expanduser()

    def read(self) -> Samples:
        """Read whichever form stands in ``root``."""
        return read_fer2013(self.root, self.cache_dir, self.excluded)


def read_fer2013(root: Path, cache_dir: Path, excluded: Collection[str] = ()) -> Samples:
    """Read FER2013 in whichever form it stands in ``root`` or ``root/fer2013``.

    Args:
        root: The folder, or the csv file itself.
        cache_dir: Where decoded images are kept.
        excluded: Ids of samples that are left out later: they may be broken.

    Returns:
        Grey images, uint8 of shape (N, 48, 48), of the classes :data:`fer.data.labels.BASIC`; ids are
        ``<csv>:<row>`` or paths below ``root``.

    Raises:
        DatasetNotFoundError: If there is none of the known forms.
        DatasetError: If rows or images are broken; all of them are named.
        LabelError: If a class folder is none of the seven.
    """
    forms, looked = _find(root)
    if not forms:
        expected = (
            "fer2013.csv (unpack fer2013.tar.gz), icml_face_data.csv, train.csv and test.csv, "
            "or folders train|test/<class>/ of images."
        )
        raise DatasetNotFoundError("fer2013", looked, expected, SOURCE)
    log.info("FER2013 is read from %s.", ", ".join(str(path) for path in forms[0]))
    if len(forms) > 1:
        others = ", ".join(str(paths[0]) for paths in forms[1:])
        log.warning("FER2013 stands in %s in several forms; %s is used, not %s.", root, forms[0][0], others)
    if forms[0][0].is_dir():
        return _read_folders(root, forms[0][0], cache_dir, excluded)
    return _read_csvs(forms[0], cache_dir, excluded)


def _find(root: Path) -> tuple[list[list[Path]], list[Path]]:
    """Return the forms found (csv files, or one folder), the preferred first, and every path looked for."""
    if root.is_file():
        return [[root]], [root]
    places = [root, root / "fer2013"]
    csvs = [place / name for name in ("fer2013.csv", "icml_face_data.csv", "train.csv") for place in places]
    folders = [folder for place in places for folder in (place, place / "images")]
    forms = [[path] for path in csvs if path.is_file()]
    for form in forms:
        if form[0].name == "train.csv":
            rest = (form[0].with_name(name) for name in ("val.csv", "test.csv"))
            form += [path for path in rest if path.is_file()]
    forms += [[folder] for folder in folders if split_folders(folder)]
    return forms, csvs + [folder / "train" for folder in folders]


class _Columns(NamedTuple):
    """Where a csv's columns are, from 0; ``usage`` is None if the file's name says the split."""

    total: int
    emotion: int
    pixels: int
    usage: int | None


@dataclass
class _Rows:
    """What has been read of the csv files so far."""

    pixels: bytearray = field(default_factory=bytearray)
    labels: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _read_csvs(paths: Sequence[Path], cache_dir: Path, excluded: Collection[str]) -> Samples:
    columns = {path: found for path in paths if (found := _columns(path))}

    def build() -> Samples:
        rows = _Rows()
        for path, found in columns.items():
            _read_rows(path, found, rows, broken)
        if rows.problems:
            raise DatasetError(
                f"{len(rows.problems)} rows of FER2013 cannot be used:\n{listing(rows.problems)}\n"
                f"  The file may be damaged or incompletely downloaded; get it again from {SOURCE}"
            )
        if not rows.labels:
            raise DatasetError(f"{', '.join(str(path) for path in paths)}: no labelled rows.")
        return Samples(
            images=np.frombuffer(rows.pixels, dtype=np.uint8).reshape(-1, SIZE, SIZE),
            labels=np.array(rows.labels, dtype=np.int64),
            splits=np.array(rows.splits),
            ids=np.array(rows.ids),
            classes=BASIC,
        )

    names = [path.name for path in columns]
    key: dict[str, Any] = {"form": "csv", "names": names, "files": fingerprint(names, paths[0].parent)}
    broken = frozenset[str]()
    if excluded and not is_cached(cache_dir, "fer2013", key):
        broken = frozenset(id_ for path, found in columns.items() for id_ in _broken_rows(path, found, excluded))
    return cached(cache_dir, "fer2013", {**key, "broken": sorted(broken)} if broken else key, build)


def _columns(path: Path) -> _Columns | None:
    """Find the columns by name; None for a ``test.csv`` without labels, which is left out."""
    with path.open("rb") as file:
        header = file.readline(1000).decode("utf-8-sig", errors="replace")
    names = [name.strip().strip('"').strip().lower() for name in header.split(",")]
    by_file_name = path.stem.lower() in ("train", "val", "test")
    if path.name == "test.csv" and "pixels" in names and "emotion" not in names:
        log.warning("%s has no column 'emotion': its images have no labels and are left out.", path)
        return None
    expected = ("emotion", "pixels") if by_file_name else ("emotion", "pixels", "Usage")
    if missing := [name for name in expected if name.lower() not in names]:
        raise DatasetError(
            f"{path}: no column {' and no column '.join(missing)}. "
            f"Expected {', '.join(expected)} in the first line, but found: {header.strip()[:200]}"
        )
    usage = names.index("usage") if "usage" in names else None
    return _Columns(len(names), names.index("emotion"), names.index("pixels"), usage)


def _read_rows(path: Path, columns: _Columns, rows: _Rows, left_out: Collection[str]) -> None:
    """Append a csv's rows, but those left out; wrong ones are noted with their line number, the header being line 1."""
    for line, name, text in _lines(path):
        if name in left_out:
            continue
        try:
            label, split, pixels = _parse_row(text, columns, path)
        except ValueError as error:
            rows.problems.append(f"{path}:{line}: {error}")
        else:
            rows.pixels += pixels.data
            rows.labels.append(label)
            rows.splits.append(split)
            rows.ids.append(name)


def _broken_rows(path: Path, columns: _Columns, names: Collection[str]) -> Iterator[str]:
    """Yield the ids of those of some rows that cannot be used."""
    for _, name, text in _lines(path):
        if name in names:
            try:
                _parse_row(text, columns, path)
            except ValueError:
                yield name


def _lines(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Yield each row's line number, id and text."""
    with path.open("rb", buffering=2**20) as file:
        file.readline()
        row = 0
        for line, text in enumerate(file, start=2):
            if not text.isspace():
                yield line, f"{path.name}:{row}", text
                row += 1


def _parse_row(text: bytes, columns: _Columns, path: Path) -> tuple[int, str, npt.NDArray[np.uint8]]:
    """Return a row's label, split and pixels (uint8 of shape (2304,)).

    Raises:
        ValueError: Saying all that is wrong with the row.
    """
    fields = [_unquote(part) for part in text.split(b",")]
    if len(fields) != columns.total:
        raise ValueError(f"{len(fields)} columns, expected {columns.total}")
    problems = []
    label = fields[columns.emotion]
    if len(label) != 1 or label not in b"0123456":
        problems.append(f"emotion {_show(label)} is not a number from 0 to 6")
    split = path.stem.lower()
    if columns.usage is not None:
        usage = fields[columns.usage].decode(errors="replace")
        split = USAGES.get(usage, "")
        if not split:
            problems.append(f"Usage '{usage[:20]}' is none of {', '.join(USAGES)}")
    pixels = _parse_pixels(fields[columns.pixels])
    if pixels is None:
        problems.append(_pixel_problem(fields[columns.pixels]))
    if problems or pixels is None:
        raise ValueError("; ".join(problems))
    return int(label), split, pixels


def _parse_pixels(text: bytes) -> npt.NDArray[np.uint8] | None:
    """Return the 2,304 numbers of a pixel field, or None if they are not that."""
    # NumPy's parser is fast but lenient (it takes "12-5" for two numbers): look at the characters first.
    if text.translate(None, b"0123456789 "):
        return None
    values = np.fromstring(text, dtype=np.int64, sep=" ")
    if len(values) != _PIXELS or values.max() > 255:
        return None
    return values.astype(np.uint8)


def _pixel_problem(text: bytes) -> str:
    """Say what is wrong with a pixel field."""
    values = [value for value in text.split(b" ") if value]
    for position, value in enumerate(values, start=1):
        if not value.isdigit():
            return f"pixel {position} is {_show(value)}, not a number"
        if len(value.lstrip(b"0")) > 3 or int(value) > 255:
            return f"pixel {position} is {_show(value)}, outside 0-255"
    return f"{len(values):,} pixels, expected {_PIXELS:,} (48x48)"


def _unquote(text: bytes) -> bytes:
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[:1] == text[-1:] == b'"' else text


def _show(text: bytes) -> str:
    return f"'{text[:20].decode(errors='replace')}'"


def _read_folders(root: Path, base: Path, cache_dir: Path, excluded: Collection[str]) -> Samples:
    """Read class folders below ``base``, which is ``root`` or below it."""
    entries = find_entries(base)
    if foreign := sorted({entry.emotion for entry in entries} - set(BASIC)):
        raise LabelError(
            f"{base} has class folders for {', '.join(foreign)}, which FER2013 has not (FER+ has). "
            f"Read other datasets' folders with data=folder."
        )
    splits = restore_splits(entries, base)
    paths = [entry.path for entry in entries]
    below = base.relative_to(root).as_posix()
    ids = paths if below == "." else [f"{below}/{path}" for path in paths]

    def build() -> Samples:
        return Samples(
            images=decode_images(base, paths, SIZE, 1, cache_dir, resize=False, unreadable=broken),
            labels=np.array([BASIC.index(entry.emotion) for entry in entries], dtype=np.int64),
            splits=np.array(splits),
            ids=np.array(ids),
            classes=BASIC,
        )

    labelled = [[entry.path, split, entry.emotion] for entry, split in zip(entries, splits, strict=True)]
    key = {"form": "folders", "below": below, "files": fingerprint(paths, base), "labels": labelled}
    broken = frozenset[str]()
    if excluded and not is_cached(cache_dir, "fer2013", key):
        broken = unusable(base, [p for p, id_ in zip(paths, ids, strict=True) if readable(id_) in excluded], SIZE)
    return cached(cache_dir, "fer2013", {**key, "broken": sorted(broken)} if broken else key, build)
