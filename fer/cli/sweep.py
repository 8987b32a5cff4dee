"""The end of a multirun: one table of all its jobs, sorted by score, also when some of them failed."""

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, cast

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, flag_override

from fer.cli.continuing import checkpoint_of
from fer.compat import parse_override
from fer.config.groups import conf_dir, group_names
from fer.config.quoting import quote
from fer.display import plain, say
from fer.errors import ConfigError
from fer.files import history, metrics, run_record
from fer.files.csv_table import write_csv
from fer.files.run_folder import FAILURE, REPEATS
from fer.scores.registry import SCORES, Score, lower_is_better

if TYPE_CHECKING:
    from rich.console import Console

_folder: Path | None = None
_select_by = "score"


class RememberFolder(Callback):
    """Hydra callback: keep the sweep's folder for :func:`report`, which also runs after a failed job.

    Args:
        select_by: ``score`` or ``gap``, see :func:`choose`.
    """

    def __init__(self, select_by: str = "score") -> None:
        self.select_by = select_by

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before the first job."""
        global _folder, _select_by
        _folder, _select_by = Path(config.hydra.sweep.dir), self.select_by
        _folder.mkdir(parents=True, exist_ok=True)  # an Optuna study's database stands in it before any job does


class ResumeStudy(Callback):
    """Hydra callback: an Optuna study that goes on (it was killed, say) runs what is left of its n_trials."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before the first trial."""
        import optuna

        sweeper = config.hydra.sweeper
        try:
            study = optuna.load_study(study_name=sweeper.study_name, storage=sweeper.storage)
        except KeyError:
            return  # it begins
        done = sum(trial.state.is_finished() for trial in study.trials)
        left = max(sweeper.n_trials - done, 0)
        print(f"study {sweeper.study_name}: {done} of {sweeper.n_trials} trials are done, {left} to go", flush=True)
        with flag_override(config, "readonly", False):
            sweeper.n_trials = left


def note_failure(message: str) -> None:
    """Leave a failed job's error in its folder."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILURE).write_text(message + "\n")
    print(f"job {HydraConfig.get().job.num} failed: {plain(message)}", flush=True)


def take_up(cfg: DictConfig) -> float | None:
    """Go on with the job that already stands in this job's folder, as when a sweep is repeated after being killed.

    Args:
        cfg: The job's config; its ``ckpt`` becomes the checkpoint to go on from.

    Returns:
        The score of a job that is finished, which is kept; None for one that is to be trained.

    Raises:
        ConfigError: If the folder holds a run of other choices.
    """
    run = Path(cfg.output_dir)
    before = run_record.read(run)
    if before is None or cfg.ckpt is not None:
        return None
    composed = HydraConfig.get()
    now = run_record.of_this_command({"data": None})
    if set(before.overrides) != set(now.overrides):
        other = ", ".join(sorted(set(before.overrides) - set(now.overrides))) or "fewer overrides"
        raise ConfigError(f"{run} already holds a job of other choices ({other}). Choose another hydra.sweep.dir.")
    if before.finished and (run / metrics.FILE).is_file():
        try:
            score = float(metrics.read(run / metrics.FILE)["best_score"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{run / metrics.FILE}: cannot be read ({error}). Choose another hydra.sweep.dir."
            ) from error
        (run / FAILURE).unlink(missing_ok=True)
        print(f"job {composed.job.num}: finished before, kept", flush=True)
        return score
    checkpoint = checkpoint_of(run)
    print(f"job {composed.job.num}: begun before, {'going on' if checkpoint else 'starting it again'}", flush=True)
    if checkpoint is not None:
        cfg.ckpt = str(checkpoint.resolve())
        job = cast(DictConfig, HydraConfig.instance().cfg)
        with flag_override(job, "readonly", False):  # for the job's other processes
            composed.overrides.task.append(f"ckpt={quote(cfg.ckpt)}")
    return None


def overrides_of(job: Path) -> list[str]:
    """Return a job's overrides: those of the run in its folder, whatever a command was given since."""
    with suppress(ConfigError):
        record = run_record.read(job)
        if record is not None:
            return record.overrides
    overrides: list[str] = yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()) or []
    return overrides


