"""``manifest.csv`` of a folder of faces: one row for each face, and for each photograph without one."""

import csv
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fer.errors import ConfigError
from fer.files.csv_table import read_csv, write_csv

log = logging.getLogger(__name__)

FILE = "manifest.csv"
SAVED = "saved"


@dataclass(frozen=True)
class Row:
    """One face, or one photograph without a face that was saved. Lengths are pixels of the upright photograph."""

    file: str
    """The crop, relative to the folder; empty if none was saved."""
    source: str
    """The photograph, relative to the source folder."""
    label: str
    """Its class folder's name."""
    subject: str
    """Who is in it; empty if that is not known."""
    face: int
    """Which of the photograph's faces, from 1, the largest first; 0 if none was found."""
    faces: int
    """How many were found in it."""
    box: str
    """Left, top, right and bottom."""
    landmarks: str
    """x and y of the left eye, the right eye (as seen), the nose, the left and the right corner of the mouth."""
    score: str
    """The detector's confidence, from 0 to 1."""
    size: str
    """Square root of the box's area."""
    sharpness: str
    """Variance of the Laplacian of the grey crop at 96x96; below about 50 a face is blurred."""
    roll: str
    """Angle of the line through the eyes in degrees."""
    result: str
    """``saved``, or why not."""
    bytes: int
    """Size of the photograph's file."""
    modified: int
    """When it was changed, in nanoseconds since 1970: a photograph that was changed is cut anew."""


COLUMNS = tuple(field.name for field in fields(Row))
_WHOLE = ("face", "faces", "bytes", "modified")


def write(folder: Path, rows: Iterable[Row]) -> None:
    """Write the manifest, whole or not at all.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    write_csv(folder / FILE, COLUMNS, (list(asdict(row).values()) for row in rows))


def read(folder: Path) -> list[Row]:
    """Read the manifest of a folder; none if it has none.

    Raises:
        ConfigError: If it is none of this project's.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            _, rows = read_csv(file)
            return [_row(row) for row in rows]
    except (UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error!r}). Remove it, or choose another folder.") from error


def subjects(folder: Path) -> dict[str, str]:
    """Return who is in each face, by its file; of which photograph it is, if nobody is named and some show several.

    Faces of one photograph have its label, and may be one face that was found twice: they belong into one split.

    Raises:
        ConfigError: If it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, rows = read_csv(file)
            if not {"file", "source", "subject"} <= {*header}:
                log.info("%s is none of fer.faces, and is not read.", path)
                return {}
            cut = [row for row in rows if row["file"]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). It says who is in the faces: get it again.") from error
    if named := {row["file"]: row["subject"] for row in cut if row["subject"]}:
        return named
    photographs = {row["file"]: row["source"] for row in cut}
    return photographs if len(set(photographs.values())) < len(photographs) else {}


def _row(values: Mapping[str, str | None]) -> Row:
    text = {name: values[name] or "" for name in COLUMNS}
    numbers = {name: int(text.pop(name)) for name in _WHOLE}
    return Row(**text, **numbers)  # type: ignore[arg-type]
