"""Label lists row by row: all rows that are wrong are named at once."""

import csv
import gzip
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from fer.errors import DatasetError, LabelError, listing

Row = TypeVar("Row")
Parsed = TypeVar("Parsed")


def text_rows(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each line that is not blank, after ``<path>:<line>``."""
    name = str(path)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for line, text in enumerate(file, start=1):
            if text := text.strip():
                yield f"{name}:{line}", text


def csv_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each row of a csv file, which may be gzipped, that is not blank, without outer spaces.

    Yields:
        ``<path>:<line>`` and the row.

    Raises:
        DatasetError: If the file is no csv file, or is truncated.
    """
    opener, name = (gzip.open if path.suffix.lower() == ".gz" else open), str(path)
    try:
        with opener(path, "rt", newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.reader(file)
            for row in reader:
                if row:
                    yield f"{name}:{reader.line_num}", [field.strip() for field in row]
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: not a csv file ({error}). Get it again.") from error


def find_columns(where: str, header: list[str], names: Collection[str]) -> dict[str, int]:
    """Return the position of each named column, whatever its case.

    Raises:
        DatasetError: Naming the columns that are missing, or one that is there twice.
    """
    lower = [column.lower() for column in header]
    if twice := [name for name in names if lower.count(name.lower()) > 1]:
        raise DatasetError(f"{where}: more than one column {' and '.join(twice)}. Rename the others.")
    found = {column.lower(): position for position, column in enumerate(header)}
    if missing := [name for name in names if name.lower() not in found]:
        raise DatasetError(f"{where}: no column {' and no column '.join(missing)}; found: {','.join(header)[:200]}")
    return {name: found[name.lower()] for name in names}


def parse_rows(rows: Iterable[tuple[str, Row]], parse: Callable[[Row], Parsed]) -> list[Parsed]:
    """Parse every row, and name all wrong ones at once.

    Args:
        rows: ``<path>:<line>`` and the row.
        parse: Raises a ValueError, or a LabelError, that says what is wrong with a row.

    Raises:
        LabelError: Naming all wrong rows, if only their labels are wrong.
        DatasetError: Naming all wrong rows otherwise.
    """
    parsed: list[Parsed] = []
    problems: list[str] = []
    kind: type[DatasetError | LabelError] = LabelError
    for where, row in rows:
        try:
            parsed.append(parse(row))
        except LabelError as error:
            problems.append(f"{where}: {error}")
        except ValueError as error:
            kind = DatasetError
            problems.append(f"{where}: {error}")
    if problems:
        raise kind(
            f"{len(problems)} of {len(problems) + len(parsed)} labels cannot be read:\n{listing(problems)}\n"
            f"  The files may be damaged, edited, or of another dataset: unpack them again."
        )
    return parsed


def decode_label(code: str, codes: Mapping[str, str]) -> str:
    """Return what a label code means.

    Raises:
        LabelError: If it is none of ``codes``; all of them are named.
    """
    if code not in codes:
        known = ", ".join(f"{number} {meaning}" for number, meaning in codes.items())
        raise LabelError(f"label '{code[:20]}' is none of {known}")
    return codes[code]
