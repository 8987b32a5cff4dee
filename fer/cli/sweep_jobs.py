"""The jobs of a sweep, read from their folders: what each chose and scored, and the one to go on with."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from fer.compat import parse_override
from fer.config.groups import conf_dir, group_names
from fer.errors import ConfigError
from fer.files import history, metrics, run_record
from fer.files.atomic import writing
from fer.files.run_folder import FAILURE
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
        if (job / metrics.FILE).exists():
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
        row |= _training(job, epoch)
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


def choose(rows: Sequence[dict[str, Any]], select_by: str) -> dict[str, Any] | None:
    """Return the job to go on with, None if no job has a score, or their scores are of several monitors.

    Args:
        rows: From :func:`collect`, best first.
        select_by: ``score``: the best validation score. ``gap``: of the better half by score, the smallest difference
            between the losses of validation and training at the best epoch (a network that learnt nothing has no gap
            either, so the other half is not considered).
    """
    done = [row for row in rows if row.get("epoch")]
    if len(monitors(rows)) > 1:
        return None
    better = [row for row in done[: (len(done) + 1) // 2] if row["gap"] is not None]
    if select_by == "gap" and better:
        return min(better, key=lambda row: abs(row["gap"]))
    return done[0] if done else None


def headlines() -> list[Score]:
    """Return the scores that the table has room for."""
    return [score for score in SCORES.values() if score.headline]


def write_best(folder: Path, best: dict[str, Any], jobs: int, select_by: str) -> None:
    """Write the best job's choices as an experiment, ``experiment/best.yaml``, that can be run again.

    Args:
        folder: The sweep's folder.
        best: From :func:`choose`.
        jobs: Number of jobs.
        select_by: How it was chosen, see :func:`choose`.

    Raises:
        UnwritableError: If there is no space, or no permission.
    """
    overrides = {key.lstrip("+"): value for key, value in best["overrides"].items() if not key.startswith("~")}
    known = group_names(conf_dir())
    groups = {key: overrides.pop(key) for key in list(overrides) if key in known}
    defaults = [groups.pop("experiment")] if "experiment" in groups else []
    # A list of options is written as in the command line: callbacks=[default,ema].
    defaults += [{f"override /{key}": yaml.safe_load(value)} for key, value in groups.items() if key != "sweep"]
    node: dict[str, Any] = {}
    for key, value in overrides.items():
        *parents, leaf = key.split(".")
        inner = node
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[leaf] = parse_override(f"{key}={value}").value()
    path = folder / "experiment" / "best.yaml"
    path.parent.mkdir(exist_ok=True)
    head = (
        "# @package _global_\n"
        f"# The best of {jobs} jobs by {select_by}: {best['monitor']} {best['score']:.4f} in epoch {best['epoch']}.\n"
        f"# Command:   python -m fer.train --config-dir {folder} experiment=best\n"
    )
    with writing(path) as file:
        file.write(head + yaml.safe_dump({"defaults": [*defaults, "_self_"], **node}, sort_keys=False))
