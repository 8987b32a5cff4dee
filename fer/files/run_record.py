"""``run.yaml``: what fer itself keeps of a run, so that it can go on, with a stamp that proves whose run it is.

A run's folder may come from somebody else, so whatever stands in it is data. The stamp is made with a key that never
leaves the user's own state folder: a record that bears it was written by this user's fer, and can be followed.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import ListConfig, read_write

from fer.compat import parse_override
from fer.config import moved
from fer.config.groups import conf_dir, option_names
from fer.config.quoting import is_path, quote, unquote, written
from fer.errors import ConfigError
from fer.files.atomic import writing
from fer.files.home import expanded

FILE = "run.yaml"
_FORMAT = 1
# What a command says of itself, and not of the run.
_OF_THE_COMMAND = ("ckpt=", "resume=", "trust=", "output_dir=")


@dataclass
class RunRecord:
    """What makes a run again.

    Args:
        overrides: The command's ``key=value``.
        config_dirs: Folders of configs of the user's own (``--config-dir``).
        searchpath: ``hydra.searchpath=...`` overrides.
        choices: The option of each config group.
        data: The resolved ``data`` node.
        finished: Epochs after which the run finished; None if it has not.
        own: Whether this user's stamp is on it. Not written.
    """

    overrides: list[str]
    config_dirs: list[str] = field(default_factory=list)
    searchpath: list[str] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] | None = None
    finished: int | None = None
    own: bool = False


def of_this_command(config: Mapping[str, Any]) -> RunRecord:
    """Return the record of the run that Hydra composed ``config`` for."""
    composed = HydraConfig.get()
    task = [o for o in composed.overrides.task if not o.startswith(_OF_THE_COMMAND)]
    return RunRecord(
        overrides=[
            _absolute_override(o) for o in list(dict.fromkeys(reversed(task)))[::-1]
        ],  # of equals the last counts
        config_dirs=[
            str(Path(source.path).resolve())
            for source in composed.runtime.config_sources
            if source.provider == "command-line"
        ],
        searchpath=[o for o in composed.overrides.hydra if o.startswith("hydra.searchpath=")],
        choices={str(group): choice for group, choice in composed.runtime.choices.items() if "/" not in str(group)},
        data=absolute(config["data"]),
    )


def add_to_command(override: str) -> None:
    """Add what has been found to the overrides of this command: its other processes, and its record, go by them."""
    task = cast(ListConfig, HydraConfig.get().overrides.task)
    with read_write(task):
        task.append(override)


def absolute(node: Any, key: str = "") -> Any:
    """Return a config in which files and folders that are there have whole paths: a run may go on from anywhere."""
    if isinstance(node, Mapping):
        return {name: absolute(value, f"{key}.{name}" if key else str(name)) for name, value in node.items()}
    if key == "teacher" and isinstance(node, list):
        return [absolute(one, key) for one in node]
    if not isinstance(node, str) or not is_path(key):
        return node
    path = expanded(node)
    return str(path.absolute()) if path.exists() else node


def _absolute_override(override: str) -> str:
    key, _, value = override.partition("=")
    teachers = parse_override(override).value() if key == "teacher" else None
    if isinstance(teachers, list):
        paths = [str(one) for one in teachers]
        return f"{key}={written(absolute(paths, key))}"
    found = absolute(unquote(value), key)
    return override if found == unquote(value) else f"{key}={quote(found)}"


def write(run: Path, record: RunRecord) -> None:
    """Stamp a record and put it into a run's folder, whole or not at all."""
    content = {"format": _FORMAT, **{key: value for key, value in asdict(record).items() if key != "own"}}
    key = _key(create=True)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    stamp = {"stamp": None if key is None else _stamp(yaml.safe_load(text), key)}
    with writing(run / FILE) as file:
        file.write("# Written by fer, for resume=<this folder>. An edited file is taken for somebody else's.\n")
        file.write(text + yaml.safe_dump(stamp))


def finish(run: Path, epochs: int) -> None:
    """Note that a run has its scores."""
    record = read(run)
    if record is not None:
        record.finished = epochs
        write(run, record)