def collect(folder: Path) -> list[dict[str, Any]]:
    """Return a row for each job of a sweep: overrides, score, folder; best first, failed jobs last."""
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
    lowest_first = any(lower_is_better(str(row.get("monitor", ""))) for row in rows)
    return sorted(
        rows,
        key=lambda row: float("inf") if "score" not in row else row["score"] * (1 if lowest_first else -1),
    )


def _scored(job: Path) -> dict[str, Any]:
    """Return what a finished job scored."""
    found = metrics.read(job / metrics.FILE)
    row: dict[str, Any] = {}
    for split in ("val", "test"):
        if split in found:
            row[split] = {score.name: float(found[split][score.name]) for score in _headlines()}
    if metrics.kind_of(found) == "training":
        epoch = int(found["best_epoch"])
        row |= {"monitor": found["monitor"], "score": float(found["best_score"]), "epoch": epoch}
        row |= _training(job, epoch)
    else:  # of fer.test, which chooses nothing
        first = _headlines()[0].name
        row |= {"monitor": f"test/{first}", "score": row["test"][first], "epoch": ""}
    return row | {"stamp": found["stamp"], "tta": found["tta"]}


def _training(job: Path, epoch: int) -> dict[str, Any]:
    """Return the headline score of training at an epoch, and the gap between the losses of validation and training."""
    path, first = job / history.FILE, _headlines()[0].name
    columns = history.read(path) if path.is_file() else {}
    keys = (f"train/{first}", "train/loss", "val/loss")
    score, loss, val_loss = (history.at_epoch(columns, epoch, key) for key in keys)
    return {
        "train": {} if score is None else {first: score},
        "gap": None if loss is None or val_loss is None else val_loss - loss,
    }


