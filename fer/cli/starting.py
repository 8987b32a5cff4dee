"""From ``init=<run>`` to the overrides that build its network again, before anything slow is imported.

The parent's folder may be somebody else's: only a network that fer ships, or one that the user names, is built of it,
and only plain values are taken over. Once the checkpoint is read, :mod:`fer.training.parent` compares again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fer.cli.continuing import runs_in, state
from fer.compat import parse_override
from fer.config.groups import conf_dir, flat, option_names
from fer.config.inherited import IDENTITY, WEIGHTS, differences
from fer.config.plain_data import check_plain
from fer.config.quoting import unquote, written
from fer.errors import ConfigError, FERError, listing
from fer.files import export, run_folder
from fer.files.home import expanded

_ANY = "???"  # what a config says where its user is to choose: any network of timm's


def started(overrides: list[str]) -> list[str]:
    """Put the network of ``init=<run>`` before a command's overrides, which may say the same, or freeze it.

    Args:
        overrides: The command's overrides, ``init=`` among them.

    Raises:
        FERError: If ``resume=`` or ``ckpt=`` is given too, the parent cannot be used, or parents have other networks.
    """
    text = [o for o in overrides if o.startswith("init=")][-1].partition("=")[2]
    for override in overrides:
        if override.startswith(("resume=", "ckpt=")) and override.partition("=")[2] not in ("", "null"):
            raise FERError(
                f"init={text} and {override}: choose one. init= starts a new run with the weights of another; resume= "
                f"and ckpt= go on with a run as it was, optimiser and epoch too."
            )
    parsed = parse_override(f"init={text}")
    paths = [unquote(one) for one in parsed.sweep_string_iterator()] if parsed.is_sweep_override() else [unquote(text)]
    if paths in ([""], ["null"]):
        return overrides
    networks = [network_of(path) for path in paths]
    for path, network in zip(paths, networks, strict=True):
        if lines := differences(network, networks[0], f"the network of init={paths[0]}"):
            raise ConfigError(
                f"init={text}: a sweep needs parents of one network; init={path} has another:\n{listing(lines)}"
            )
    models = [o.partition("=")[2] for o in overrides if o.startswith("model=")]
    nearest = _choice(networks[0], paths[0], overrides)
    choice = models[-1] if models else nearest
    base = _read(choice)
    theirs = {key: networks[0][key] for key in IDENTITY if key in networks[0]}
    if any(base.get(key) not in (_ANY, value) for key, value in theirs.items()) and choice != "custom":
        return overrides  # another network, which the check of the composed config names
    own = {**flat(networks[0]), **{key: value for key, value in WEIGHTS.items() if key in base}}
    was = flat(base)
    more = [f"++model.{key}={written(value)}" for key, value in own.items() if key not in was or was[key] != value]
    return [*([] if models else [f"model={choice}"]), *more, *overrides]


def network_of(text: str) -> dict[str, Any]:
    """Return the ``model`` node of a parent: ``_target_`` and options, without where its own weights came from.

    Args:
        text: The value of ``init``: a run's folder, a checkpoint, or a safetensors export.

    Raises:
        ConfigError: If there is no such thing, or it does not tell its network.
    """
    path = expanded(text)
    try:
        node = _node(path)
        if not isinstance(node.get("_target_"), str):
            raise ConfigError("its model has no class")
        check_plain({key: value for key, value in node.items() if key != "_target_"}, "model")
        if wrong := [key for key in _keys(node) if not re.fullmatch(r"[A-Za-z]\w*", key) and key != "_target_"]:
            raise ConfigError(f"its model holds {wrong[0]!r}, which is no option")
    except FERError as error:
        said = str(error) if str(error).startswith(("init=", "ckpt=")) else f"init={text}: {error}"
        raise ConfigError(re.sub("^ckpt=", "init=", said)) from error
    return {key: value for key, value in node.items() if key not in WEIGHTS}


def _keys(node: Any) -> Iterator[str]:
    """Yield the keys of all mappings in plain data: they become part of an override."""
    if isinstance(node, Mapping):
        yield from node
    for inner in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from _keys(inner)


def _node(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ConfigError("no such file or folder. It takes a run's folder, a checkpoint, or a safetensors export.")
    if export.is_export(path):
        content = _export(path)
        return dict(content["model"])
    run = path if path.is_dir() else path.parent.parent
    if path.is_dir() and not (path / "checkpoints" / "best.ckpt").is_file():
        inside = [f"{one}  {state(one)}" for one in runs_in(path)]
        more = f" It holds {len(inside)} runs; name one of them:\n{listing(inside)}" if inside else ""
        raise ConfigError(f"is no run with a best checkpoint.{more}")
    if path.is_dir() or path.parent.name == "checkpoints":
        try:
            node = run_folder.read_config(run).get("model")
        except (OSError, ValueError):
            node = None
        if isinstance(node, dict):
            return node
    # A checkpoint that stands alone says what it is, once torch is there to read it.
    from fer.training.checkpoint_content import load_checkpoint

    return dict(load_checkpoint(path)["hyper_parameters"]["model"])


def _export(path: Path) -> dict[str, Any]:
    """Return the description of an export whose weights can be trained further."""
    file = path if path.is_file() else None
    try:
        content = export.read(path)
    except FERError as error:
        raise ConfigError(
            f"{error} Weights of another program: model.checkpoint_path={path}" if file else str(error)
        ) from error
    if Path(file or content["file"]).suffix != ".safetensors" or not isinstance(content.get("model"), dict):
        raise ConfigError(
            f"{file or content['file']} is a finished graph and cannot be trained. Give the run that it was made from, "
            f"or an export with format=safetensors."
        )
    return content


def _choice(network: Mapping[str, Any], path: str, overrides: Sequence[str]) -> str:
    """Return the option of the group ``model`` that is nearest to a network: of its class, with fewest other values."""
    if any(o == f"model._target_={network['_target_']}" for o in overrides):
        return "custom"
    nodes = {name: _read(name) for name in option_names(conf_dir(), "model") if name != "custom"}
    same = {name: flat(node) for name, node in nodes.items() if node["_target_"] == network["_target_"]}
    if not same:
        raise ConfigError(
            f"init={path}: its network is {network['_target_']!r}, which is not fer's. If it is a class of your own "
            f"that you trust, name it too: model._target_={network['_target_']}"
        )
    wanted = flat(network)
    return min(same, key=lambda name: sum(same[name].get(key) not in (_ANY, value) for key, value in wanted.items()))


@cache
def _read(choice: str) -> dict[str, Any]:
    """Return an option of the group ``model`` with what it is derived from; empty for one of the user's own."""
    file = conf_dir() / "model" / f"{choice}.yaml"
    if not file.is_file():
        return {}
    node = yaml.safe_load(file.read_text())
    merged: dict[str, Any] = {}
    for part in [*(_read(name) for name in node.pop("defaults", []) if name != "_self_"), node]:
        for key, value in part.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = {**merged[key], **value} if both else value
    return merged


def wrong(config: Mapping[str, Any]) -> list[str]:
    """Name where a composed config's network is not that of its parent."""
    if config.get("init") is None or config.get("ckpt") is not None:  # else it goes on, and the parent may be gone
        return []
    try:
        parent = network_of(config["init"])
    except ConfigError as error:
        return [str(error)]
    lines = differences(config["model"], parent, f"the network of init={config['init']}")
    return [*lines, "The network comes from init=; leave out what contradicts it."] if lines else []
