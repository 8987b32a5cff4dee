"""From ``resume=<run>`` to the overrides that make the run go on, before anything slow is imported.

Of a run of this user's own, all overrides are followed; of somebody else's, only values that can neither run code nor
write outside the run's folder.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException

from fer.compat import parse_override
from fer.config.groups import conf_dir, group_names, option_names
from fer.config.quoting import quote, unquote
from fer.errors import ConfigError, FERError, listing
from fer.files import metrics, run_record
from fer.files.home import expanded
from fer.files.run_folder import no_checkpoint
from fer.files.run_lock import is_locked
from fer.files.run_record import RunRecord

_OUTPUTS = Path("outputs")
_CHECKPOINTS = ("last.ckpt", "best.ckpt")
_EXTENDS = ("trainer.", "+trainer.", "callbacks")


def continued(flags: list[str], overrides: list[str]) -> list[str]:
    """Replace ``resume=`` or ``ckpt=`` by the overrides that continue that run in its own folder.

    Args:
        flags: Hydra's flags of the command.
        overrides: The command's overrides; those beside ``resume=`` come after the run's own, and win.

    Raises:
        FERError: If there is no such run or checkpoint, the run is finished, or its folder is not to be followed.
    """
    asked = [o for o in overrides if o.startswith(("resume=", "ckpt="))]
    rest = [o for o in overrides if o not in asked and not o.startswith("trust=")]
    key, _, text = asked[-1].partition("=")
    text = unquote(text)
    if text in ("", "null"):
        if key == "resume":
            raise FERError("resume=: needs a run: resume=outputs/<name>/<time>, or resume=last for the newest.")
        return flags + overrides
    given = newest() if (key, text) == ("resume", "last") and not Path("last").exists() else expanded(text)
    run = _run_of(key, given)
    if run is None:
        return flags + overrides  # a checkpoint from elsewhere: trained on in a new folder
    if "${" in str(run):  # OmegaConf would write into the folder that it makes of the name
        raise FERError(
            f"{key}={_plain(str(run))}: a run whose path holds '${{' cannot go on. Give its folder another name."
        )
    record = read(run)
    _check_trust(run, record, _is_trusted(overrides), bool({"--config-dir", "-cd"} & set(flags)))
    _check_rest(f"{key}={text}", run, record, rest)
    if not given.is_file():  # a named checkpoint is always continued, however far the run has come since
        _check_unfinished(run, record, rest)
    checkpoint = given if given.is_file() else checkpoint_of(run)
    _say(run, checkpoint)
    if not {"--config-dir", "-cd"} & set(flags):
        flags = flags + [part for folder in record.config_dirs[:1] for part in ("--config-dir", folder)]
    # Of a sweep, only this job is continued. Hydra's own record is left unchanged.
    where = [
        f"hydra.run.dir={quote(run)}",
        f"hydra.sweep.dir={quote(run.parent)}",
        "hydra.mode=RUN",
        "hydra.output_subdir=null",
    ]
    if checkpoint is not None:
        where.append(f"ckpt={quote(checkpoint.resolve())}")
    return [*flags, *record.overrides, *record.searchpath, *rest, *where]


def checkpoint_of(run: Path) -> Path | None:
    """Return the checkpoint that a run goes on from: the last, else the best; None if it has none."""
    found = [run / "checkpoints" / name for name in _CHECKPOINTS if (run / "checkpoints" / name).is_file()]
    return found[0] if found else None


def state(run: Path) -> str:
    """Return a run's state in a few words."""
    try:
        record = run_record.read(run)
    except ConfigError:
        record = None
    scores = _scores(run)
    if is_locked(run):
        return "is running"
    if scores and (record is None or record.finished):
        return f"finished after {scores['epochs']} epochs, {scores['monitor']} {scores['best_score']:.4f}"
    return "has a checkpoint" if checkpoint_of(run) else "has no checkpoint yet"


def runs_in(folder: Path) -> list[Path]:
    """Return the runs in a folder and the folders in it, the newest first."""
    found = {path.parent for depth in ("*", "*/*", "*/*/*") for path in folder.glob(f"{depth}/{run_record.FILE}")}
    found |= {path.parent for depth in ("*", "*/*", "*/*/*") for path in folder.glob(f"{depth}/checkpoints")}
    return sorted(found, key=lambda run: (_started(run), str(run)), reverse=True)


