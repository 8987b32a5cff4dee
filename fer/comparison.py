"""Runs side by side: found on disk, with the tests of their checkpoints, as the rows of tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from fer.display import cell, markdown, read_csv
from fer.errors import ConfigError, listing
from fer.results import at_epoch, read_history, read_metrics

COLUMNS = (
    "train, val: of the epoch that validation chose, train as measured while training (with augmentation and dropout). "
    "last epoch: the same split, with the last epoch's weights, which nothing has chosen. Other columns: tests; "
    "clean: without images that the model was trained on."
)
MCNEMAR_HEADER = ("on", "n", "only the first is right", "only the second is right", "p")
MCNEMAR_NOTE = (
    "The exact test of whether two runs are right equally often, on the same samples. A p below 0.05 says that a "
    "difference like this one would be rare if they were; it does not say that another seed would repeat it."
)


@dataclass
class Run:
    """A training run with the tests of its checkpoints; or tests of a checkpoint whose run is elsewhere.

    Attributes:
        name: Its folder, as short as it can be told from the others.
        folder: Its folder.
        metrics: Of the training run's ``metrics.json``; empty for a checkpoint from elsewhere.
        history: One list a column, empty if there is none.
        tests: Column name to the folder and ``metrics.json`` of a test.
    """

    name: str
    folder: Path
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tests: dict[str, tuple[Path, Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def stamp(self) -> str:
        """What must not be overlooked about its scores; empty if nothing."""
        tests = (f"{name}: {metrics['stamp']}" for name, (_, metrics) in self.tests.items() if metrics["stamp"])
        return " ".join(filter(None, [self.metrics.get("stamp"), *tests]))


def find_runs(where: str | Sequence[str]) -> list[Run]:
    """Find runs and tests below folders, best on validation first.

    Args:
        where: One folder or several; each a run, or a folder with runs anywhere in it.

    Raises:
        ConfigError: If a folder is absent, or there is no finished run in any.
    """
    places = [Path(place).expanduser() for place in ([where] if isinstance(where, str) else where)]
    if missing := [str(place) for place in places if not place.is_dir()]:
        raise ConfigError(f"runs: there is no such folder:\n{listing(missing)}")
    paths = sorted({path.resolve() for place in places for path in place.rglob("metrics.json")})
    if not paths:
        raise ConfigError(
            f"runs={where}: no metrics.json in it. A run writes it when it has finished; give a run's folder, or one "
            f"that holds runs."
        )
    trained: dict[Path, Run] = {}
    tested: list[tuple[Path, Mapping[str, Any]]] = []
    for path in paths:
        try:
            metrics = read_metrics(path)
            training = "best_score" in metrics
            if not training and "label_space" not in metrics:
                continue  # another program's
        except (ValueError, OSError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}). Remove it, or run its command again.") from error
        if not training:
            tested.append((path.parent, metrics))
            continue
        history = path.parent / "history.csv"
        trained[path.parent] = Run("", path.parent, metrics, read_history(history) if history.is_file() else {})
    for folder, test in tested:
        checkpoint = Path(test["checkpoint"]).resolve()
        home = checkpoint if checkpoint.is_dir() else checkpoint.parent.parent
        run = trained.setdefault(home, Run("", home))
        run.tests[_free(_test_name(test, checkpoint), run.tests)] = (folder, test)
    runs = sorted(trained.values(), key=_rank)
    for run, name in zip(runs, _short_names([run.folder for run in runs]), strict=True):
        run.name = name
    return runs


def _rank(run: Run) -> float:
    """Order by the monitored score, checkpoints from elsewhere last."""
    score = run.metrics.get("best_score")
    if score is None:
        return float("inf")
    return float(score if run.metrics["monitor"].endswith("loss") else -score)


def _test_name(metrics: Mapping[str, Any], checkpoint: Path) -> str:
    name = f"{metrics['data']} {metrics['split']}"
    if metrics["tta"] != "none":
        name += f" {metrics['tta']}"
    if checkpoint.is_file() and checkpoint.stem != "best":
        name += f" ({checkpoint.stem})"
    return name


def _free(name: str, taken: Mapping[str, object]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name} #{number}", number + 1
    return free


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Leave out the part of the paths that all folders share."""
    if len(folders) == 1:
        return ["/".join(folders[0].parts[-2:])]
    shared = 0
    while len({folder.parts[shared] if len(folder.parts) > shared else "" for folder in folders}) == 1:
        shared += 1
    return ["/".join(folder.parts[min(shared, len(folder.parts) - 1) :]) for folder in folders]


