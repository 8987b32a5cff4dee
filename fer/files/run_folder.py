"""A run's folder: what stands where, its config, and its checkpoints' marks. Imports nothing slow.

A training leaves ``config.yaml`` (resolved), ``run.yaml`` (:mod:`fer.files.run_record`), ``environment.jsonl`` (a line
for each start), ``checkpoints/best.ckpt`` and ``last.ckpt``, ``history.csv`` (:mod:`fer.files.history`),
``metrics.json`` (:mod:`fer.files.metrics`), ``predictions.csv`` (:mod:`fer.files.predictions`) and pictures; a sweep's
job that failed, ``error.txt``. Whatever stands there is only data, and may be damaged or somebody else's.
"""

import hashlib
import json
import platform
import re
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fer.config import moved
from fer.errors import ConfigError
from fer.files import export, hub, run_record
from fer.files.atomic import writing
from fer.files.home import expanded
from fer.files.text import read_text

CONFIG, ENVIRONMENT, FAILURE, BEST = "config.yaml", "environment.jsonl", "error.txt", "checkpoints/best.ckpt"
REPEATS = ("seed", "data.fold")
"""Runs that differ in these keys alone repeat one another: their scores have a mean and a deviation."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def write(run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Write what a run is when it starts, or goes on.

    Args:
        run: The run's folder.
        config: The resolved config.
        environment: Versions and machine, a line of ``environment.jsonl``.

    Raises:
        FERError: If the folder cannot be written.
    """
    write_config(run, config)
    run_record.write(run, run_record.of_this_command(config))
    (run / FAILURE).unlink(missing_ok=True)  # of a sweep's job that failed before
    with (run / ENVIRONMENT).open("a") as file:
        file.write(json.dumps(environment) + "\n")


def write_config(run: Path, config: Mapping[str, Any]) -> None:
    """Write a resolved config, with whole paths.

    Raises:
        FERError: If the folder cannot be written.
    """
    with writing(run / CONFIG) as file:
        yaml.safe_dump(run_record.absolute(config), file, sort_keys=False)


def refuse_used(folder: Path, result: str) -> None:
    """Refuse a folder that already holds a result, so that nothing is overwritten.

    Raises:
        ConfigError: If ``result`` stands in the folder.
    """
    if (folder / result).exists():
        raise ConfigError(f"output_dir={folder} already holds {result}. Choose another folder: nothing is overwritten.")


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config of a run, or of a test; empty if none stands in its folder.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no YAML mapping.
    """
    path = next((path for path in (folder / CONFIG, folder / ".hydra" / "config.yaml") if path.exists()), None)
    if path is None:
        return {}
    text = read_text(path)
    try:
        # A config is written without references; a few nested ones could fill any memory.
        if "*" in text and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=_Loader)):
            raise ValueError("it holds references")
        config = moved.all_current(yaml.load(text, Loader=_Loader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("it is no YAML") from error
    if not isinstance(config, dict):
        raise ValueError("it is no YAML mapping")
    return config


def no_checkpoint(path: Path, key: str = "ckpt") -> str:
    """Say that there is no checkpoint, and where there are some.

    Args:
        path: What was named, or the file that was looked for in it.
        key: The option that names it.
    """
    folder = path.parent.parent if path.parent.name == "checkpoints" else path
    runs = [file.parent.parent for depth in ("*", "*/*", "*/*/*") for file in folder.glob(f"{depth}/{BEST}")]
    if runs:
        newest = max(runs, key=lambda run: (run / BEST).stat().st_mtime)
        return f"{key}={folder}: is no run. It holds {len(runs)}; name one, such as the newest: {newest}"
    return f"{key}={path}: no such file or folder. A run keeps best.ckpt and last.ckpt in its checkpoints folder."


def checkpoint_mark(path: str | Path) -> str | None:
    """Return what tells a checkpoint from every other one, whatever its name and time; None if it cannot be read.

    A hash of the checksums that the file's directory lists: nothing else of it need be read. Of an export that has no
    such directory, a hash of the file.

    Args:
        path: The checkpoint, a run's folder (for its best checkpoint), or an export.
    """
    path = checkpoint_file(expanded(path))
    try:
        if not path.is_file():
            return None
        if path.suffix in (".onnx", ".safetensors", ".xml"):
            whole = hashlib.sha256()
            for part in export.parts(path):
                with part.open("rb") as file:
                    hashlib.file_digest(file, lambda: whole)
            return whole.hexdigest()[:16]
        with zipfile.ZipFile(path) as archive:
            records = sorted((record.filename, record.CRC, record.file_size) for record in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None
    return hashlib.sha256(repr(records).encode()).hexdigest()[:16]


def run_id(folder: str) -> str:
    """Return a short name for a run's folder on this machine: the same each time, another for every other folder."""
    return hashlib.sha256(f"{platform.node()}\0{Path(folder).resolve()}".encode()).hexdigest()[:12]


def prediction_name(source: object, ckpt: object, *options: object) -> str:
    """Return what the folder of a prediction is called: the same for the same command and model, else another.

    Args:
        source: What is predicted; of a camera no two predictions are the same.
        ckpt: The model.
        options: What else decides the predictions; what is False is left out, as if there was no such option yet.
    """
    options = tuple(option for option in options if option is not False)
    source = str(source)
    name = re.sub(r"[^\w.-]+", "_", Path(source).name)[:60].strip("._-") or "pictures"
    if source.isdecimal():
        return f"camera{name}-{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    model = None if ckpt is None else ckpt if hub.is_address(ckpt) else checkpoint_mark(str(ckpt))
    key = [str(expanded(source).absolute()), model, *options]
    return f"{name}-{hashlib.sha256(repr(key).encode(errors='backslashreplace')).hexdigest()[:8]}"


def checkpoint_file(path: Path) -> Path:
    """Return the file that ``ckpt=<path>`` means: of a run's folder the best checkpoint, of an export's its model."""
    if path.suffix == ".ckpt" or path.is_file():
        return path
    return export.model_file(path) or path / "checkpoints" / "best.ckpt"


def run_name(path: Path) -> str:
    """Return what a picture calls a run: the last two parts of its folder, or of a checkpoint that stands in none."""
    if path.parent.name == "checkpoints":
        path = path.parent.parent
    return "/".join(path.resolve().parts[-2:])
