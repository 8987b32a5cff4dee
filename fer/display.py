"""Names that stand in data are only data: how class names, ids, paths and the like are shown, and written as text.

One function for each place that would read more into a name than its letters. Imports nothing slow.
"""

import csv
import html
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fer.atomic import writing

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Controls of a terminal, line breaks, marks that turn the writing direction around, halves of characters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = "=+-@\t\r\n"  # what a spreadsheet takes for the beginning of a formula
_LATEX = {c: f"\\{c}" for c in "{}$&#%_"} | {"\\": "\\textbackslash{}", "^": "\\^{}", "~": "\\textasciitilde{}"}


def plain(text: object, keep: str = "") -> str:
    r"""Return text on one line that no terminal takes for a command: controls are written out (``\x1b``).

    Args:
        text: Anything.
        keep: Controls that may stay, such as the line breaks of a message of several lines.
    """
    return _CONTROL.sub(lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), str(text))


def cell(text: object, style: str = "") -> "Text":
    """Return a cell or a title of a rich table, in which ``[brackets]`` are brackets."""
    from rich.text import Text

    return Text(plain(text, keep="\n"), style)


def say(console: "Console", text: object, style: str = "") -> None:
    """Print a line that is not broken where the terminal ends, so that paths in it can be copied."""
    console.print(cell(text, style), soft_wrap=True)


def markdown(text: object) -> str:
    """Return text that Markdown shows as it is, in a table's cell too: no HTML, no emphasis, no link."""
    return re.sub(r"([\\`*_\[\]|$~])", r"\\\1", html.escape(plain(text), quote=False))


def latex(text: object) -> str:
    """Return text that LaTeX sets as it is."""
    return "".join(_LATEX.get(letter, letter) for letter in plain(text))


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


class Formatter(logging.Formatter):
    """Log lines in which names are only names: control characters are written out, line breaks in names too."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if isinstance(record.args, tuple) and any(isinstance(value, str) for value in record.args):
            record = logging.makeLogRecord(record.__dict__)
            record.args = tuple(plain(value) if isinstance(value, str) else value for value in record.args or ())
        return plain(super().format(record), keep="\n\t")
