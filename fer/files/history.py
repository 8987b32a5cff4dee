"""``history.csv``: what a training logged, a row an epoch. Imports nothing slow.

Columns (those of scores that a run does not log are absent; an empty cell is a value that was not logged):

- ``epoch``: from 1; of runs of early versions from 0, which the readers correct.
- ``step``: the number of the epoch's last optimiser step, from 0.
- ``train/<score>``, ``val/<score>``: each score that :mod:`fer.scores.registry` logs each epoch; those of training are
  measured while training, with augmentation and dropout.
- ``train/f1/<class>``, ``val/f1/<class>``: F1 of each class.
- ``lr``: the learning rate after the epoch's last step.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from fer.files.atomic import writing
from fer.files.text import read_text

FILE = "history.csv"

Rows = dict[int, dict[str, float]]
"""Epoch (from 1) to its values by column."""


def write(path: Path, rows: Rows) -> None:
    """Write the table, whole or not at all.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    columns = ["epoch", *dict.fromkeys(key for row in rows.values() for key in row)]
    with writing(path, newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({"epoch": epoch, **row, "step": int(row["step"])} for epoch, row in sorted(rows.items()))


def read_rows(path: Path) -> Rows:
    """Read the table as it was written, to go on with it.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no table of numbers.
    """
    try:
        table = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
        rows = {int(row["epoch"]): {k: float(v) for k, v in row.items() if v and k != "epoch"} for row in table}
    except (csv.Error, TypeError, KeyError) as error:
        raise ValueError("it is no table of numbers") from error
    return {epoch + 1: row for epoch, row in rows.items()} if 0 in rows else rows


def read(path: Path) -> dict[str, list[float]]:
    """Read the table as one list a column, NaN where a value is missing.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no table of numbers.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
        columns = rows[0] if rows else {}
        history = {key: [_number(row[key]) for row in rows] for key in columns}
    except (csv.Error, TypeError) as error:
        raise ValueError("it is no table of numbers") from error
    if history and not all(0 <= epoch < 1e9 for epoch in history.get("epoch", [math.nan])):
        raise ValueError("it has no column of epochs")
    if history.get("epoch") and min(history["epoch"]) == 0:
        history["epoch"] = [epoch + 1 for epoch in history["epoch"]]
    return history


def _number(text: str | None) -> float:
    """Return a score that was a float32, which no number beyond those can have been; NaN where there is none."""
    value = float(text) if text else math.nan
    return math.copysign(math.inf, value) if abs(value) > 3.5e38 else value


def at_epoch(history: Mapping[str, Sequence[float]], epoch: int, column: str) -> float | None:
    """Return an epoch's (from 1) value of a column of :func:`read`; None if it is not there."""
    values = dict(zip(history.get("epoch", ()), history.get(column, ()), strict=False))
    value = values.get(epoch, math.nan)
    return None if math.isnan(value) else value
