"""Files that were dealt with; the rows of those that were changed since are taken out, all at once. No torch.

First the tables without them are written beside the old ones, then the state that counts on the new ones, and last
they take the old ones' places. Whoever is killed in between leaves either the old tables or what :func:`finish` ends.
"""

import csv
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer.data.tars import tar_of
from fer.files.csv_table import from_csv, read_csv

MARK = ("bytes", "modified")
"""Columns of what :func:`mark` returns."""


def mark(name: str) -> list[int]:
    """Return what tells a file from what it was: its size and when it was changed; nothing if it is gone.

    Of a picture in a tar file it is the tar file's.
    """
    try:
        try:
            status = os.stat(name)
        except NotADirectoryError:
            status = os.stat(tar_of(Path(name)) or name)
    except (OSError, ValueError):
        return []
    return [status.st_size, status.st_mtime_ns]


class Known(NamedTuple):
    """What the table of files tells."""

    columns: list[str]
    same: "np.ndarray[Any, np.dtype[np.uint64]]"
    """Keys of the files that are as they were. There may be millions: their names are not kept."""
    changed: set[str]
    """Names of those that are others by now."""


def key(name: str) -> int:
    """Return a number that stands for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def known(table: Path) -> Known:
    """Read which files were dealt with, and look which of them were changed."""
    others: set[str] = set()

    def keys(rows: Iterable[Mapping[str, Any]]) -> Iterator[int]:
        for row in rows:
            if _is_changed(row):
                others.add(row["file"])
            yield key(row["file"])

    with table.open(newline="", encoding="utf-8") as file:
        columns, rows = read_csv(file)
        done = np.fromiter(keys(rows), np.uint64)
    gone = np.fromiter(map(key, others), np.uint64)
    return Known(columns, done[~np.isin(done, gone)], others)


def _is_changed(row: Mapping[str, Any]) -> bool:
    """Say whether a file is another by now; what is gone, or an earlier version wrote down without a mark, is not."""
    before = [str(row.get(column) or "") for column in MARK]
    return all(before) and (now := mark(row["file"])) != [] and [str(value) for value in now] != before


def write_without(names: Collection[str], tables: Iterable[Path]) -> dict[str, int]:
    """Write tables without the rows of some files, beside the tables themselves.

    Args:
        names: The files.
        tables: The tables, csv or JSON lines.

    Returns:
        The new tables' bytes, by the tables' names.

    Raises:
        OSError: If they cannot be written.
        ValueError: If a table is damaged; or a KeyError or csv.Error.
    """
    sizes = {}
    for table in tables:
        beside = _beside(table)
        with table.open(newline="", encoding="utf-8") as old, beside.open("w", newline="", encoding="utf-8") as new:
            if table.suffix == ".csv":
                csv.writer(new).writerows(row for row in csv.reader(old) if row and from_csv(row[0]) not in names)
            else:
                new.writelines(line for line in old if json.loads(line)["file"] not in names)
            new.flush()
            os.fsync(new.fileno())
        sizes[table.name] = beside.stat().st_size
    return sizes


def finish(tables: Iterable[Path]) -> None:
    """Let new tables take the old ones' places, as far as they have not yet."""
    for table in tables:
        if _beside(table).exists():
            os.replace(_beside(table), table)


def _beside(table: Path) -> Path:
    return table.with_name(f".{table.name}.new")
