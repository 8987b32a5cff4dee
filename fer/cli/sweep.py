"""A sweep around its jobs: its folder, jobs that go on or have failed, and the table when it ends."""

import os
import platform
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, flag_override

from fer.cli import sweep_best, sweep_table
from fer.cli.continuing import checkpoint_of
from fer.cli.sweep_jobs import collect
from fer.config.groups import flat
from fer.config.option_values import shown
from fer.config.quoting import quote
from fer.display import plain, say
from fer.errors import ConfigError
from fer.files import metrics, run_folder, run_record
from fer.files.atomic import writing
from fer.files.run_folder import FAILURE, REPEATS

_DECIDES = (
    "data", "transforms", "mixup", "model", "optimizer", "scheduler", "loss", "monitor", "seed", "tta", "max_epochs",
    "max_steps", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches",
    "callbacks", "teacher", "teacher_weight", "teacher_temperature", "init",
)  # fmt: skip
_MAY_DIFFER = ("data.num_workers", "data.cache_dir")
_folder: Path | None = None
_select_by = "score"


class RememberFolder(Callback):
    """Hydra callback: keep the sweep's folder for :func:`report`, which also runs after a failed job.

    Args:
        select_by: ``score`` or ``gap``, see :func:`fer.cli.sweep_best.choose`.
    """

    def __init__(self, select_by: str = "score") -> None:
        self.select_by = select_by

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before the first job."""
        global _folder, _select_by
        if config.hydra.runtime.choices.get("hydra/launcher") == "ray":  # whose processes stand in another folder
            with flag_override(config, "readonly", False), flag_override(config, "struct", False):
                config.hydra.sweep.dir = str(Path(config.hydra.sweep.dir).absolute())
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quote(config.hydra.sweep.dir)}")
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


def stand_where_it_began() -> None:
    """Bring a job on Ray to the folder that its sweep was started in: a cluster's processes stand elsewhere.

    Raises:
        ConfigError: If this machine has no such folder.
    """
    hydra = HydraConfig.get()
    if hydra.job.chdir or hydra.runtime.choices.get("hydra/launcher") != "ray":
        return
    try:
        os.chdir(hydra.runtime.cwd)
    except OSError as error:
        raise ConfigError(
            f"{hydra.runtime.cwd}: {platform.node()} has no such folder ({error.strerror}). The folder that a sweep is "
            f"started in must be on a disk that all machines share."
        ) from error


def note_failure(message: str) -> None:
    """Leave a failed job's error in its folder."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder / FAILURE) as file:
        file.write(message + "\n")
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
    if cfg.data.batch_size == "auto" and before.data is not None:  # it was found then
        cfg.data.batch_size = before.data["batch_size"]
        run_record.add_to_command(f"data.batch_size={cfg.data.batch_size}")
    composed = HydraConfig.get()
    now = run_record.of_this_command({"data": None})
    if set(before.overrides) != set(now.overrides):
        other = ", ".join(sorted(set(before.overrides) - set(now.overrides))) or "fewer overrides"
        raise ConfigError(f"{run} already holds a job of other choices ({other}). Choose another hydra.sweep.dir.")
    if before.finished and (run / metrics.FILE).is_file():
        _refuse_changed(run, cfg)
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
        run_record.add_to_command(f"ckpt={quote(cfg.ckpt)}")
    return None


def _refuse_changed(run: Path, cfg: DictConfig) -> None:
    """Refuse a finished job that equal overrides would train otherwise by now: a file of the user's was edited since.

    Raises:
        ConfigError: Naming what differs.
    """
    try:
        before = run_folder.read_config(run)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{run}: its config cannot be read ({error}). Choose another hydra.sweep.dir.") from error
    now = run_record.absolute(OmegaConf.to_container(cfg, resolve=True))
    was, is_now = (
        flat({key: {**config["trainer"], **config}.get(key) for key in _DECIDES}) for config in (before, now)
    )
    keys = [key for key in {**was, **is_now} if key not in _MAY_DIFFER and not key.endswith(".dirpath")]
    if cfg.init is not None:  # from whose run data.image_size and the like may come
        keys = [key for key in keys if not key.startswith("data.")]
    if changed := [key for key in keys if is_now.get(key) != was.get(key)]:
        lines = "\n".join(f"    {key}={shown(is_now.get(key))}: it was {shown(was.get(key))}" for key in changed)
        raise ConfigError(
            f"{run} holds a job of the same overrides that was trained otherwise:\n{lines}\n"
            f"  A config file was edited since. Choose another hydra.sweep.dir, or undo that."
        )


def report() -> None:
    """Print the table of the sweep that this process ran, if it ran one, and write it as ``sweep.csv``."""
    if _folder is None or not _folder.is_dir():
        return
    rows = collect(_folder)
    if not rows:
        return
    from rich.console import Console

    console, varied = Console(), sweep_table.varied(rows)
    sweep_table.write(_folder / "sweep.csv", rows, varied)
    sweep_table.show(console, rows, varied)
    for row in rows:
        if row.get("stamp"):
            say(console, f"job {row['job']}: {row['stamp']}", "bold red")
        if "error" in row:
            say(console, f"job {row['job']} failed: {row['error']}", "red")
    choices = [key for key in varied if key not in REPEATS]
    sweep_table.draw(_folder, [row for row in rows if row.get("epoch")], choices)
    best = sweep_best.choose(rows, varied, _select_by)
    if best and choices:  # the best of several seeds was lucky
        for line in sweep_best.left_out(rows, varied, best):
            say(console, line)
        try:
            sweep_best.write_best(_folder, best, len(rows), _select_by)
            again = f"again: {sweep_best.command(_folder, best)}"
        except ConfigError as error:
            again = f"no experiment=best: {error}"
        jobs = f"job{'s' if len(best) > 1 else ''} {', '.join(row['job'] for row in best)}"
        say(console, f"best by {sweep_best.chosen_by(best, _select_by)}: {jobs}; {again}")
    if why := sweep_best.incomparable(rows):
        say(console, f"no job is called the best: {why}")
    say(console, f"sweep: {_folder}  (compare: tensorboard --logdir {_folder})")
