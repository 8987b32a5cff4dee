"""A report on disk and on the terminal: the same tables as text, Markdown, LaTeX, csv and one HTML page."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer.display import cell, latex, markdown, plain
from fer.files.atomic import writing
from fer.files.csv_table import write_csv
from fer.plots.tables import fitted, shortened
from fer.reporting import mcnemar, run_tables
from fer.reporting.run_tables import COLUMNS, TRAIN, Cell, ScoreTable, lead_lines
from fer.reporting.runs import Found, Group, Run

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from fer.plots.page import Page

_CURVES, _MATRICES = 10, 12  # that can be told apart
_PICTURED = 3  # groups whose curves are drawn: more would take longer than all the rest
_LISTED = 30  # runs of a group on the terminal


def in_words(group: Group, score: str) -> str:
    """Return a group's heading."""
    count = f"{len(group.runs)} run{'s' if len(group.runs) != 1 else ''}"
    return f"{group.label}: {count}, {score.replace('_', ' ')}"


def on_terminal(group: Group, score: str) -> list["Table | Text"]:
    """Return a group's tables for the terminal: scores, and means where several runs are one experiment."""
    table = _brief(run_tables.score_table(group.runs, score))
    header, rows = _texts(table)
    parts = fitted(in_words(group, score), header, rows[:_LISTED], words=len(table.words) - 1)
    if len(rows) > _LISTED:
        parts.append(cell(f"... and {len(rows) - _LISTED} more: report.csv"))
    parts += [cell(f"{run.name}: {run.stamp}", "bold red") for run in group.runs[:_LISTED] if run.stamp]
    if means := _means(group, score):
        means = _brief(means)
        header, rows = _texts(means)
        parts.append(cell(""))
        parts += fitted(
            "mean and standard deviation over seeds or folds", header, rows[:_LISTED], words=len(means.words) - 1
        )
    said = [*run_tables.repeat_lines(group), *lead_lines(means or table, longest=30)]
    return [*parts, *map(cell, said), cell("")]


def _brief(table: ScoreTable) -> ScoreTable:
    """Leave out the last epoch's columns, for which there is no room on a terminal or in a paper."""
    return ScoreTable(table.words, [c for c in table.columns if not c.endswith("last epoch")], table.rows)


def _means(group: Group, score: str) -> ScoreTable | None:
    """Return the means over seeds; None where no experiment has several runs."""
    table = run_tables.seed_table(group, score)
    return table if len(table.rows) < len(group.runs) else None


def _texts(
    table: ScoreTable, show: Callable[[Cell, bool], str] = lambda one, best: str(one)
) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table as text.

    Args:
        table: The table.
        show: Writes a score; its second argument says whether it is the column's best.
    """
    best = {column: table.best(column) for column in table.columns}
    rows = [
        [*words, *(show(scores[c], best[c] == number) if c in scores else "" for c in table.columns)]
        for number, (words, scores) in enumerate(table.rows)
    ]
    return [*table.words, *table.columns], rows


def write_tables(folder: Path, found: Found, score: str, compared: mcnemar.Compared) -> None:
    """Write ``report.csv``, ``report.md`` and ``report.tex``."""
    _write_csv(folder / "report.csv", found, score)
    _write_markdown(folder / "report.md", found, score, compared)
    _write_latex(folder / "report.tex", found, score)


def _write_csv(path: Path, found: Found, score: str) -> None:
    """Write a line for each run, with each score's interval beside it."""
    tables = [(group, run_tables.score_table(group.runs, score)) for group in found.groups]
    columns = run_tables.score_table(found.runs, score).columns
    bounded = [c for c in columns if any(s[c].bounds for _, table in tables for _, s in table.rows if c in s)]
    header = ["run", "data", "model", "choices", "epoch"]
    header += [name for c in columns for name in (c, *([f"{c} 95% low", f"{c} 95% high"] if c in bounded else []))]
    lines = []
    for group, table in tables:
        for words, scores in table.rows:
            named = {"choices": "", "data": group.label} | dict(zip(table.words, words, strict=True))
            line = [named[name] for name in header[:5]]
            for column in columns:
                cell = scores.get(column)
                line.append("" if cell is None else cell.number)
                if column in bounded:
                    line += [cell.score.text(bound) for bound in cell.bounds] if cell and cell.bounds else ["", ""]
            lines.append(line)
    write_csv(path, list(map(plain, header)), [list(map(plain, line)) for line in lines])


