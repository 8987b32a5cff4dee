"""What a report says of a group of runs: scores with intervals, means over seeds, F1 of classes, differences."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any, NamedTuple

from fer.data.corruptions import KINDS
from fer.files.history import at_epoch
from fer.plots.tables import NOTHING, told_apart
from fer.reporting.experiments import choices_of, differing, told
from fer.reporting.runs import Group, Run
from fer.scores.protocol import leak_line
from fer.scores.registry import MEAN_CORRUPTION, SCORES, Score

COLUMNS = (
    "val, test: the dataset's own splits, with the weights that validation chose; flip, shift, tencrop: with that "
    "test-time augmentation; last epoch: with the last epoch's weights, which nothing has chosen. Other columns: "
    "tests; clean: without images that the model, its parent or its teachers were trained on; "
    "mean corruption accuracy: on images made worse, of all kinds and strengths. In brackets: 95 % intervals, by "
    "resampling the images."
)
TRAIN = "train: as measured while training, with dropout. Runs that augment have none: it would be of other images."


class Cell(NamedTuple):
    """A score with its 95 % interval, or with the deviation over seeds; ``n`` where its row has more runs than it."""

    score: Score
    value: float
    bounds: tuple[float, float] | None = None
    spread: float | None = None
    n: int | None = None

    def __str__(self) -> str:
        return self.number + ("" if self.spread is None else f" ± {self.score.text(self.spread)}") + self.few

    @property
    def few(self) -> str:
        """Of how many runs it is, if of fewer than its row has."""
        return "" if self.n is None else f" (n {self.n})"

    @property
    def number(self) -> str:
        """The score alone."""
        return self.score.text(self.value)

    @property
    def rank(self) -> float:
        """The lower, the better."""
        return self.score.sign * self.value

    @property
    def aside(self) -> str:
        """The interval in brackets."""
        return f"({self.score.interval(self.bounds)})" if self.bounds else ""


@dataclass
class ScoreTable:
    """Scores of a group.

    Attributes:
        words: Names of the columns that hold words.
        columns: Names of the columns that hold scores.
        rows: Words and scores of each run, or of each experiment.
    """

    words: list[str]
    columns: list[str]
    rows: list[tuple[list[str], dict[str, Cell]]]

    def best(self, column: str) -> int | None:
        """Return the row of a column's best score; None where fewer than two have one."""
        values = [(scores[column].rank, number) for number, (_, scores) in enumerate(self.rows) if column in scores]
        return min(values)[1] if len(values) > 1 else None


def _scores(run: Run, score: str) -> dict[str, Cell]:
    """Return a run's scores by column."""
    last = run.metrics.get("last_epoch", {})
    parts: dict[str, Any] = {}
    for split in ("val", "test"):
        parts |= {run.on(split): run.metrics.get(split), f"{run.on(split)}, last epoch": last.get(split)}
    parts[f"{run.on('test')} clean"] = run.metrics.get("clean")
    for name, test in run.tests.items():
        parts |= {name: test.metrics["test"], f"{name} {test.clean}": test.metrics.get("clean")}
    found = {}
    if not _augments(run.config):
        value = at_epoch(run.history, run.metrics["best_epoch"], f"train/{score}")
        found = {} if value is None else {"train": Cell(SCORES[score], value)}
    for column, scores in parts.items():
        if scores and scores["n"]:
            bounds = scores.get(f"{score}_95")
            found[column] = Cell(SCORES[score], float(scores[score]), (bounds[0], bounds[1]) if bounds else None)
    for name, test in run.tests.items():
        for worse in test.corrupted:
            column, cell = _corrupted(name, worse)
            found.setdefault(column, cell)  # of the same kinds of corruption once
    return found


def _corrupted(name: str, scores: Mapping[str, Any]) -> tuple[str, Cell]:
    """Return a column's name and the score of a test's corrupted images; a part of the kinds makes another column."""
    score, kinds = SCORES[MEAN_CORRUPTION], [str(kind) for kind in scores["accuracy"]]
    some = "" if set(kinds) == set(KINDS) else f" ({', '.join(kinds)})"
    bounds = scores.get(f"{MEAN_CORRUPTION}_95")
    value = float(scores[MEAN_CORRUPTION])
    return f"{name} {score.title}{some}", Cell(score, value, (bounds[0], bounds[1]) if bounds else None)