def choose(rows: Sequence[dict[str, Any]], select_by: str) -> dict[str, Any] | None:
    """Return the job to go on with, None if no job has a score.

    Args:
        rows: From :func:`collect`, best first.
        select_by: ``score``: the best validation score. ``gap``: of the better half by score, the smallest difference
            between the losses of validation and training at the best epoch (a network that learnt nothing has no gap
            either, so the other half does not stand for election).
    """
    done = [row for row in rows if row.get("epoch")]
    better = [row for row in done[: (len(done) + 1) // 2] if row["gap"] is not None]
    if select_by == "gap" and better:
        return min(better, key=lambda row: abs(row["gap"]))
    return done[0] if done else None


def report() -> None:
    """Print the table of the sweep that this process ran, if it ran one, and write it as ``sweep.csv``."""
    if _folder is None or not _folder.is_dir():
        return
    rows = collect(_folder)
    if not rows:
        return
    from rich.console import Console

    # What all jobs have in common tells none of them apart.
    keys = list(dict.fromkeys(key for row in rows for key in row["overrides"]))
    varied = [key for key in keys if len({row["overrides"].get(key) for row in rows}) > 1] or keys
    scores = _scores(rows)
    header, *lines = _lines(rows, varied, scores)
    full = (
        [*line, str(row["folder"]), row.get("error", ""), row.get("stamp") or ""]
        for row, line in zip(rows, lines, strict=True)
    )
    write_csv(_folder / "sweep.csv", [*header, "folder", "error", "stamp"], full)
    order = ", best first" if any(row.get("epoch") for row in rows) else ""
    ttas = {row["tta"] for row in rows if "tta" in row}
    tta = ttas.pop() if len(ttas) == 1 else "none"
    said = "" if tta == "none" else f"; scores with tta={tta}"
    console, title = Console(), f"{len(rows)} jobs{order}{said}"
    if len(varied) <= 4:
        _print(console, title, header, lines, 1 + len(varied))
    else:  # a search: side by side, its choices would leave no room for the scores
        end, best_lines = 1 + len(varied), lines[:3]
        _print(console, title, [header[0], *header[end:]], [[line[0], *line[end:]] for line in lines], 1)
        jobs = ["job", *(line[0] for line in best_lines)]
        turned = [[key, *(line[place] for line in best_lines)] for place, key in enumerate(varied, 1)]
        _print(console, "choices of the best (all of them: sweep.csv)", jobs, turned, 1)
    _print_means(console, rows, varied, [("", "score"), *scores])
    for row in rows:
        if row.get("stamp"):
            say(console, f"job {row['job']}: {row['stamp']}", "bold red")
        if "error" in row:
            say(console, f"job {row['job']} failed: {row['error']}", "red")
    choices = [key for key in varied if key not in REPEATS]
    _draw(_folder, [row for row in rows if row.get("epoch")], choices)
    best = choose(rows, _select_by)
    if best is not None and choices:  # the best of several seeds was lucky
        _write_best(_folder, best, len(rows))
        again = f"python -m fer.train --config-dir {_folder} experiment=best"
        say(console, f"best by {_select_by}: job {best['job']}; again: {again}")
    say(console, f"sweep: {_folder}  (compare: tensorboard --logdir {_folder})")


def _monitor(rows: Sequence[dict[str, Any]]) -> str:
    """Return the name of the score that the jobs are compared by."""
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
        for score in _headlines()
        if any(score.name in row.get(split, {}) and not repeats(row, split, score.name) for row in rows)
    ]


def _headlines() -> list[Score]:
    """Return the scores that the table has room for."""
    return [score for score in SCORES.values() if score.headline]


def _column(split: str, score: str) -> str:
    """Return a column's name: ``val acc``."""
    return f"{split} {SCORES[score].short or SCORES[score].title}"


def _lines(rows: Sequence[dict[str, Any]], varied: Sequence[str], scores: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the table of all jobs as text: the header, then a line for each job."""
    gaps = ["gap"] if any(row.get("gap") is not None for row in rows) else []
    lines = [["job", *varied, _monitor(rows), "epoch", *(_column(*score) for score in scores), *gaps]]
    for row in rows:
        line = [row["job"], *(row["overrides"].get(key, "") for key in varied)]
        if "score" in row:
            line += [f"{row['score']:.4f}", str(row["epoch"])]
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


def _print_means(
    console: "Console", rows: list[dict[str, Any]], varied: list[str], scores: list[tuple[str, str]]
) -> None:
    """Print mean and standard deviation over the jobs that differ in seed or fold alone."""
    repeated = [key for key in varied if key in REPEATS]
    choices = [key for key in varied if key not in REPEATS]
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if "score" in row:
            groups.setdefault(tuple(row["overrides"].get(key, "") for key in choices), []).append(row)
    if not repeated or all(len(group) < 2 for group in groups.values()):
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
    _print(console, f"mean and standard deviation over {' and '.join(repeated)}", header, lines, len(choices))


def _draw(folder: Path, rows: Sequence[dict[str, Any]], choices: Sequence[str]) -> None:
    """Draw what the choices did to the score, where there are jobs enough to see something."""
    choices = [key for key in choices if len({row["overrides"].get(key) for row in rows}) > 1]
    if len(rows) < 4 or len(choices) < 2:
        return
    from fer.plots.figures import importance_figure, parallel_coordinates_figure
    from fer.plots.importance import importances, make_axis

    monitor, scores = rows[0]["monitor"], [row["score"] for row in rows]
    axes = [make_axis(key, [row["overrides"].get(key, "default") for row in rows]) for key in choices]
    figure = parallel_coordinates_figure(axes, make_axis(monitor, scores))
    figure.savefig(folder / "parallel_coordinates.png", dpi=150)
    figure = importance_figure(importances(axes, scores), f"what {monitor} depends on · {len(rows)} jobs")
    figure.savefig(folder / "importance.png", dpi=150)


def _write_best(folder: Path, best: dict[str, Any], jobs: int) -> None:
    """Write the best job's choices as an experiment, ``experiment/best.yaml``, that can be run again."""
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
    path.write_text(
        "# @package _global_\n"
        f"# The best of {jobs} jobs by {_select_by}: {best['monitor']} {best['score']:.4f} in epoch {best['epoch']}.\n"
        f"# Command:   python -m fer.train --config-dir {folder} experiment=best\n"
        + yaml.safe_dump({"defaults": [*defaults, "_self_"], **node}, sort_keys=False)
    )
