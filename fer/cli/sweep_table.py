"""The table of a sweep's jobs: on the terminal, as csv, and as pictures of what the choices did."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from fer.cli.sweep_jobs import grouped, headlines, monitors, repeated
from fer.files.csv_table import write_csv
from fer.files.run_folder import REPEATS
from fer.scores.registry import SCORES

if TYPE_CHECKING:
    from rich.console import Console

_FEW = 4  # choices that fit beside the scores


def varied(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys that differ between the jobs; all of them where none does."""
    keys = list(dict.fromkeys(key for row in rows for key in row["overrides"]))
    return [key for key in keys if len({row["overrides"].get(key) for row in rows}) > 1] or keys


def write(path: Path, rows: Sequence[dict[str, Any]], varied: Sequence[str]) -> None:
    """Write a line for each job as csv.

    Args:
        path: The file.
        rows: The jobs, from :func:`fer.cli.sweep_jobs.collect`.
        varied: The choices to show, from :func:`varied`.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    header, *lines = _lines(rows, varied, _scores(rows))
    full = (
        [*line, str(row["folder"]), row.get("error", ""), row.get("stamp") or ""]
        for row, line in zip(rows, lines, strict=True)
    )
    write_csv(path, [*header, "folder", "error", "stamp"], full)


def show(console: "Console", rows: Sequence[dict[str, Any]], varied: Sequence[str]) -> None:
    """Print a line for each job, and the means over those that repeat one another.

    Args:
        console: The terminal.
        rows: The jobs, from :func:`fer.cli.sweep_jobs.collect`.
        varied: The choices to show, from :func:`varied`.
    """
    from fer.plots.class_table import said_of_tta

    scores = _scores(rows)
    header, *lines = _lines(rows, varied, scores)
    order = ", best first" if len(monitors(rows)) == 1 else ""
    ttas = {row["tta"] for row in rows if "tta" in row}
    tta = ttas.pop() if len(ttas) == 1 else "none"
    title = f"{len(rows)} jobs{order}{said_of_tta(tta)}"
    if len(varied) <= _FEW:
        _print(console, title, header, lines, 1 + len(varied))
    else:  # a search: side by side, its choices would leave no room for the scores
        end, best_lines = 1 + len(varied), lines[:3]
        _print(console, title, [header[0], *header[end:]], [[line[0], *line[end:]] for line in lines], 1)
        jobs = ["job", *(line[0] for line in best_lines)]
        turned = [[key, *(line[place] for line in best_lines)] for place, key in enumerate(varied, 1)]
        _print(console, f"choices of the {'best' if order else 'first'} (all of them: sweep.csv)", jobs, turned, 1)
    _show_means(console, rows, varied, [("", "score"), *scores])


def _monitor(rows: Sequence[dict[str, Any]]) -> str:
    """Return the name of the score that the jobs are compared by; ``score`` where each has its own."""
    if len(monitors(rows)) > 1:
        return "score"
    return next((row["monitor"] for row in rows if "monitor" in row), "score")


def _scores(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return split and name of each score that some job has and that does not repeat the one they are compared by.

    With test-time augmentation the score of the best epoch and that of its checkpoint are two.
    """

    def repeats(row: dict[str, Any], split: str, score: str) -> bool:
        return f"{split}/{score}" == row.get("monitor") and math.isclose(row[split][score], row["score"], rel_tol=1e-4)

    return [
        (split, score.name)
        for split in ("train", "val", "test")
        for score in headlines()
        if any(score.name in row.get(split, {}) and not repeats(row, split, score.name) for row in rows)
    ]


def _column(split: str, score: str) -> str:
    """Return a column's name: ``val acc``."""
    return f"{split} {SCORES[score].short or SCORES[score].title}"


def _lines(rows: Sequence[dict[str, Any]], varied: Sequence[str], scores: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the table of all jobs as text: the header, then a line for each job."""
    gaps = ["gap"] if any(row.get("gap") is not None for row in rows) else []
    lines = [["job", *varied, _monitor(rows), "epoch", *(_column(*score) for score in scores), *gaps]]
    mixed = len(monitors(rows)) > 1
    for row in rows:
        line = [row["job"], *(row["overrides"].get(key, "") for key in varied)]
        if "score" in row:
            line += [f"{row['score']:.4f}{' ' + row['monitor'] if mixed else ''}", str(row["epoch"])]
            line += [
                SCORES[score].text(row[split][score], further=1) if row.get(split) else "" for split, score in scores
            ]
            line += [f"{row['gap']:+.3f}" if row.get("gap") is not None else "" for _ in gaps]
        else:
            line += ["failed"]
        lines.append(line + [""] * (len(lines[0]) - len(line)))
    return lines


def _print(console: "Console", title: str, header: Sequence[str], lines: Sequence[Sequence[str]], words: int) -> None:
    """Print a table as wide as the terminal, the first columns (jobs and choices) rounded and aligned left."""
    from rich.text import Text

    from fer.plots.tables import fitted, rounded

    console.print()
    rows = [[line[0], *map(rounded, line[1:])] for line in lines]
    for part in fitted(title, header, rows, console.width, words):
        console.print(part, soft_wrap=isinstance(part, Text))


def _show_means(
    console: "Console", rows: Sequence[dict[str, Any]], varied: Sequence[str], scores: Sequence[tuple[str, str]]
) -> None:
    """Print mean and standard deviation over the jobs that differ in seed or fold alone."""
    choices = [key for key in varied if key not in REPEATS]
    groups = grouped([row for row in rows if "score" in row], varied)
    if not repeated(rows) or all(len(group) < 2 for group in groups.values()):
        return
    header = [*choices, "n", *(_column(split, score) if split else _monitor(rows) for split, score in scores)]
    lines = []
    for choice, group in groups.items():
        cells = []
        for split, score in scores:
            values = [row[split][score] if split else row[score] for row in group if not split or row.get(split)]
            spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.4f}{spread}" if values else "")
        lines.append([*choice, str(len(group)), *cells])
    _print(console, f"mean and standard deviation over {' and '.join(repeated(rows))}", header, lines, len(choices))


def draw(folder: Path, rows: Sequence[dict[str, Any]], choices: Sequence[str]) -> None:
    """Draw what the choices did to the score, where there are jobs enough to see something.

    Args:
        folder: The sweep's folder.
        rows: Its finished jobs.
        choices: Keys that differ between jobs.
    """
    choices = [key for key in choices if len({row["overrides"].get(key) for row in rows}) > 1]
    if len(rows) < 4 or len(choices) < 2 or len(monitors(rows)) > 1:
        return
    from fer.plots import figures
    from fer.plots.importance import importance_figure, importances, make_axis, parallel_coordinates_figure

    monitor, scores = rows[0]["monitor"], [row["score"] for row in rows]
    axes = [make_axis(key, [row["overrides"].get(key, "default") for row in rows]) for key in choices]
    figure = parallel_coordinates_figure(axes, make_axis(monitor, scores))
    figures.save(figure, folder / "parallel_coordinates.png")
    figure = importance_figure(importances(axes, scores), f"what {monitor} depends on · {len(rows)} jobs")
    figures.save(figure, folder / "importance.png")
