"""Tables of text for terminals and log files: as wide as there is room, with nothing cut off."""

import io
import logging
import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fer.display import cell, plain

log = logging.getLogger(__name__)

NOTHING = "-"
"""What stands where there is nothing to score: a class without images."""
WIDTH = 80
"""Of tables in log files."""
_GAP = 2


def shortened(name: object, length: int = 34) -> str:
    """Return a name of at most ``length`` letters: it loses its middle, since paths and ids differ at their end."""
    text = plain(name)
    if len(text) <= length:
        return text
    end = (length - 1) * 2 // 3
    return f"{text[: length - 1 - end]}…{text[-end:]}"


def rounded(value: str) -> str:
    """Return a number of many digits, as a search draws them, with four; anything else as it is."""
    try:
        return f"{float(value):.4g}" if len(value) > 6 and not re.fullmatch(r"[+-]?\d+(\.\d{,3})?", value) else value
    except ValueError:
        return value


def fitted(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    words: int = 1,
    bold: Sequence[int] = (),
) -> list[Table | Text]:
    """Lay a table out for a width; one that is too wide comes in several, each of which begins with the first column.

    Args:
        title: Its title; empty for none.
        header: Names of the columns.
        rows: As many texts each.
        width: Letters in a line; None for the terminal's (in a file that is written to, 80).
        words: How many of the first columns hold words, and are aligned left; the others hold numbers.
        bold: Rows that stand out.
    """
    width = width or Console().width
    columns = [[plain(name, keep="\n"), *(plain(row[number]) for row in rows)] for number, name in enumerate(header)]
    shares = ((2, 2, 12), (2, 2, 0), (2, 3, 0), (3, 4, 0))
    laid = [_sized(columns, width // first, width // other, name) for first, other, name in shares]
    columns, names, sizes = min(laid, key=lambda one: _cost(one[2], width))
    tables: list[Table | Text] = [cell(title, "italic")] if title else []
    blocks = _blocks(sizes, width)
    for block in blocks:
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
        for number in block:
            table.add_column(
                cell(names[number]), justify="left" if number < words else "right", no_wrap=True, overflow="crop"
            )
        for number, _ in enumerate(rows, 1):
            table.add_row(
                *(cell(columns[column][number]) for column in block), style="bold" if number - 1 in bold else ""
            )
        tables += [cell(""), table] if block is not blocks[0] else [table]
    return tables


def _sized(
    columns: Sequence[list[str]], first: int, other: int, least: int
) -> tuple[list[list[str]], list[str], list[int]]:
    """Shorten the cells of columns; returns the columns, their names, wrapped, and their widths.

    Args:
        columns: The name of each, then its cells.
        first: How many letters the first column may take.
        other: How many another one may.
        least: How many a name may take on a line, however short the cells below it are.
    """
    result, names, sizes = [], [], []
    for number, (name, *cells) in enumerate(columns):
        most = max(16, other if number else first)
        cells = [shortened(value, most) for value in cells] if number else told_apart(cells, most)
        room = max([cell_len(value) for value in cells], default=0)
        names.append(_wrapped(name if "\n" in name else shortened(name, 2 * most), max(room, least)))
        sizes.append(max(room, *(cell_len(line) for line in names[-1].split("\n"))))
        result.append([name, *cells])
    return result, names, sizes


def told_apart(names: Sequence[str], length: int) -> list[str]:
    """Shorten names, but not so much that two become one, unless they take up twice as much."""
    for most in range(length, length * 2):
        short = [shortened(name, most) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return [shortened(name, length) for name in names]


def _cost(sizes: Sequence[int], width: int) -> tuple[bool, int]:
    """Say whether columns of these sizes are too wide, and into how many tables they come: the less the better."""
    blocks = _blocks(sizes, width)
    wide = any(sum(sizes[number] + _GAP for number in block) - _GAP > width for block in blocks)
    return wide, len(blocks)


def _blocks(sizes: Sequence[int], width: int) -> list[list[int]]:
    """Part columns of these sizes into tables that fit, the first column in each."""
    blocks, used = [[0]], sizes[0]
    for number, size in enumerate(sizes[1:], 1):
        if used + _GAP + size > width and len(blocks[-1]) > 1:
            blocks.append([0])
            used = sizes[0]
        blocks[-1].append(number)
        used += _GAP + size
    return blocks


def _wrapped(name: str, room: int) -> str:
    """Break a column's name between its words, and after the dots of a key, where it is wider than its cells."""
    if "\n" in name:
        return name
    parts = re.findall(r"\s*(?:[^\s.]+\.?|\.)", name)
    room = max([room, *(cell_len(part.strip()) for part in parts)])
    lines = [""]
    for part in parts:
        if lines[-1] and cell_len(lines[-1] + part) > room:
            lines.append("")
        lines[-1] += part if lines[-1] else part.lstrip()
    return "\n".join(lines)


def tell(*parts: Table | Text) -> None:
    """Print tables and lines, and add them as plain text to the log file."""
    console, uncoloured = Console(), Console(file=io.StringIO(), width=WIDTH, color_system=None)
    for part in parts:
        for one in (console, uncoloured):
            one.print(part, soft_wrap=isinstance(part, Text), highlight=False)
    text = "\n" + uncoloured.file.getvalue().rstrip()  # type: ignore[attr-defined]
    record = log.makeRecord(log.name, logging.INFO, "", 0, text, (), None)  # an argument would be one line
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
