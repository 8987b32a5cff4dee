"""The jobs of a sweep, read from their folders: what each chose and scored, and which of them repeat one another."""

import csv
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from fer.errors import ConfigError
from fer.files import history, metrics, predictions, run_record
from fer.files.csv_table import read_csv
from fer.files.run_folder import FAILURE, REPEATS
from fer.scores.registry import SCORES, Score, lower_is_better


def overrides_of(job: Path) -> list[str]:
    """Return a job's overrides: those of the run in its folder, whatever a command was given since."""
    with suppress(ConfigError):
        record = run_record.read(job)
        if record is not None:
            return record.overrides
    overrides: list[str] = yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()) or []
    return overrides


def collect(folder: Path) -> list[dict[str, Any]]:
    """Return a row for each job of a sweep: overrides, score, folder; best first, failed jobs last.

    Jobs whose scores cannot be compared stay in their order: tests, and trainings of several :func:`monitors`.
    """
    rows = []
    for job in sorted(path for path in folder.iterdir() if (path / ".hydra" / "overrides.yaml").is_file()):
        overrides = overrides_of(job)
        row: dict[str, Any] = {
            "job": job.name,
            "overrides": dict(o.partition("=")[::2] for o in overrides),
            "folder": job,
        }
        if (job / metrics.FILE).exists() and not _refused_since(job):
            try:
                row |= _scored(job)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                row = {key: row[key] for key in ("job", "overrides", "folder")}
                row["error"] = f"its metrics.json or history.csv cannot be read ({error})"
        else:
            failure = job / FAILURE
            said = failure.read_text(errors="replace").strip().splitlines() if failure.is_file() else []
            row["error"] = said[0] if said else "did not finish"
        rows.append(row)
    if not any(row.get("epoch") for row in rows):
        return rows  # tests of checkpoints stay in their order: the best of them would be chosen on the test split
    if len(monitors(rows)) > 1:
        return rows
    lowest_first = lower_is_better(monitors(rows)[0])
    return sorted(
        rows,
        key=lambda row: float("inf") if "score" not in row else row["score"] * (1 if lowest_first else -1),
    )


def _refused_since(job: Path) -> bool:
    """Say whether a test's folder holds the scores of another command's job: this one's was refused."""
    return (job / FAILURE).is_file() and not (job / run_record.FILE).exists()


def monitors(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what the trainings among a sweep's jobs were scored by; of several scores none says which job is best."""
    return sorted({str(row["monitor"]) for row in rows if row.get("epoch")})


def _scored(job: Path) -> dict[str, Any]:
    """Return what a finished job scored."""
    found = metrics.read(job / metrics.FILE)
    row: dict[str, Any] = {}
    for split in ("val", "test"):
        if split in found:
            row[split] = {score.name: float(found[split][score.name]) for score in headlines()}
    if metrics.kind_of(found) == "training":
        epoch = int(found["best_epoch"])
        row |= {"monitor": found["monitor"], "score": float(found["best_score"]), "epoch": epoch}
        row |= _training(job, epoch) | {"scored_on": _scored_on(job)}
    else:  # of fer.test, which chooses nothing
        first = headlines()[0].name
        row |= {"monitor": f"test/{first}", "score": row["test"][first], "epoch": ""}
    return row | {"stamp": found["stamp"], "tta": found["tta"]}


def _training(job: Path, epoch: int) -> dict[str, Any]:
    """Return the headline score of training at an epoch, and the gap between the losses of validation and training."""
    path, first = job / history.FILE, headlines()[0].name
    columns = history.read(path) if path.is_file() else {}
    keys = (f"train/{first}", "train/loss", "val/loss")
    score, loss, val_loss = (history.at_epoch(columns, epoch, key) for key in keys)
    return {
        "train": {} if score is None else {first: score},
        "gap": None if loss is None or val_loss is None else val_loss - loss,
    }


def _scored_on(job: Path) -> str:
    """Return what tells a job's validation images and classes from others; empty if that is not known."""
    try:
        with (job / predictions.FILE).open(newline="", encoding="utf-8") as file:
            columns, table = read_csv(file)
            read = [(row["split"], row["id"], row["label"]) for row in table]
        split = "val" if any(row[0] == "val" for row in read) else "test"  # what chose, with data.select_on_test
        rows = sorted(row for row in read if row[0] == split)
    except (OSError, ValueError, KeyError, csv.Error):
        return ""
    return hashlib.blake2b(repr((columns, rows)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def repeated(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return which of seed and fold differ between jobs."""
    return [key for key in REPEATS if len({row["overrides"].get(key) for row in rows}) > 1]


def grouped(rows: Sequence[dict[str, Any]], varied: Sequence[str]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """Return the jobs by their choices among the ``varied`` keys: those of a group differ in seed or fold alone."""
    choices = [key for key in varied if key not in REPEATS]
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row["overrides"].get(key, "") for key in choices), []).append(row)
    return groups


def headlines() -> list[Score]:
    """Return the scores that the table has room for."""
    return [score for score in SCORES.values() if score.headline]
