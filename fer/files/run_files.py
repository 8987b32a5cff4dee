"""Reading what a run or a test left in its folder, whoever wrote it; imports nothing slow.

Whatever stands there is only data, and may be damaged: a reader raises ``OSError`` or ``ValueError``, and nothing else.
"""

import csv
import hashlib
import io
import json
import math
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fer.config import moved

_LARGEST = 2**26  # bytes of a file that is read as a whole
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file (reading a pipe would never end), larger than 64 MiB, or no UTF-8.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > _LARGEST:
        raise ValueError(f"it has {status.st_size:,} bytes")
    return path.read_text(encoding="utf-8")


def read_history(path: Path) -> dict[str, list[float]]:
    """Read ``history.csv`` as one list a column, NaN where a value is missing; epochs count from 1.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no table of numbers.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
        columns = rows[0] if rows else {}
        history = {key: [_number(row[key]) for row in rows] for key in columns}
    except (csv.Error, TypeError) as error:
        raise ValueError("it is no table of numbers") from error
    if history and not all(0 <= epoch < 1e9 for epoch in history.get("epoch", [math.nan])):
        raise ValueError("it has no column of epochs")
    if history.get("epoch") and min(history["epoch"]) == 0:  # of an older run: it counted from 0
        history["epoch"] = [epoch + 1 for epoch in history["epoch"]]
    return history


def _number(text: str | None) -> float:
    """Return a score that was a float32, which no number beyond those can have been; NaN where there is none."""
    value = float(text) if text else math.nan
    return math.copysign(math.inf, value) if abs(value) > 3.5e38 else value


def at_epoch(history: Mapping[str, Sequence[float]], epoch: int, column: str) -> float | None:
    """Return an epoch's (from 1) value of a column of :func:`read_history`; None if it is not there."""
    values = dict(zip(history.get("epoch", ()), history.get(column, ()), strict=False))
    value = values.get(epoch, math.nan)
    return None if math.isnan(value) else value


def read_metrics(path: Path) -> dict[str, Any]:
    """Read ``metrics.json`` of a training or a test; epochs count from 1.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no JSON object.
    """
    try:
        metrics = json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(metrics, dict):
        raise ValueError("it holds no JSON object")
    last, best, epochs = (metrics.get(key) for key in ("last_epoch", "best_epoch", "epochs"))
    if not (isinstance(last, dict) and isinstance(best, int) and isinstance(epochs, int)):
        return metrics  # of a test
    if last.get("epoch") == epochs - 1:  # an older run: it counted from 0
        metrics |= {"best_epoch": best + 1, "last_epoch": {**last, "epoch": epochs}}
    return metrics


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config of a run, or of a test; empty if none stands in its folder.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no YAML mapping.
    """
    path = next((path for path in (folder / "config.yaml", folder / ".hydra" / "config.yaml") if path.exists()), None)
    if path is None:
        return {}
    text = read_text(path)
    try:
        # A config is written without references; a few nested ones could fill any memory.
        if "*" in text and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=_Loader)):
            raise ValueError("it holds references")
        config = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("it is no YAML") from error
    if not isinstance(config, dict):
        raise ValueError("it is no YAML mapping")
    return {key: moved.current(node) for key, node in config.items()}


def checkpoint_mark(path: str | Path) -> str | None:
    """Return what tells a checkpoint from every other one, whatever its name and time; None if it cannot be read.

    A hash of the checksums that the file's directory lists: nothing else of it need be read.

    Args:
        path: The checkpoint, or a run's folder (for its best checkpoint).
    """
    path = checkpoint_file(Path(path))
    try:
        if not path.is_file():
            return None
        with zipfile.ZipFile(path) as archive:
            records = sorted((record.filename, record.CRC, record.file_size) for record in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None
    return hashlib.sha256(repr(records).encode()).hexdigest()[:16]


def checkpoint_file(path: Path) -> Path:
    """Return the checkpoint that ``ckpt=<path>`` means: of a run's folder the best one."""
    return path if path.suffix == ".ckpt" or path.is_file() else path / "checkpoints" / "best.ckpt"


def run_name(path: Path) -> str:
    """Return what a picture calls a run: the last two parts of its folder, or of a checkpoint that stands in none."""
    if path.parent.name == "checkpoints":
        path = path.parent.parent
    return "/".join(path.resolve().parts[-2:])


