"""Runs side by side: found on disk, with the tests of their checkpoints, in a group for each dataset."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer.errors import ConfigError, listing
from fer.files import history as history_file
from fer.files import metrics as metrics_file
from fer.files import run_folder
from fer.files.metrics import Dataset, dataset_of
from fer.scores.registry import SCORES, reported

_COPIED = 60  # seconds by which a copy's files may be of another order than the files themselves


@dataclass
class Test:
    """A test of a checkpoint.

    Attributes:
        folder: Its folder.
        metrics: Its ``metrics.json``.
        dataset: What was tested on.
        column: Its name among the tests of all runs.
    """

    folder: Path
    metrics: Mapping[str, Any]
    dataset: Dataset
    column: str = ""

    @property
    def checkpoint(self) -> Path:
        """The checkpoint file."""
        return run_folder.checkpoint_file(Path(self.metrics["checkpoint"]))

    @property
    def kind(self) -> tuple[str, ...]:
        """What tells it from other tests on the same data."""
        merged = self.metrics["label_space"]["merged"]
        said = [f"{source} as {to}" for source, to in merged.items()]
        tta = [self.metrics["tta"]] if self.metrics["tta"] != "none" else []
        stem = self.checkpoint.stem
        return (self.metrics["split"], *tta, *said, *([f"({stem})"] if stem != "best" else []))


@dataclass
class Run:
    """A training run with the tests of its checkpoints; or tests of a checkpoint whose run is elsewhere.

    Attributes:
        folder: Its folder.
        metrics: Of the training run's ``metrics.json``; empty for a checkpoint from elsewhere.
        dataset: What was trained on.
        history: One list a column, empty if there is none.
        config: Empty if there is none.
        name: Its folder, as short as it can be told from the others.
        tests: Column name to test.
    """

    folder: Path
    metrics: Mapping[str, Any] = field(default_factory=dict)
    dataset: Dataset | None = None
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    tests: dict[str, Test] = field(default_factory=dict)

    @property
    def stamp(self) -> str:
        """What must not be overlooked about its scores; empty if nothing."""
        tests = (f"{name}: {test.metrics['stamp']}" for name, test in self.tests.items() if test.metrics.get("stamp"))
        return " ".join(filter(None, [self.metrics.get("stamp"), *tests]))

    @property
    def model(self) -> str:
        """Its network's name."""
        return str(self.metrics.get("model") or "")

    @property
    def scored(self) -> dict[str, Mapping[str, Any]]:
        """All that it is scored on: its own splits and its tests, by name."""
        own = {split: self.metrics[split] for split in ("val", "test") if split in self.metrics}
        return own | {name: test.metrics["test"] for name, test in self.tests.items()}


@dataclass
class Group:
    """Runs on one dataset, best first.

    Attributes:
        label: The dataset's name, with what tells it from another of that name.
        dataset: None for checkpoints whose runs are elsewhere.
        runs: The runs.
    """

    label: str
    dataset: Dataset | None
    runs: list[Run]


@dataclass
class Found:
    """What is compared.

    Attributes:
        groups: The runs, by dataset.
        skipped: What could not be read, and why: a sentence each.
        stale: Tests of checkpoints that are no longer their run's: a sentence each.
    """

    groups: list[Group]
    skipped: list[str]
    stale: list[str]

    @property
    def runs(self) -> list[Run]:
        """All runs."""
        return [run for group in self.groups for run in group.runs]


def find(where: str | Sequence[str], score: str) -> Found:
    """Find runs and tests below folders, grouped by dataset, best on validation first.

    Args:
        where: One folder or several; each a run, or a folder with runs anywhere in it.
        score: What they are ordered by.

    Raises:
        ConfigError: If a folder is absent, or there is no finished run in any that can be read.
    """
    places = [Path(place).expanduser() for place in ([where] if isinstance(where, str) else where)]
    if missing := [str(place) for place in places if not place.is_dir()]:
        raise ConfigError(f"runs: there is no such folder:\n{listing(missing)}")
    skipped: list[str] = []
    folders = sorted({folder.resolve() for place in places for folder in _folders(place, skipped)})
    trained: dict[Path, Run] = {}
    tests: list[Test] = []
    for folder in folders:
        try:
            _read(folder, trained, tests, skipped)
        except (ValueError, OSError) as error:
            skipped.append(f"{folder}: metrics.json cannot be read ({_reason(error)}).")
    if not trained and not tests:
        why = f"no metrics.json in it that can be read:\n{listing(skipped)}" if skipped else "no metrics.json in it."
        raise ConfigError(
            f"runs={where}: {why}\n  A run writes it when it has finished; give a run's folder, or one that holds runs."
        )
    stale: list[str] = []
    for test in tests:
        try:
            stale += filter(None, [_attach(test, trained)])
        except (OSError, RuntimeError) as error:
            skipped.append(f"{test.folder}: its checkpoint's path cannot be followed ({_reason(error)}).")
    groups = _groups([run for run in trained.values() if run.metrics or run.tests], score)
    if not groups:
        raise ConfigError(f"runs={where}: nothing is left to compare:\n{listing(stale)}")
    return Found(groups, skipped, stale)