def _write_markdown(path: Path, found: Found, score: str, compared: mcnemar.Compared) -> None:
    def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
        return ["| " + " | ".join(line) + " |" for line in [list(map(markdown, header)), ["---"] * len(header), *rows]]

    def show(cell: Cell, best: bool) -> str:
        return " ".join(filter(None, (f"**{cell}**" if best else str(cell), cell.aside)))

    def scores(of: ScoreTable) -> list[str]:
        header, rows = _texts(of, show)
        words = len(of.words)
        return table(header, ([*map(markdown, row[:words]), *row[words:]] for row in rows))

    lines = ["# Comparison of runs", ""]
    for group in found.groups:
        own = run_tables.score_table(group.runs, score)
        lines += [f"## {markdown(in_words(group, score))}", "", *scores(own), ""]
        lines += [f"- {markdown(line)}" for line in _said(group, own)] + [""]
        if means := _means(group, score):
            lines += ["Mean and standard deviation over seeds or folds:", "", *scores(means), ""]
            lines += [f"- {markdown(line)}" for line in lead_lines(means)] + [""]
        header, rows = run_tables.class_table(group.runs)
        lines += ["F1 per class:", "", *table(header, (list(map(markdown, row)) for row in rows)), ""]
    rows, refused = compared
    if rows or refused:
        lines += [f"## {markdown(mcnemar.title(found))}", ""]
        lines += [*table(mcnemar.HEADER, (list(map(markdown, row)) for row in rows)), "", mcnemar.NOTE] if rows else []
        lines += ["", *(f"- {markdown(line)}" for line in refused)]
    lines += ["## Notes", "", f"- {COLUMNS}", f"- {TRAIN}"]
    lines += [f"- {markdown(line)}" for line in [*found.stale, *found.skipped]]
    with writing(path) as file:
        file.write("\n".join(lines) + "\n")


def _said(group: Group, table: ScoreTable) -> list[str]:
    """Return what must be said of a group's scores: stamps, leaks, leads that may be chance."""
    stamps = [f"{run.name}: {run.stamp}" for run in group.runs if run.stamp]
    return [*stamps, *_lines(group, table)]


def _lines(group: Group, table: ScoreTable) -> list[str]:
    repeats, leaks = run_tables.repeat_lines(group), run_tables.leak_lines(group.runs)
    return [*run_tables.sample_lines(group.runs), *repeats, *lead_lines(table), *leaks]


def _write_latex(path: Path, found: Found, score: str) -> None:
    """Write a table for each group, with a line for each experiment: mean and deviation over its seeds."""

    def show(cell: Cell, best: bool) -> str:
        text = f"\\textbf{{{cell.number}}}" if best else cell.number
        if cell.spread is not None:
            return f"{text} $\\pm$ {cell.score.text(cell.spread)}{cell.few}"
        text = f"{text} {{\\scriptsize {cell.aside.replace('-', '--')}}}" if cell.bounds else text
        return text + cell.few

    lines = ["% Written by fer.report; \\input{report.tex}. It needs no package.", ""]
    for group in found.groups:
        table = _brief(run_tables.seed_table(group, score))
        header, rows = _texts(table, show)
        words = len(table.words)
        several = any(cell.spread is not None for _, scores in table.rows for cell in scores.values())
        caption = f"{latex(group.label)}: {latex(score.replace('_', ' '))}; "
        caption += "mean and standard deviation over seeds or folds, of single runs the " if several else ""
        caption += "95\\,\\% interval in brackets. Best in bold. " + " ".join(
            latex(line) for line in lead_lines(table, longest=40)
        )
        lines += [
            "\\begin{table}", "  \\centering", f"  \\caption{{{caption.strip()}}}",
            f"  \\begin{{tabular}}{{{'l' * (words - 1)}r{'c' * (len(header) - words)}}}", "    \\hline",
            f"    {' & '.join(map(latex, header))} \\\\", "    \\hline",
            *(f"    {' & '.join([*map(latex, row[:words]), *row[words:]])} \\\\" for row in rows),
            "    \\hline", "  \\end{tabular}", "\\end{table}", "",
        ]  # fmt: skip
    with writing(path) as file:
        file.write("\n".join(lines).replace("±", "$\\pm$") + "\n")


