"""Runs found on disk, with the tests of their checkpoints; nothing that stands there is trusted."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fer.errors import ConfigError, listing
from fer.files import history as history_file
from fer.files import metrics as metrics_file
from fer.files import run_folder
from fer.files.metrics import dataset_of
from fer.reporting.grouping import grouped
from fer.reporting.runs import Found, Run, Test
from fer.scores.registry import reported

_COPIED = 60  # seconds by which a copy's files may be of another order than the files themselves


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
    groups = grouped([run for run in trained.values() if run.metrics or run.tests], score)
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
    if kind is None or kind == "ensemble":
        return  # another program's; an ensemble is no run, and a test of its soup stands for it
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
    home = test.home
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