def _folders(place: Path, skipped: list[str]) -> list[Path]:
    """Return the folders below a place that hold a ``metrics.json``."""

    def unreadable(error: OSError) -> None:
        skipped.append(f"{error.filename}: the folder cannot be read ({_reason(error)}).")

    found = []
    for folder, inner, files in os.walk(place, onerror=unreadable):
        inner[:] = [name for name in inner if name not in (".hydra", "checkpoints")]
        if metrics_file.FILE in {*files, *inner}:
            found.append(Path(folder))
    return found


def _read(folder: Path, trained: dict[Path, Run], tests: list[Test], skipped: list[str]) -> None:
    """Read a run or a test; its other files may be damaged."""
    metrics = metrics_file.read(folder / metrics_file.FILE)
    kind = metrics_file.kind_of(metrics)
    if kind is None:
        return  # another program's
    metrics_file.check(metrics, reported())
    config: Mapping[str, Any] = {}
    history: Mapping[str, Sequence[float]] = {}
    try:
        config = run_folder.read_config(folder)
    except (ValueError, OSError) as error:
        skipped.append(f"{folder}: config.yaml cannot be read ({_reason(error)}); its choices are not known.")
    if kind == "test":
        tests.append(Test(folder, metrics, dataset_of(metrics, config)))
        return
    if (folder / history_file.FILE).exists():
        try:
            history = history_file.read(folder / history_file.FILE)
        except (ValueError, OSError) as error:
            skipped.append(f"{folder}: history.csv cannot be read ({_reason(error)}); its curves are left out.")
    mark, now = metrics.get("checkpoint_mark"), run_folder.checkpoint_mark(folder)
    if mark and now and mark != now:
        skipped.append(
            f"{folder}: its best checkpoint is a later one than its scores are of. It was gone on with and has not "
            f"finished; python -m fer.train resume={folder} does."
        )
    trained[folder] = Run(folder, metrics, dataset_of(metrics, config), history, config)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


def _attach(test: Test, trained: dict[Path, Run]) -> str | None:
    """Give a test to the run of its checkpoint; of a checkpoint that is the run's no more, say so instead."""
    path, mark = _checkpoint_of(test), test.metrics.get("checkpoint_mark")
    test.metrics = {**test.metrics, "checkpoint": str(path)}
    home = test.checkpoint.parent.parent
    if home not in trained and mark:  # moved or copied since: its content tells
        moved = [run.folder for run in trained.values() if run.metrics.get("checkpoint_mark") == mark]
        home = moved[0] if moved else home
    run = trained.get(home)
    if run is None or not run.metrics:
        trained.setdefault(home, Run(home)).tests[str(test.folder)] = test
        return None
    file = run.folder / "checkpoints" / test.checkpoint.name
    now = (run.metrics.get("checkpoint_mark") if file.stem == "best" else None) or run_folder.checkpoint_mark(file)
    old = False
    if mark and now:
        old = mark != now
    else:
        with suppress(OSError):
            later = file.stat().st_mtime - (test.folder / metrics_file.FILE).stat().st_mtime
            old = mark is None and later > _COPIED
    if not old:
        run.tests[str(test.folder)] = test
        return None
    return (
        f"{test.folder}: is a test of an earlier checkpoint of {run.folder}, which has been trained on since, and is "
        f"left out. Test it again: python -m fer.test ckpt={run.folder}"
    )


def _checkpoint_of(test: Test) -> Path:
    """Return the checkpoint's path; older tests hold it relative to a folder that is not known: one above theirs."""
    path = Path(test.metrics["checkpoint"])
    if not path.is_absolute():
        bases = [*test.folder.parents, Path.cwd()]
        path = next((base / path for base in bases if (base / path).exists()), path)
    return path.resolve()


def _groups(runs: Sequence[Run], score: str) -> list[Group]:
    """Part runs by dataset and order them; name runs, datasets and the tests' columns."""
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
    for run in runs:
        found, run.tests = list(run.tests.values()), {}
        for test in sorted(found, key=lambda test: str(test.folder)):
            if any(test.metrics["test"] == other.metrics["test"] for other in run.tests.values()):
                continue  # the same test, made twice
            test.column = _free(test.column, run.tests)
            run.tests[test.column] = test
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


def _rank(score: str) -> Any:
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
