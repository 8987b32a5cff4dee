"""The table of a model's scores: per class, and their averages."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from fer.plots.tables import NOTHING, WIDTH, fitted
from fer.scores.registry import SCORES

_COLUMNS = {"precision": "prec.", "recall": "recall", "f1": "F1"}


def said_of_tta(tta: str) -> str:
    """Return what a table's title says of test-time augmentation."""
    return "" if tta == "none" else f"; scores with tta={tta}"


def class_table(parts: Mapping[str, Mapping[str, Any]], title: str, monitored: str = "") -> list[Table | Text]:
    """Return a table of scores per class and their averages, one block of columns for each part.

    Args:
        parts: What is scored (``val``, ``test``, ...) to its scores, from :func:`fer.scores.metrics.final_scores`.
        title: The table's title.
        monitored: The score that is set in bold.
    """

    def cells(scores: Mapping[str, Any], name: str) -> list[str]:
        values = scores["per_class"].get(name)
        if values is None:
            return ["", "", "", ""]
        if not values["support"]:
            return [NOTHING, NOTHING, NOTHING, "0"]
        return [*(f"{values[key]:.3f}" for key in _COLUMNS), f"{values['support']:,}"]

    classes = dict.fromkeys(name for scores in parts.values() for name in scores["per_class"])
    rows = [[name, *(value for scores in parts.values() for value in cells(scores, name))] for name in classes]
    rows.append([""] * (1 + 4 * len(parts)))
    bold = []
    averages = [
        (column, score) for column in _COLUMNS for score in reversed(SCORES.values()) if score.averages == column
    ]
    for column, average in averages:
        row = [average.title]
        for scores in parts.values():
            row += [average.text(scores[average.name]) if key == column else "" for key in _COLUMNS]
            row.append(f"{scores['n']:,}")
        bold += [len(rows)] if average.name == monitored else []
        rows.append(row)
    header = ["", *(f"{part}\n{column}" for part in parts for column in (*_COLUMNS.values(), "n"))]
    return fitted(title, header, rows, WIDTH, bold=bold)
