"""The rows of FER2013's csv files: emotion, 2,304 pixels as text, and where the file says it, the split."""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fer.datasets.fer2013_rows import USAGES
from fer.errors import DatasetError

log = logging.getLogger(__name__)

SIZE = 48
"""Side of the images in pixels."""

_PIXELS = SIZE * SIZE
_BLACK = 0, "train", np.zeros(_PIXELS, np.uint8)
"""What stands for a broken row that is left out later: its id is one of the dataset's."""


class Columns(NamedTuple):
    """Where a csv's columns are, from 0; ``usage`` is None if the file's name says the split."""

    total: int
    emotion: int
    pixels: int
    usage: int | None


@dataclass
class Rows:
    """What has been read from the csv files.

    Attributes:
        pixels: Grey values of all images, 2,304 bytes each.
        labels: Indices into :data:`fer.data.labels.BASIC`.
        splits: ``train``, ``val`` or ``test``.
        ids: ``<file name>:<row>``, from row 0.
        problems: Rows that cannot be used, with their line numbers (the header is line 1).
    """

    pixels: bytearray = field(default_factory=bytearray)
    labels: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def columns_of(path: Path) -> Columns | None:
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
    return Columns(len(names), names.index("emotion"), names.index("pixels"), usage)


def read_rows(files: Mapping[Path, Columns], left_out: Collection[str]) -> Rows:
    """Read csv files; the rows whose ids are in ``left_out`` are not looked at, and are black training images."""
    rows = Rows()
    for path, columns in files.items():
        _append_rows(path, columns, rows, left_out)
    return rows


def _append_rows(path: Path, columns: Columns, rows: Rows, left_out: Collection[str]) -> None:
    for line, name, text in _lines(path):
        try:
            label, split, pixels = _BLACK if name in left_out else _parse_row(text, columns, path)
        except ValueError as error:
            rows.problems.append(f"{path}:{line}: {error}")
        else:
            rows.pixels += pixels.data
            rows.labels.append(label)
            rows.splits.append(split)
            rows.ids.append(name)


def broken_rows(path: Path, columns: Columns, names: Collection[str]) -> Iterator[str]:
    """Yield those of the given ids whose rows cannot be used."""
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


def _parse_row(text: bytes, columns: Columns, path: Path) -> tuple[int, str, npt.NDArray[np.uint8]]:
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
