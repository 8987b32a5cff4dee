"""Shows class names, ids and paths from data as plain text: one function for each place that interprets text.

Terminals, rich, Markdown and LaTeX would take some names for commands or markup. Imports nothing slow.
"""

import html
import logging
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Controls of a terminal, line breaks, marks that turn the writing direction around, halves of characters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
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


class Formatter(logging.Formatter):
    """Log lines in which names are only names: control characters are written out, line breaks in names too."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if isinstance(record.args, tuple) and any(isinstance(value, str) for value in record.args):
            record = logging.makeLogRecord(record.__dict__)
            record.args = tuple(plain(value) if isinstance(value, str) else value for value in record.args or ())
        return plain(super().format(record), keep="\n\t")