def check_training(metrics: Mapping[str, Any], averages: Sequence[str]) -> None:
    """Check what a training's ``metrics.json`` must hold to be compared.

    Args:
        metrics: From :func:`read_metrics`.
        averages: Names of the scores that are compared.

    Raises:
        ValueError: Naming what is wrong.
    """
    _need(metrics, "best_epoch", int)
    _need(metrics, "stamp", str, type(None))
    if not any(isinstance(metrics.get(split), Mapping) for split in ("val", "test")):
        raise ValueError("it holds no scores")
    for split in ("val", "test"):
        if split in metrics:
            _check_scores(metrics[split], split, averages)
    last = metrics.get("last_epoch", {})
    _need({"last_epoch": last}, "last_epoch", dict)
    for split in ("val", "test"):
        if split in last:
            _check_averages(last[split], f"last_epoch.{split}", averages)


def check_test(metrics: Mapping[str, Any], averages: Sequence[str]) -> None:
    """Check what a test's ``metrics.json`` must hold to be compared.

    Args:
        metrics: From :func:`read_metrics`.
        averages: Names of the scores that are compared.

    Raises:
        ValueError: Naming what is wrong.
    """
    for key in ("data", "split", "tta", "checkpoint"):
        _need(metrics, key, str)
    _need(metrics, "stamp", str, type(None))
    if "\0" in metrics["checkpoint"]:
        raise ValueError("checkpoint is no path")
    _need(metrics, "label_space", dict)
    _need(metrics["label_space"], "merged", dict)
    _need(metrics, "seen", dict)
    _need(metrics["seen"], "known", bool)
    for key in ("images", "in_training", "in_training_exactly", "chose_the_checkpoint"):
        _need(metrics["seen"], key, int)
    if "test" not in metrics:
        raise ValueError("it holds no scores")
    for part in ("test", "clean"):
        if part in metrics:
            _check_scores(metrics[part], part, averages)


def _need(node: Mapping[str, Any], key: str, *kinds: type) -> None:
    if key not in node and type(None) not in kinds:
        raise ValueError(f"{key} is missing")
    value = node.get(key)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(f"{key} is {str(value)[:40]!r}")


def _check_averages(scores: Any, where: str, averages: Sequence[str]) -> None:
    if not isinstance(scores, Mapping):
        raise ValueError(f"{where} holds no scores")
    _need(scores, "n", int)
    for name in averages:
        _need(scores, name, int, float)
        if not math.isfinite(scores[name]):
            raise ValueError(f"{where}.{name} is {scores[name]}")
        bounds = scores.get(f"{name}_95", [0, 0])
        if not isinstance(bounds, list) or len(bounds) != 2 or not all(isinstance(b, int | float) for b in bounds):
            raise ValueError(f"{where}.{name}_95 is no interval")


def _check_scores(scores: Any, where: str, averages: Sequence[str]) -> None:
    _check_averages(scores, where, averages)
    classes, confusion = scores.get("per_class"), scores.get("confusion")
    if not isinstance(classes, Mapping) or not classes:
        raise ValueError(f"{where}.per_class is missing")
    for name, values in classes.items():
        if not isinstance(values, Mapping):
            raise ValueError(f"{where}.per_class.{name} holds no scores")
        _need(values, "f1", int, float)
        _need(values, "support", int)
    rows = confusion if isinstance(confusion, list) else []
    if len(rows) != len(classes) or not all(isinstance(row, list) and len(row) == len(classes) for row in rows):
        raise ValueError(f"{where}.confusion is no table of its {len(classes)} classes")
    if not all(isinstance(count, int) and count >= 0 for row in rows for count in row):
        raise ValueError(f"{where}.confusion holds what is no count")


def leak_line(seen: Mapping[str, Any]) -> str:
    """Say how many tested images were in training, from a test's ``seen``."""
    if not seen["known"]:
        return "Whether test images were in training is not known: this checkpoint carries no fingerprints."
    share = 100 * seen["in_training"] / max(1, seen["images"])
    line = f"{seen['in_training']:,} of {seen['images']:,} test images ({share:.1f} %) were in training"
    if seen["in_training"]:
        near = seen["in_training"] - seen["in_training_exactly"]
        line += f", {seen['in_training_exactly']:,} as equal pixels and {near:,} as near copies"
    if seen["chose_the_checkpoint"]:
        line += f"; {seen['chose_the_checkpoint']:,} more were among those that chose the checkpoint"
    return f"{line} ({seen.get('trained_on')})."