def read(run: Path) -> RunRecord | None:
    """Return the record in a run's folder; None if there is none.

    Raises:
        ConfigError: If the file is no record.
    """
    path = run / FILE
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text())
        stamp = content.pop("stamp", None)
        if content["format"] != _FORMAT:
            raise ConfigError(f"{path}: is of format {content['format']}; this fer reads {_FORMAT}.")
        key = _key()
        trusted = key is not None and path.stat().st_uid == os.getuid()
        own = trusted and hmac.compare_digest(str(stamp), _stamp(content, key or b""))
        del content["format"]
        record = RunRecord(**content, own=own)
        lists = (record.overrides, record.config_dirs, record.searchpath)
        if not all(isinstance(part, list) and all(isinstance(o, str) for o in part) for part in lists):
            raise TypeError("a list of texts is needed")
        if not isinstance(record.choices, dict) or not isinstance(record.data, dict | None):
            raise TypeError("a mapping is needed")
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: is damaged ({type(error).__name__}).") from error
    return record


def data_of(ckpt: str | Path, trust: object = None) -> dict[str, Any]:
    """Return the ``data`` node of the run that a checkpoint belongs to.

    Args:
        ckpt: A run's folder, or a checkpoint in it.
        trust: ``true``: follow the folder whoever made it. A list of packages: their datasets too.

    Raises:
        ConfigError: If the checkpoint does not stand in a run's folder, or the folder is not this user's and names
            more than a dataset of fer's with its own options.
    """
    path = Path(ckpt)
    run = path if path.is_dir() else path.parent.parent
    other = "Or name a dataset: data=fer2013 data.root=<folder>."
    record = read(run)
    if record is not None and record.own and record.data is not None:
        return dict(moved.current(record.data))
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"data: {ckpt} does not stand in a run's folder, so its dataset is not known. {other[3:]}")
    try:
        data: dict[str, Any] = moved.current(yaml.safe_load((run / "config.yaml").read_text())["data"])
        target = data["_target_"]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f"{run / 'config.yaml'}: is damaged; its dataset cannot be read. {other[3:]}") from error
    if trust is True:
        return data
    shipped = _datasets()
    packages = tuple(f"{package}." for package in trust) if isinstance(trust, list | tuple) else ()
    keys = shipped.get(target) if isinstance(target, str) else None
    wrong = [] if keys is not None or str(target).startswith(packages or ("\n",)) else [f"_target_={target}"]
    if keys is not None:
        wrong += [f"{key}={value}" for key, value in data.items() if key not in keys or _holds_code(value)]
    wrong += [f"cache_dir={data['cache_dir']}"] if data.get("cache_dir") else []
    if wrong:
        named = "\n".join(f"    data.{one}" for one in wrong)
        raise ConfigError(
            f"{run / 'config.yaml'}: this run was not made by you on this machine, and its data node may run code or "
            f"write elsewhere:\n{named!s}\n  If you trust whoever made it: trust=true. {other}"
        )
    return data


def _datasets() -> dict[str, set[str]]:
    """Return the options of each dataset that fer ships, by its class."""
    folder = conf_dir() / "data"
    common = set(yaml.safe_load((folder / "_loading.yaml").read_text()))
    nodes = [yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in option_names(conf_dir(), "data")]
    return {node["_target_"]: common | set(node) - {"defaults"} for node in nodes}


def _holds_code(value: Any) -> bool:
    """Say whether a value of a data node holds what Hydra would call, or a folder that is written."""
    if isinstance(value, Mapping):
        return any(
            (isinstance(key, str) and (key.startswith("_") or key.endswith("cache_dir"))) or _holds_code(inner)
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return any(_holds_code(inner) for inner in value)
    return isinstance(value, str) and "${" in value


def _stamp(content: Mapping[str, Any], key: bytes) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key(create: bool = False) -> bytes | None:
    """Return this user's key, made on first use; None where there is none and none can be kept."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        path = Path(state).expanduser() / "fer" / "key"
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = path.with_name(f".key.{secrets.token_hex(4)}")
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
            try:
                os.link(part, path)  # unlike a rename, it leaves the key of a run that began at the same time
            except FileExistsError:
                pass
            finally:
                part.unlink()
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            return None  # somebody else may have read it
        key = path.read_bytes()
    except (OSError, RuntimeError):
        return None
    return key if len(key) >= 32 else None
