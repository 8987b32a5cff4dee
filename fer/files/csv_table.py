"""Tables as csv files: written whole or not at all, and safe to open in a spreadsheet."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from fer.files.atomic import writing

_FORMULA = "=+-@\t\r\n"  # what a spreadsheet takes for the beginning of a formula


def csv_cell(value: object) -> object:
    """Return a cell of a csv file: text that a spreadsheet would run as a formula begins with an apostrophe.

    Numbers stay. :func:`from_csv` takes the apostrophe away again, and no other.
    """
    text = str(value)
    if text[:1] in tuple(_FORMULA) and not _is_number(text):
        return f"'{text}"
    return f"'{text}" if text[:1] == "'" and text[1:2] in (*_FORMULA, "'") else value


def from_csv(text: str) -> str:
    """Return what :func:`csv_cell` was given, as text."""
    return text[1:] if text[:1] == "'" and text[1:2] in (*_FORMULA, "'") else text


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as csv, whole or not at all; :func:`read_csv` reads it.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    with writing(path, newline="") as file:
        csv.writer(file).writerows([csv_cell(value) for value in row] for row in [header, *rows])


def read_csv(file: IO[str]) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Return the columns and the rows of a csv file with a header, formulas' apostrophes taken away."""
    reader = csv.reader(file)
    header = [from_csv(name) for name in next(reader, [])]
    padding = [None] * len(header)
    return header, (dict(zip(header, [*map(from_csv, row), *padding], strict=False)) for row in reader if row)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