def score_table(runs: Sequence[Run], score: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: runs as rows; train, val, test and every other test as columns."""
    tests = list(dict.fromkeys(name for run in runs for name in run.tests))
    clean = [name for name in tests if any("clean" in run.tests[name][1] for run in runs if name in run.tests)]
    columns = [part for name in tests for part in (name, *([f"{name} clean"] if name in clean else []))]
    own = [split for split in ("val", "test") if any(split in run.metrics for run in runs)]
    header = ["run", "data", "model", "epoch", "train"]
    last = [split for split in own if any(split in run.metrics.get("last_epoch", {}) for run in runs)]
    header += [part for split in own for part in (split, *([f"{split}, last epoch"] if split in last else []))]
    header += columns
    rows = []
    for run in runs:
        metrics = run.metrics
        row = [run.name, str(metrics.get("data", "")), str(metrics.get("model", ""))]
        row += [str(metrics["best_epoch"]) if metrics else "", _at_best(run, f"train/{score}")]
        for split in own:
            row.append(_show(metrics.get(split), score))
            if split in last:
                row.append(_show(metrics.get("last_epoch", {}).get(split), score))
        for name in tests:
            found = run.tests[name][1] if name in run.tests else {}
            row.append(_show(found.get("test"), score))
            if name in clean:
                row.append(_show(found.get("clean"), score))
        if run.stamp:
            row[0] += " (!)"
        rows.append(row)
    return header, rows


def _at_best(run: Run, column: str) -> str:
    value = at_epoch(run.history, run.metrics["best_epoch"], column) if run.metrics else None
    return "" if value is None else f"{value:.3f}"


def _show(scores: Mapping[str, Any] | None, score: str) -> str:
    return f"{scores[score]:.3f}" if scores else ""


def _scored(run: Run) -> dict[str, Mapping[str, Any]]:
    """Return all that a run is scored on: its own splits and its tests, by name."""
    own = {split: run.metrics[split] for split in ("val", "test") if split in run.metrics}
    return own | {name: metrics["test"] for name, (_, metrics) in run.tests.items()}


def class_f1_table(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: each run on each split or test, with each class's F1."""
    parts = [(run, name, scores) for run in runs for name, scores in _scored(run).items()]
    classes = list(dict.fromkeys(name for _, _, scores in parts for name in scores["per_class"]))
    rows = []
    for run, name, scores in parts:
        values = [scores["per_class"].get(label) for label in classes]
        cells = [f"{value['f1']:.3f}" if value and value["support"] else "" for value in values]
        rows.append([run.name, name, f"{scores['n']:,}", *cells, f"{scores['f1_macro']:.3f}"])
    return ["run", "on", "n", *classes, "macro"], rows


def confusions(runs: Sequence[Run]) -> list[tuple[str, Sequence[Sequence[int]], list[str]]]:
    """Return title, counts and classes of each run on its test split (else val) and on each other test."""
    found = []
    for run in runs:
        scored = _scored(run)
        if "test" in scored:
            scored.pop("val", None)
        for name, scores in scored.items():
            title = f"{run.name}\n{name} · accuracy {scores['accuracy']:.3f}"
            stamp = (run.tests[name][1] if name in run.tests else run.metrics).get("stamp")
            title += f"\n{stamp.partition(':')[0]}" if stamp else ""
            found.append((title, scores["confusion"], list(scores["per_class"])))
    return found


def leak_lines(runs: Sequence[Run]) -> list[str]:
    """Say of each test how many of its images were in training."""
    from fer.evaluation import leak_line

    return [
        f"{run.name}, {name}: {leak_line(metrics['seen'])}" for run in runs for name, (_, metrics) in run.tests.items()
    ]


def mcnemar_tests(runs: Sequence[Run]) -> list[list[str]]:
    """Compare two runs on every split or test whose samples both have predicted, by McNemar's exact test."""
    from scipy.stats import binomtest

    first, second = (_answers(run) for run in runs)
    rows = []
    for name in first:
        common = sorted(first[name].keys() & second.get(name, {}).keys())
        if not common:
            continue
        pairs = [(first[name][sample], second[name][sample]) for sample in common]
        only_first, only_second = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
        differ = only_first + only_second
        p = binomtest(only_first, differ, 0.5).pvalue if differ else 1.0
        rows.append([name, f"{len(common):,}", f"{only_first:,}", f"{only_second:,}", f"{p:.2g}"])
    return rows


def _answers(run: Run) -> dict[str, dict[str, bool]]:
    """Return for each split or test, for each sample's id, whether the run is right."""
    found: dict[str, dict[str, bool]] = {}
    for name, folder in [("", run.folder), *((name, folder) for name, (folder, _) in run.tests.items())]:
        path = folder / "predictions.csv"
        if not path.is_file():
            continue
        with path.open(newline="", encoding="utf-8") as file:
            for row in read_csv(file)[1]:
                found.setdefault(name or row["split"], {})[row["id"]] = row["label"] == row["predicted"]
    return found


def write_markdown(
    path: Path,
    runs: Sequence[Run],
    scores: tuple[Sequence[str], Sequence[Sequence[str]]],
    per_class: tuple[Sequence[str], Sequence[Sequence[str]]],
    mcnemar: Sequence[Sequence[str]],
) -> None:
    """Write the tables as Markdown."""

    def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        lines = [header, ["---"] * len(header), *rows]
        return ["| " + " | ".join(map(markdown, line)) + " |" for line in lines]

    lines = ["# Comparison of runs", "", *table(*scores), "", COLUMNS, ""]
    lines += [f"**{markdown(run.name)}: {markdown(run.stamp)}**\n" for run in runs if run.stamp]
    lines += [f"- {markdown(line)}" for line in leak_lines(runs)]
    lines += ["", "## F1 per class", "", *table(*per_class)]
    if mcnemar:
        lines += ["", "## McNemar's test", "", *table(MCNEMAR_HEADER, mcnemar), "", MCNEMAR_NOTE]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def rich_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table for the terminal."""
    table = Table(title=cell(title), title_justify="left", box=None)
    for number, name in enumerate(header):
        table.add_column(cell(name), justify="right" if number > 2 else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    return table
