"""The commands from Python: the keys, checks and results of the command line, and errors as exceptions."""

import copy
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from fer.cli import config_check, resolvers
from fer.cli.command import rewrite
from fer.cli.help import commands
from fer.cli.hints import explain
from fer.config.groups import conf_dir
from fer.config.quoting import written
from fer.errors import ConfigError, did_you_mean
from fer.files.home import expanded
from fer.files.run_lock import OwnFolder

Overrides = Mapping[str, Any] | Sequence[str]

_FUNCTIONS = {"test": "evaluate"}  # of the commands whose function is not called as they are
_FOUND = {"train": "metrics.json", "test": "metrics.json", "ensemble": "metrics.json", "audit": "audit.json"}


@dataclass(frozen=True)
class Result:
    """What a command leaves.

    Attributes:
        folder: Where it wrote its files.
        found: The content of its ``metrics.json`` or ``audit.json``; empty where it writes neither.
    """

    folder: Path
    found: dict[str, Any] = field(default_factory=dict, repr=False)


def compose(command: str, overrides: Overrides = ()) -> DictConfig:
    """Return a command's config, to look at, to change, and to hand to the command: ``fer.train.train(cfg)``.

    It is what ``hydra.compose(command, overrides, return_hydra_config=True)`` gives in our folder of configs.

    Args:
        command: ``train``, ``test``, ``audit``, ``report``, ... (``python -m fer`` lists them).
        overrides: As on the command line: ``{"model": "simple_conv", "trainer.max_epochs": 3}``, or
            ``["model=simple_conv", "trainer.max_epochs=3"]``.

    Raises:
        ConfigError: If a key or an option does not exist.
    """
    if command not in (known := commands()):
        raise ConfigError(f"{command}: no such command.{did_you_mean(command, known)} There are: {', '.join(known)}.")
    given = [_override(k, v) for k, v in overrides.items()] if isinstance(overrides, Mapping) else list(overrides)
    given = rewrite(given, command)
    if flags := [argument for argument in given if argument.startswith("-")]:
        raise ConfigError(f"{flags[0]}: this run has configs of its own. Go on with it on the command line.")
    resolvers.register()
    outer = GlobalHydra.instance().hydra  # of a program that this is called from
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra.compose(command, given, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(str(error), command)) from error
    finally:
        GlobalHydra.instance().hydra = outer


def settled(cfg: DictConfig) -> dict[str, Any]:
    """Return a command's config as plain data; one that was composed in Python is checked, and gets its folder.

    Args:
        cfg: From the command line, which has checked it; or from :func:`compose` or ``hydra.compose``, with its
            ``hydra`` node, which becomes the current one.

    Raises:
        ConfigError: If a value cannot be used, or the ``hydra`` node is missing.
    """
    if "hydra" in cfg:
        resolvers.register()
        whole = copy.deepcopy(cfg)
        OmegaConf.set_readonly(whole, False)
        OmegaConf.set_struct(whole, False)
        if OmegaConf.is_missing(whole.hydra.runtime, "output_dir"):
            if "own_folder" in whole.hydra.callbacks:  # as Hydra would on the command line
                OwnFolder(whole.hydra.callbacks.own_folder.get("together", False)).on_run_start(whole)
            whole.hydra.runtime.output_dir = str(Path(whole.hydra.run.dir).absolute())
        HydraConfig.instance().set_config(whole)
        cfg = copy.deepcopy(whole)
        OmegaConf.set_readonly(cfg, False)
        del cfg.hydra
        config_check.check(cfg)
        config_check.check_paths(cfg)
    try:
        return _at_home(cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True)))
    except InterpolationResolutionError as error:
        if "HydraConfig" not in str(error):
            raise
        raise ConfigError(
            "a config composed in Python needs its hydra node: fer.compose(command, overrides), or "
            "hydra.compose(command, overrides, return_hydra_config=True)."
        ) from error


def _at_home(config: dict[str, Any]) -> dict[str, Any]:
    """Follow ``~`` in the paths of runs and checkpoints, as a shell does where it stands alone."""

    def at_home(value: Any) -> Any:
        if isinstance(value, list):
            return [at_home(one) for one in value]
        return str(expanded(value)) if isinstance(value, str) and value.startswith("~") else value

    return config | {key: at_home(config[key]) for key in ("ckpt", "compare", "runs", "tests") if key in config}


def in_folder(cfg: DictConfig, folder: str) -> dict[str, Any]:
    """Return a config that :func:`settled` has returned once more, for a run in another folder.

    Args:
        cfg: The config.
        folder: Its ``output_dir``, unless it is given.
    """
    current = HydraConfig.get().runtime
    with read_write(cast(DictConfig, current)):
        current.output_dir = folder
    cfg = copy.deepcopy(cfg)
    OmegaConf.set_readonly(cfg, False)
    OmegaConf.set_struct(cfg, False)
    cfg.pop("hydra", None)
    return _at_home(cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True)))


def run(command: str, overrides: Overrides = ()) -> Result:
    """Run a command in this process.

    Args:
        command: ``train``, ``test``, ``audit``, ``report``, ... (``python -m fer`` lists them).
        overrides: See :func:`compose`.

    Raises:
        FERError: As the command line prints it.
        Interrupted: If a training was asked to stop (Ctrl-C); it has saved its state.
    """
    cfg = compose(command, overrides)
    function, file = _FUNCTIONS.get(command, command), _FOUND.get(command)
    before = HydraConfig.instance().cfg
    try:
        getattr(importlib.import_module(f"fer.{command}"), function)(cfg)
        folder = Path(cfg.get("output_dir") or HydraConfig.get().runtime.output_dir)
    finally:
        HydraConfig.instance().cfg = before
    found = json.loads((folder / file).read_text()) if file and (folder / file).is_file() else {}
    return Result(folder, found)


def _override(key: str, value: Any) -> str:
    return f"{key}={written(value)}"