def page(found: Found, score: str, compared: mcnemar.Compared) -> "Page":
    """Return the HTML page."""
    from fer.plots.page import Page

    count = f"{len(found.runs)} run{'s' if len(found.runs) != 1 else ''}"
    made = Page("Comparison of runs", f"{count}, by {score.replace('_', ' ')}; best on validation first.")
    pictured = sorted(found.groups, key=lambda group: -len(group.runs))[:_PICTURED]
    for group in found.groups:
        _add_group(made, group, score, curves=any(group is one for one in pictured))
    rows, refused = compared
    if rows or refused:
        made.section("McNemar's test")
        made.text(mcnemar.title(found))
        if rows:
            made.table(mcnemar.HEADER, rows)
            made.text(mcnemar.NOTE, "note")
        for line in refused:
            made.text(line)
    made.section("Notes")
    made.points([COLUMNS, TRAIN, *found.stale, *found.skipped])
    return made


def _add_group(made: "Page", group: Group, score: str, curves: bool) -> None:
    """Add a section: scores, means, F1 per class, and pictures of the best runs."""
    from fer.plots.page import Score

    def show(table: ScoreTable) -> tuple[list[str], list[list[object]]]:
        best = {column: table.best(column) for column in table.columns}
        rows: list[list[object]] = [
            [*words, *(Score(str(s[c]), s[c].aside, best[c] == n) if c in s else "" for c in table.columns)]
            for n, (words, s) in enumerate(table.rows)
        ]
        return [*table.words, *table.columns], rows

    own = run_tables.score_table(group.runs, score)
    made.section(in_words(group, score))
    made.table(*show(own), words=len(own.words) - 1)
    for run in group.runs:
        if run.stamp:
            made.text(f"{run.name}: {run.stamp}", "stamp")
    made.points(_lines(group, own))
    if means := _means(group, score):
        made.heading("Mean and standard deviation over seeds or folds")
        made.table(*show(means), words=len(means.words) - 1)
        made.points(lead_lines(means))
    made.heading("F1 per class")
    made.table(*run_tables.class_table(group.runs), words=2)
    if any(run.history for run in group.runs):
        made.heading("Curves")
        if curves:
            _add_curves(made, [run for run in group.runs if run.history])
        else:
            made.text(f"They are drawn of the {_PICTURED} largest groups alone.", "note")
    made.heading("Confusion matrices")
    made.text(
        "In percent of the true class (rows, with their number of images); columns are what the run said.", "note"
    )
    matrices = run_tables.confusions(group.runs)
    if len(matrices) > _MATRICES:
        made.text(f"The first {_MATRICES} of {len(matrices)}, those of the best runs.", "note")
    made.matrices(matrices[:_MATRICES])


def _add_curves(made: "Page", runs: Sequence[Run]) -> None:
    from fer.plots import figures

    drawn = runs[:_CURVES]
    if len(runs) > len(drawn):
        made.text(f"Of the {len(drawn)} best of {len(runs)} runs: {', '.join(run.name for run in drawn)}.", "note")
    histories = {shortened(plain(run.name), 60): run.history for run in drawn}
    made.figure(figures.overlay_figure(histories), "loss and accuracy of the runs over the epochs")
