"""``predictions.csv``: a model's answers, a row a sample. Imports nothing slow.

Columns, as the writer leaves them (texts that a spreadsheet would run as a formula begin with an apostrophe, see
:mod:`fer.files.csv_table`):

- ``split``: ``train``, ``val``, ``test`` or ``all``; a training writes val and test, a test the one that it scored.
- ``id``: the sample's id in its dataset.
- ``label``: its true class; in a test the class that it is scored as, if classes were merged.
- ``predicted``: the class of the highest probability.
- ``p_<class>``: the probability of each class, six digits after the point.
- ``in_training`` (of a test): 1 if the model was fitted to the image or a copy of it, else 0.
- ``chose_the_checkpoint`` (of a test): 1 if the image or a copy of it chose the checkpoint, else 0.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer.files.atomic import writing
from fer.files.csv_table import csv_cell, read_csv

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FILE = "predictions.csv"
IN_TRAINING, CHOSE = "in_training", "chose_the_checkpoint"


@dataclass(frozen=True)
class Predictions:
    """A model's answers on one split.

    Attributes:
        split: ``train``, ``val``, ``test`` or ``all``.
        rows: int64 of shape (N,), each sample's row in the dataset.
        ids: str of shape (N,), each sample's id.
        labels: int64 of shape (N,), true class.
        probabilities: float32 of shape (N, C).
        dataset: What tells the dataset from others, see :class:`fer.files.metrics.Dataset`.
    """

    split: str
    rows: "npt.NDArray[np.int64]"
    ids: "npt.NDArray[np.str_]"
    labels: "npt.NDArray[np.int64]"
    probabilities: "npt.NDArray[np.float32]"
    dataset: Mapping[str, Any] = field(default_factory=dict)


def write(
    path: Path,
    predictions: Sequence[Predictions],
    classes: Sequence[str],
    extra: "Mapping[str, npt.NDArray[Any]] | None" = None,
) -> None:
    """Write the answers on one or more splits, whole or not at all.

    Args:
        path: The file.
        predictions: One or more splits.
        classes: Class names in label order.
        extra: More columns by name, of as many values as there are samples.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    extra = extra or {}
    further = zip(*extra.values(), strict=True) if extra else repeat(())
    names = [csv_cell(name) for name in classes]
    with writing(path, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "id", "label", "predicted", *map(_column, classes), *extra])
        for part in predictions:
            for sample, label, p, values in zip(part.ids, part.labels, part.probabilities, further, strict=False):
                row = [part.split, csv_cell(sample), names[label], names[int(p.argmax())]]
                writer.writerow([*row, *(f"{value:.6f}" for value in p), *values])


def _column(name: str) -> str:
    return f"p_{name}"


def read_answers(path: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Read true and predicted class of each sample: split to sample's id to both.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged.
    """
    answers: dict[str, dict[str, tuple[str, str]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in read_csv(file)[1]:
                answers.setdefault(row["split"], {})[row["id"]] = row["label"], row["predicted"]
    except (KeyError, csv.Error) as error:
        raise ValueError("it is no table of predictions") from error
    return answers


def fitted_to(path: Path) -> set[str]:
    """Return the ids of the images that a test found to be in its model's training; none where it does not say.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no csv file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["id"] for row in read_csv(file)[1] if row.get(IN_TRAINING) == "1"}
    except (csv.Error, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"is no table of predictions ({error})") from error


def read_probabilities(path: Path, classes: Sequence[str]) -> Iterator[tuple[int, str, list[float] | None]]:
    """Read each class's probability, whoever wrote them; only the columns ``id`` and ``p_<class>`` are needed.

    Args:
        path: The file.
        classes: Class names, in the order in which the probabilities are wanted.

    Yields:
        The number of the line, the sample's id, and its probabilities; None in their place where they are not all
        numbers from 0 to 1.

    Raises:
        OSError: If it cannot be read.
        ValueError: If a column is missing, or it is no csv file.
    """
    columns = list(map(_column, classes))
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, rows = read_csv(file)
            if missing := [name for name in ("id", *columns) if name not in header]:
                raise ValueError(f"has no column {', '.join(missing)}; it has {header}")
            for line, row in enumerate(rows, start=2):
                try:
                    values = [float(row[name]) for name in columns]
                except (TypeError, ValueError):
                    values = []
                yield line, row["id"], values if values and all(0 <= value <= 1 for value in values) else None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"is no csv file ({error})") from error
