"""The choice of a sweep to go on with, and the experiment that the sweep leaves of it: ``experiment/best.yaml``."""

import json
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any, cast

import yaml
from omegaconf import OmegaConf

from fer.cli.sweep_jobs import grouped, monitors, repeated
from fer.compat import parse_override
from fer.config.groups import conf_dir, group_names
from fer.errors import ConfigError
from fer.files import run_folder, run_record
from fer.files.atomic import writing
from fer.files.run_record import RunRecord
from fer.scores.registry import lower_is_better

_NAMES = {"seed": "seeds", "data.fold": "folds"}


def choose(rows: Sequence[dict[str, Any]], varied: Sequence[str], select_by: str) -> list[dict[str, Any]]:
    """Return the job to go on with, or all jobs of one choice that differ in seed or fold alone.

    Where some jobs repeat others, choices are compared by their means, since one job may have the easiest fold or a
    lucky seed; and only choices with the same seeds and folds, those that most jobs have.

    Args:
        rows: From :func:`fer.cli.sweep_jobs.collect`, best first.
        varied: The keys that differ between the jobs.
        select_by: ``score``: the best validation score. ``gap``: of the better half by score, the smallest difference
            between the losses of validation and training at the best epoch (a network that learnt nothing has no gap
            either, so the other half is not considered).

    Returns:
        An empty list if no job has a score, or :func:`incomparable` says why none is the best.
    """
    done = [row for row in rows if row.get("epoch")]
    if not done or incomparable(rows):
        return []
    groups = list(grouped(done, varied).values()) if repeated(done) else [[row] for row in done]
    counted = Counter(_repeats(group) for group in groups)
    same = max(counted, key=lambda one: (len(one), counted[one]))
    groups = sorted(
        (group for group in groups if _repeats(group) == same),
        key=lambda group: mean(row["score"] for row in group),
        reverse=not lower_is_better(monitors(rows)[0]),
    )
    better = [group for group in groups[: (len(groups) + 1) // 2] if all(row["gap"] is not None for row in group)]
    if select_by == "gap" and better:
        return min(better, key=lambda group: abs(mean(row["gap"] for row in group)))
    return groups[0]


def _repeats(group: Sequence[Mapping[str, Any]]) -> frozenset[tuple[str, ...]]:
    """Return the seeds and folds of a choice's jobs."""
    return frozenset(tuple(str(row["overrides"].get(key, "")) for key in run_folder.REPEATS) for row in group)


def incomparable(rows: Sequence[dict[str, Any]]) -> str:
    """Return why no job can be called the best; empty if one can be."""
    if len(several := monitors(rows)) > 1:
        return f"their scores are of different monitors ({', '.join(several)})"
    # Seeds and folds have images of their own: a choice is compared with another on each of them.
    scored_on: dict[tuple[Any, ...], set[str]] = {}
    for row in rows:
        if row.get("epoch"):
            repeat = tuple(row["overrides"].get(key) for key in run_folder.REPEATS)
            scored_on.setdefault(repeat, set()).add(row["scored_on"])
    if any(len(images) > 1 for images in scored_on.values()):
        return "their scores are of different validation images or classes"
    return ""


def chosen_by(best: Sequence[dict[str, Any]], select_by: str) -> str:
    """Return in words how the best was chosen: ``score``, or ``the mean score of 3 seeds``."""
    if select_by == "gap" and any(row["gap"] is None for row in best):
        select_by = "score (no gap is known: history.csv has none)"
    if len(best) == 1:
        return select_by
    return f"the mean {select_by} of {len(best)} {' and '.join(_NAMES[key] for key in repeated(best))}"


def left_out(rows: Sequence[dict[str, Any]], varied: Sequence[str], best: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the choices that were not compared with the best, since other seeds or folds of them have a score."""
    if len(best) == 1:
        return
    choices, same = [key for key in varied if key not in run_folder.REPEATS], _repeats(best)
    for values, group in grouped(rows, varied).items():
        done = [row for row in group if row.get("epoch")]
        if not done or _repeats(done) != same:
            choice = ", ".join(f"{key}={value}" for key, value in zip(choices, values, strict=True))
            number = len(done) and len(same & _repeats(done))
            yield f"not compared: {choice}, of which {number} of {len(best)} jobs have a score"


def command(folder: Path, best: Sequence[dict[str, Any]]) -> str:
    """Return the command that trains the best once more.

    Options that were left out (``~transforms.erase``) are left out by it: an experiment's file cannot.
    """
    left = [
        key if value in ("", "null") else f"{key}={value}"  # Hydra's sweeper adds =null, which says nothing
        for key, value in best[0]["overrides"].items()
        if key.startswith("~")
    ]
    own = _own_configs(_record(best[0]))
    where = [f"hydra.searchpath={json.dumps(own, ensure_ascii=False)}"] if own else []
    return shlex.join(["python", "-m", "fer.train", "--config-dir", str(folder), "experiment=best", *where, *left])


def write_best(folder: Path, best: Sequence[dict[str, Any]], jobs: int, select_by: str) -> None:
    """Write the best job's choices as an experiment, ``experiment/best.yaml``, that can be run again.

    It holds what the job's overrides say and what the file of its sweep (``sweep=mine``) sets; of jobs that repeat one
    another, all but seed or fold.

    Args:
        folder: The sweep's folder.
        best: From :func:`choose`.
        jobs: Number of jobs.
        select_by: How it was chosen, see :func:`choose`.

    Raises:
        ConfigError: If the file of the sweep cannot be found, or the jobs build on another sweep's best.
        UnwritableError: If there is no space, or no permission.
    """
    leave = repeated(best)
    overrides = {key.lstrip("+"): value for key, value in best[0]["overrides"].items() if not key.startswith("~")}
    overrides = {key: value for key, value in overrides.items() if key not in leave}
    known = group_names(conf_dir())
    # A list of options is written as in the command line: callbacks=[default,ema].
    groups = {key: yaml.safe_load(overrides.pop(key)) for key in list(overrides) if key in known}
    defaults = _listed(groups.pop("experiment", None))
    if "best" in defaults:  # its file would name itself
        raise ConfigError(
            "the jobs build on experiment=best, which this one would be called too. Copy that file under another name, "
            "and sweep over experiment=<name>."
        )
    chosen, node = _of_sweeps(_listed(groups.pop("sweep", None)), best[0], leave)
    chosen |= {f"override /{key}": value for key, value in groups.items()}
    for key, value in overrides.items():
        *parents, leaf = key.split(".")
        inner = node
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[leaf] = parse_override(f"{key}={value}").value()
    path = folder / "experiment" / "best.yaml"
    path.parent.mkdir(exist_ok=True)
    epoch = f" in epoch {best[0]['epoch']}" if len(best) == 1 else ""
    head = (
        "# @package _global_\n"
        f"# The best of {jobs} jobs by {chosen_by(best, select_by)}: "
        f"{best[0]['monitor']} {mean(row['score'] for row in best):.4f}{epoch}.\n"
        f"# Command:   {command(folder, best)}\n"
    )
    defaults += [*({key: value} for key, value in chosen.items()), "_self_"]
    with writing(path) as file:
        file.write(head + yaml.safe_dump({"defaults": defaults, **node}, sort_keys=False))


def _listed(option: Any) -> list[Any]:
    """Return a group's options as a list."""
    return option if isinstance(option, list) else [] if option is None else [option]


def _record(job: Mapping[str, Any]) -> RunRecord:
    """Return a job's record; an empty one where it has none that can be read."""
    with suppress(ConfigError):
        return run_record.read(job["folder"]) or RunRecord([])
    return RunRecord([])


def _own_configs(record: RunRecord) -> list[str]:
    """Return the folders of configs of the user's own that a job was composed from."""
    given = (cast("list[str]", parse_override(override).value()) for override in record.searchpath)
    return [*record.config_dirs, *(place for places in given for place in places)]


def _of_sweeps(
    names: Sequence[str], job: Mapping[str, Any], leave: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the files of a job's sweeps chose and set for it: of the sweep itself, nothing.

    Args:
        names: Options of ``sweep=``.
        job: The job.
        leave: Keys to leave out.

    Returns:
        Entries of a defaults list (``override /model``), and nested keys with the job's values.
    """
    record = _record(job)
    places = [str(conf_dir()), *(place.removeprefix("file://") for place in _own_configs(record))]
    entries: dict[str, Any] = {}
    body: dict[str, Any] = {}
    for name in names:
        more, inner = _file(name, places)
        entries, body = entries | more, _merged(body, inner)
    body.pop("hydra", None)
    if "callbacks" in body:  # pruning needs a study
        kept = {name: node for name, node in body.pop("callbacks").items() if "OptunaPruning" not in str(node)}
        body |= {"callbacks": kept} if kept else {}
    chosen = {
        key: record.choices.get(key.removeprefix("override /"), option)
        for key, option in entries.items()
        if not key.removeprefix("override ").lstrip("/").startswith("hydra/")
    }
    config: dict[str, Any] = {}
    with suppress(OSError, ValueError):  # of a damaged one, the file's own values
        config = run_folder.read_config(job["folder"])
    return chosen, _as_in(config, body, leave)


def _file(name: str, places: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the defaults list and the body of a sweep's file, with those of the sweeps that it builds on."""
    path = next((path for place in places if (path := Path(place) / "sweep" / f"{name}.yaml").is_file()), None)
    if path is None:
        raise ConfigError(f"sweep={name}: there is no sweep/{name}.yaml (any more) in {', '.join(places)}.")
    content = cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.load(path)))
    entries: dict[str, Any] = {}
    body: dict[str, Any] = {}
    for entry in content.pop("defaults", []):
        if isinstance(entry, dict):
            entries |= entry
        elif entry != "_self_":
            more, inner = _file(entry, places)
            entries, body = entries | more, _merged(body, inner)
    return entries, _merged(body, content)


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.merge(first, second)))


def _as_in(config: Mapping[str, Any], body: Mapping[str, Any], leave: Collection[str], at: str = "") -> dict[str, Any]:
    """Return the keys of a sweep's file with the values that a job's resolved config has there."""
    node: dict[str, Any] = {}
    for key, value in body.items():
        now = config.get(key, value)
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            now = _as_in(now, value, leave, f"{at}{key}.")
            if value and not now:
                continue
        if f"{at}{key}" not in leave:
            node[key] = now
    return node