def _augments(config: Mapping[str, Any]) -> bool:
    """Say whether a run's training images were changed, or may have been."""
    if "transforms" not in config:
        return True
    steps, mixup = config["transforms"], config.get("mixup")
    changed = any(value for value in mixup.values()) if isinstance(mixup, Mapping) else bool(mixup)
    return changed or (any(steps.values()) if isinstance(steps, Mapping) else bool(steps))


def score_table(runs: Sequence[Run], score: str) -> ScoreTable:
    """Return the scores of runs: a row each, with what tells it from others of the same network."""
    choices = [choices_of(run, with_repeats=True) for run in runs]
    differ = {
        model: differing([chosen for chosen, run in zip(choices, runs, strict=True) if run.model == model])
        for model in {run.model for run in runs}
    }
    rows = []
    for chosen, run in zip(choices, runs, strict=True):
        name = f"{run.name} (!)" if run.stamp else run.name
        epoch = str(run.metrics["best_epoch"]) if run.metrics else ""
        rows.append(([name, run.model, told(chosen, differ[run.model], ""), epoch], _scores(run, score)))
    return _table(["run", "model", "choices", "epoch"], rows)


def _table(words: list[str], rows: list[tuple[list[str], dict[str, Cell]]]) -> ScoreTable:
    """Return a table without the column ``choices`` where there are none."""
    columns, at = _columns([scores for _, scores in rows]), words.index("choices")
    if any(cells[at] for cells, _ in rows):
        return ScoreTable(words, columns, rows)
    return ScoreTable([*words[:at], *words[at + 1 :]], columns, [([*w[:at], *w[at + 1 :]], s) for w, s in rows])


def _columns(rows: Sequence[Mapping[str, Cell]]) -> list[str]:
    own = {"train": 0, "val": 1, "test": 2}  # by their first word: val, "val flip, last epoch"
    first = {column: own.get(column.split()[0].rstrip(","), 3) for scores in rows for column in scores}
    return sorted(first, key=lambda column: (first[column], column if first[column] == 3 else ""))


def seed_table(group: Group, score: str) -> ScoreTable:
    """Return mean and deviation over the runs that differ in seed or fold alone: a row for each experiment."""
    experiments: dict[str, list[Run]] = {}
    choices: dict[str, dict[str, Any]] = {}
    for alike in _by_repeat(group):
        found = choices_of(alike[0])
        key = json.dumps(found, sort_keys=True, default=str) if found else str(alike[0].folder)
        experiments.setdefault(key, []).append(alike[0])
        choices[key] = found
    by_model: dict[str, list[dict[str, Any]]] = {}
    for key, runs in experiments.items():
        by_model.setdefault(runs[0].model, []).append(choices[key])
    differ = {model: differing(alike) for model, alike in by_model.items()}
    ranked = []
    for key, runs in experiments.items():
        scored = [_scores(run, score) for run in runs]
        cells = {
            column: _mean([scores[column] for scores in scored if column in scores], len(runs))
            for column in _columns(scored)
        }
        what = told(choices[key], differ[runs[0].model], runs[0].name)
        val = cells.get(runs[0].on("val"))
        ranked.append((val.rank if val else math.inf, ([runs[0].model or runs[0].name, what, str(len(runs))], cells)))
    ranked.sort(key=lambda one: one[0])
    table = _table(["model", "choices", "runs"], [row for _, row in ranked])
    return replace(table, columns=[column for column in table.columns if column != "train"])


def _mean(cells: Sequence[Cell], runs: int) -> Cell:
    n = len(cells) if len(cells) < runs else None
    if len(cells) == 1:
        return cells[0]._replace(n=n)
    values = [cell.value for cell in cells]
    return Cell(cells[0].score, mean(values), None, stdev(values), n)


def _by_repeat(group: Group) -> list[list[Run]]:
    """Return the runs that share all choices, seed and fold; the latest by its folder's name comes first."""
    found: dict[str, list[Run]] = {}
    for run in group.runs:
        choices = choices_of(run, with_repeats=True)
        key = json.dumps(choices, sort_keys=True, default=str) if choices else str(run.folder)
        found.setdefault(key, []).append(run)
    return [sorted(alike, key=lambda run: str(run.folder), reverse=True) for alike in found.values()]


def repeat_lines(group: Group) -> list[str]:
    """Say which runs count once in the means, because they are one experiment with one seed."""
    return [
        f"{alike[0].name} and {', '.join(run.name for run in alike[1:])} are one experiment with one seed; the means "
        f"count {alike[0].name} alone."
        for alike in _by_repeat(group)
        if len(alike) > 1
    ]


