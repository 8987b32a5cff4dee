"""Runs in a group for each dataset, best first; names that tell runs, datasets and tests apart."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fer.files.metrics import Dataset
from fer.reporting.runs import Group, Run, Test
from fer.scores.registry import SCORES


def grouped(runs: Sequence[Run], score: str) -> list[Group]:
    """Part runs by dataset, the best first by a score; name runs, datasets and the tests' columns."""
    datasets: list[Dataset] = []

    def known(dataset: Dataset) -> Dataset:
        found = next((other for other in datasets if other.same(dataset)), None)
        if found is None:
            datasets.append(dataset)
        return found or dataset

    for run in runs:
        run.dataset = known(run.dataset) if run.dataset else None
        for test in run.tests.values():
            test.dataset = known(test.dataset)
    labels = dict(zip(map(id, datasets), _labels(datasets), strict=True))
    tests = [test for run in runs for test in run.tests.values()]
    sizes: dict[str, set[int]] = {}
    for test in tests:
        test.column = " ".join((labels[id(test.dataset)], *test.kind))
        sizes.setdefault(test.column, set()).add(test.metrics["test"]["n"])
    for test in tests:
        if len(sizes[test.column]) > 1:  # classes or images were left out: scores of other images
            test.column += f" (n {test.metrics['test']['n']:,})"
    clean: dict[str, set[int]] = {}
    for test in tests:
        if "clean" in test.metrics:
            clean.setdefault(test.column, set()).add(test.metrics["clean"]["n"])
    for test in tests:
        if len(clean.get(test.column, ())) > 1:
            test.clean = f"clean (n {test.metrics.get('clean', {}).get('n', 0):,})"
    for run in runs:
        run.tests = _by_column(sorted(run.tests.values(), key=lambda test: str(test.folder)))
    for run, name in zip(runs, short_names([run.folder for run in runs]), strict=True):
        run.name = name
    groups = [
        Group(labels[id(dataset)], dataset, sorted((r for r in runs if r.dataset is dataset), key=_rank(score)))
        for dataset in datasets
        if any(run.dataset is dataset for run in runs)
    ]
    groups.sort(key=lambda group: group.label)
    if elsewhere := [run for run in runs if run.dataset is None]:
        groups.append(Group("checkpoints whose runs are not here", None, sorted(elsewhere, key=lambda run: run.name)))
    return groups


def _input(test: Test) -> str:
    """Say how a test's images were stored: with another ``data.fit`` other parts of oblong ones were seen."""
    said = (test.metrics.get("dataset") or {}).get("input") or ["", "", "size not known"]
    return f"{said[0]}x{said[1]} {said[-1]}" if said[0] else said[-1]


def _by_column(tests: Sequence[Test]) -> dict[str, Test]:
    """Name a run's tests, each once: one that was made again, perhaps with other corruptions, is the first's twin."""
    found: dict[str, Test] = {}
    alike: dict[str, list[Test]] = {}  # by the column before it is numbered
    for test in tests:
        others = alike.setdefault(test.column, [])
        twin = next((other for other in others if _same(other.metrics, test.metrics)), None)
        if twin is not None:
            twin.twins.append(test)
            continue
        if others and _input(test) not in map(_input, others):
            test.column += f" ({_input(test)})"
        others.append(test)
        test.column = _free(test.column, found)
        found[test.column] = test
    return found


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two tests are of one checkpoint, with the same scores; older tests have no mark of theirs."""
    marks = {test["checkpoint_mark"] for test in (one, other) if test.get("checkpoint_mark")}
    return len(marks) < 2 and bool(one["test"] == other["test"])


def _rank(score: str) -> Callable[[Run], tuple[float, str]]:
    """Order by a score on validation; what has none comes last."""

    def rank(run: Run) -> tuple[float, str]:
        return (SCORES[score].sign * run.metrics["val"][score] if "val" in run.metrics else float("inf"), run.name)

    return rank


def _labels(datasets: Sequence[Dataset]) -> list[str]:
    """Name datasets by what tells them apart: their name, folder, number of classes; else a number."""
    labels = [dataset.name for dataset in datasets]
    for number, dataset in enumerate(datasets):
        others = [i for i, other in enumerate(datasets) if other.name == dataset.name]
        if len(others) == 1:
            continue
        roots = [datasets[i].root or "" for i in others]
        parts = []
        if len(set(roots)) > 1 and dataset.root:
            distinct = sorted(set(filter(None, roots)))
            parts.append(short_names([Path(root) for root in distinct])[distinct.index(dataset.root)])
        if len({datasets[i].classes for i in others}) > 1 and dataset.classes:
            parts.append(f"{len(dataset.classes)} classes")
        labels[number] = f"{dataset.name} ({', '.join(parts)})" if parts else dataset.name
    return [
        label if labels.count(label) == 1 else f"{label} #{labels[: i + 1].count(label)}"
        for i, label in enumerate(labels)
    ]


def _free(name: str, taken: Mapping[str, object]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name} #{number}", number + 1
    return free


def short_names(folders: Sequence[Path]) -> list[str]:
    """Leave out the part of the paths that all folders share."""
    if len(folders) == 1:
        return ["/".join(folders[0].parts[-2:])]
    shared = 0
    while len({folder.parts[shared] if len(folder.parts) > shared else "" for folder in folders}) == 1:
        shared += 1
    return [str(Path(*folder.parts[min(shared, len(folder.parts) - 1) :])) for folder in folders]