def newest() -> Path:
    """Return the run in ``outputs`` that was started last.

    Raises:
        FERError: If there is none.
    """
    runs = runs_in(_OUTPUTS)
    if not runs:
        raise FERError(f"resume=last: there is no run in {_OUTPUTS.resolve()}.")
    print(f"resume=last: {runs[0]}", file=sys.stderr)
    return runs[0]


def read(run: Path) -> RunRecord:
    """Return a run's record; of a run of an earlier version, what Hydra kept, without a stamp.

    Raises:
        FERError: If neither can be read.
    """
    try:
        record = run_record.read(run)
        damaged = []
    except ConfigError as error:
        record, damaged = None, [str(error)]
    if record is not None:
        return record
    hydra = run / ".hydra"
    kept: dict[str, Any] = {}
    for name, kind in (("hydra.yaml", dict), ("overrides.yaml", list)):
        try:
            kept[name] = yaml.safe_load((hydra / name).read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            kept[name] = None
        if not isinstance(kept[name], kind):
            damaged.append(f"{hydra / name}: is {'damaged' if (hydra / name).exists() else 'not there'}.")
    composed = (kept["hydra.yaml"] or {}).get("hydra") if isinstance(kept["hydra.yaml"], dict) else None
    composed = composed if isinstance(composed, dict) else {}
    try:  # Hydra writes it before overrides.yaml; with its `runtime` it is whole
        whole = composed["runtime"]
        task = composed["overrides"]["task"]
        sources = [s["path"] for s in whole["config_sources"] if s["provider"] == "command-line"]
        searchpath = [o for o in composed["overrides"]["hydra"] if o.startswith("hydra.searchpath=")]
        choices = whole["choices"]
    except (KeyError, TypeError, AttributeError):
        task, sources, searchpath, choices = kept["overrides.yaml"], [], [], {}
    if not isinstance(task, list) or not all(isinstance(o, str) for o in task):
        there = f" Its checkpoint can be tested: python -m fer.test ckpt={run} data=..." if checkpoint_of(run) else ""
        raise FERError(
            f"{run} cannot go on, because what it was started with is lost:\n{listing(damaged)}\n"
            f"  {run / 'config.yaml'} tells its choices: start it anew with them, in another folder.{there}"
        )
    for line in damaged:
        print(f"{line} Going on with what is left.", file=sys.stderr)
    task = [o for o in task if not o.startswith(("ckpt=", "resume=", "trust=", "output_dir="))]
    return RunRecord(task, sources, searchpath, choices if isinstance(choices, dict) else {})


def code_in(override: str) -> bool:
    """Say whether an override can run code, write outside the run's folder, or choose what fer does not ship."""
    if "_target_" in override or "${" in override or re.search(r"(?:^|[{,\s\"'.+~])_\w+_[\"']?\s*[:=]", override):
        return True
    try:
        parsed = parse_override(override)
        value = parsed.value()
    except HydraException:
        return True
    key = parsed.key_or_group
    if parsed.package is not None or "/" in key or key == "hydra" or key.startswith("hydra."):
        return True
    conf = conf_dir()
    if key in group_names(conf) and not isinstance(value, dict):
        shipped = option_names(conf, key)
        chosen = value if isinstance(value, list) else [value]
        return any(str(one) not in shipped for one in chosen if one is not None)
    if key.split(".")[0] in ("callbacks", "logger"):
        return value is not None  # null only switches off
    written = ("cache_dir", "output_dir", "default_root_dir", "dirpath", "save_dir")
    return key.endswith(written) or any(name in override for name in written)


def _is_trusted(overrides: Sequence[str]) -> bool:
    asked = [o.partition("=")[2].lower() for o in overrides if o.startswith("trust=")]
    if asked and asked[-1] not in ("true", "false"):
        raise FERError(f"trust={asked[-1]}: must be true or false: whether to follow all that the run's folder says.")
    return bool(asked) and asked[-1] == "true"


def _run_of(key: str, given: Path) -> Path | None:
    """Return the run's folder that a path means; None for a checkpoint that stands in no run's folder."""
    if not given.exists():
        if key == "ckpt":
            raise FERError(no_checkpoint(given))
        raise FERError(f"resume={given}: is not a run's folder: it does not exist.")
    inside = given.parent if given.is_file() else given
    run = (inside.parent if given.is_file() or given.name == "checkpoints" else inside).resolve()
    hydra = run / ".hydra"
    if metrics.is_of_ensemble(run):
        raise FERError(f"{key}={given}: is an ensemble, which was not trained itself. Test it: fer.test ckpt={run}")
    if (run / run_record.FILE).exists() or hydra.is_dir() or (given.is_dir() and (run / "config.yaml").exists()):
        return run
    if key == "ckpt" and given.is_file():
        return None
    runs = runs_in(given) if given.is_dir() else []
    if not runs:
        raise FERError(f"{key}={given}: is not a run's folder (it has no {run_record.FILE}), and holds none.")
    lines = [f"{run}  {state(run)}" for run in runs]
    raise FERError(f"{key}={given}: holds {len(runs)} runs, the newest first. Name one of them:\n{listing(lines)}")


def _check_trust(run: Path, record: RunRecord, trusted: bool, has_config_dir: bool) -> None:
    """Refuse overrides that may run code, from a folder that somebody else may have made."""
    if record.own or trusted:
        return
    wrong = [o for o in record.overrides if code_in(o)] + record.searchpath
    if not has_config_dir:
        wrong += [f"--config-dir {folder}" for folder in record.config_dirs]
    record.searchpath, record.config_dirs = [], []
    if wrong:
        raise FERError(
            f"resume={run}: this run was not made by you on this machine (or by an earlier version of fer), and was "
            f"started with what may run code or write elsewhere:\n{listing([_plain(o) for o in wrong])}\n"
            f"  If you trust whoever made it, follow all of it with trust=true."
        )


def _plain(text: str) -> str:
    """Return a text from a folder as one line without control characters."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _check_rest(asked: str, run: Path, record: RunRecord, rest: Sequence[str]) -> None:
    """Refuse what a run cannot go on with: another dataset or another folder."""
    for override in rest:
        key, _, value = override.partition("=")
        before = record.choices.get("data")
        if key == "data" and before is not None and value != before:
            raise FERError(
                f"{override}: {asked} goes on with a run on {before}, in its own folder. It cannot go on with other "
                f"data: leave {override} out, or start a new run on it with the weights of this one: init={run}"
            )
        if key in ("output_dir", "hydra.run.dir") and Path(unquote(value)).resolve() != run:
            raise FERError(f"{override}: {asked} goes on in the run's own folder, {run}. Leave {key} out.")


def _check_unfinished(run: Path, record: RunRecord, rest: Sequence[str]) -> None:
    """Refuse to go on with a finished run, unless it is to train for longer."""
    finished = _finished(run, record)
    if any(o.startswith(_EXTENDS) for o in rest):
        epochs = [o.partition("=")[2] for o in rest if o.startswith("trainer.max_epochs=")]
        if not (epochs and epochs[-1].isdigit() and 0 < int(epochs[-1]) <= (finished or 0)):
            return
    if finished:
        raise FERError(
            f"{run} is finished, after {finished} epochs; its scores are in metrics.json. To train it further: "
            f"resume={run} trainer.max_epochs=<more than {finished}>"
        )


def _finished(run: Path, record: RunRecord) -> int | None:
    if (run / run_record.FILE).exists() and record.own:
        return record.finished
    scores = _scores(run)
    return int(scores["epochs"]) if scores else None


def _scores(run: Path) -> dict[str, Any] | None:
    """Return the scores of a finished run; None where there are none that can be read."""
    try:
        scores = metrics.read(run / metrics.FILE)
        return {
            "epochs": int(scores["epochs"]),
            "monitor": _plain(str(scores["monitor"])),
            "best_score": float(scores["best_score"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _say(run: Path, checkpoint: Path | None) -> None:
    if checkpoint is None:
        print(f"{run} has no checkpoint yet: starting it again", file=sys.stderr)
    elif checkpoint.name == "best.ckpt" and not (run / "checkpoints" / "last.ckpt").exists():
        print(f"{run} has no last.ckpt: going on from best.ckpt", file=sys.stderr)


def _started(run: Path) -> float:
    for name in (run_record.FILE, "config.yaml", "checkpoints"):
        if (run / name).exists():
            return (run / name).stat().st_mtime
    return 0