def lead_lines(table: ScoreTable, longest: int | None = None) -> list[str]:
    """Say of each split and test where the best is so little ahead that it may be chance.

    Args:
        table: The scores.
        longest: Letters of a run's name; None for all of them.
    """
    lines = []
    for column in table.columns:
        scored = [(scores[column], words) for words, scores in table.rows if column in scores]
        if column == "train" or column.endswith("last epoch") or len(scored) < 2:
            continue
        (first, words), (second, others) = sorted(scored, key=lambda one: one[0].rank)[:2]
        names = [" ".join(filter(None, one[:-1] if "runs" in table.words else one[:1])) for one in (words, others)]
        names = told_apart(names, longest) if longest else names
        if first.number == second.number:
            same = f"have the same score to the digits shown ({first.number})"
            lines.append(f"{column}: {names[0]} and {names[1]} {same}.")
            continue
        lead = second.rank - first.rank
        ahead = first.score.text(lead)
        if not any(digit in ahead for digit in "123456789"):  # rounded away: 0.000 would be no lead
            ahead = f"less than {ahead[:-1]}1"
        by = f"{column}: {names[0]} leads {names[1]} by {ahead}"
        if first.bounds and first.bounds[0] <= second.value <= first.bounds[1]:
            lines.append(f"{by}, within its 95 % interval {first.aside}: which of them is better is not known.")
        elif first.spread is not None and lead <= first.spread:
            spread = first.score.text(first.spread)
            lines.append(f"{by}, within its deviation over seeds or folds (± {spread}): it may be chance.")
    return lines


def class_table(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: each run on each split or test, with each class's F1; a dash where it has no image."""
    parts = [(run, name, scores) for run in runs for name, scores in run.scored.items()]
    classes = list(dict.fromkeys(name for _, _, scores in parts for name in scores["per_class"]))
    rows = []
    for run, name, scores in parts:
        values = [scores["per_class"].get(label) for label in classes]
        cells = ["" if v is None else f"{v['f1']:.3f}" if v["support"] else NOTHING for v in values]
        rows.append([run.name, name, f"{scores['n']:,}", *cells, f"{scores['f1_macro']:.3f}"])
    return ["run", "on", "n", *classes, "macro"], rows


def confusions(runs: Sequence[Run]) -> list[tuple[str, Sequence[Sequence[int]], list[str]]]:
    """Return title, counts and classes of each run on their test split (else val) and on each other test."""
    found: list[tuple[str, Sequence[Sequence[int]], list[str]]] = []
    for run in runs:
        scored = dict(run.scored)
        if run.on("test") in scored:
            scored.pop(run.on("val"), None)
        for name, scores in scored.items():
            title = f"{run.name}\n{name} · accuracy {scores['accuracy']:.3f}"
            stamp = (run.tests[name].metrics if name in run.tests else run.metrics).get("stamp")
            title += f"\n{stamp.partition(':')[0]}" if stamp else ""
            found.append((title, scores["confusion"], list(scores["per_class"])))
    return found


def leak_lines(runs: Sequence[Run]) -> list[str]:
    """Say of which tests images were in training, or may have been; and how many tests are clean."""
    lines, clean = [], 0
    for run in runs:
        own = {run.on("test"): run.metrics["seen"]} if "seen" in run.metrics else {}  # with init= or teacher=
        for name, seen in (own | {name: test.metrics["seen"] for name, test in run.tests.items()}).items():
            known = seen["known"] and seen.get("complete", True)
            if known and not seen["in_training"] and not seen["chose_the_checkpoint"]:
                clean += 1
            else:
                lines.append(f"{run.name}, {name}: {leak_line(seen)}")
    if clean:
        what = "the" if len(lines) + clean == 1 else f"{clean} of the {len(lines) + clean}"
        lines.append(f"No image of {what} test{'s' if len(lines) + clean > 1 else ''} was in training.")
    return lines


def sample_lines(runs: Sequence[Run]) -> list[str]:
    """Say on which split the runs of a group were not scored on as many images."""
    lines = []
    for split in ("val", "test"):
        counts = sorted({run.metrics[split]["n"] for run in runs if split in run.metrics})
        if len(counts) > 1:
            lines.append(f"{split}: not all runs were scored on the same images ({counts[0]:,} to {counts[-1]:,}).")
    return lines
