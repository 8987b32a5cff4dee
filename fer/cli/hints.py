"""What a mistyped command most likely means: from Hydra's messages, and before Hydra sees it."""

import re
import sys
from collections.abc import Sequence

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from fer import compat
from fer.cli import launch_check
from fer.config.groups import conf_dir, flat, group_names, option_names
from fer.config.timm_names import timm_models
from fer.errors import ConfigError, did_you_mean
from fer.extras import missing_package

# Other programs' words for our keys and groups.
_SYNONYMS = {
    "arch": "model",
    "backbone": "model",
    "batch": "data.batch_size",
    "bs": "data.batch_size",
    "checkpoint": "ckpt",
    "data_dir": "data.root",
    "data_path": "data.root",
    "data_root": "data.root",
    "dataset": "data",
    "device": "trainer.accelerator",
    "epoch": "trainer.max_epochs",
    "epochs": "trainer.max_epochs",
    "finetune": "init",
    "gpu": "trainer.devices",
    "gpus": "trainer.devices",
    "img_size": "data.image_size",
    "learning_rate": "optimizer.lr",
    "max_epoch": "trainer.max_epochs",
    "n_epochs": "trainer.max_epochs",
    "net": "model",
    "network": "model",
    "num_epochs": "trainer.max_epochs",
    "opt": "optimizer",
    "out_dir": "output_dir",
    "output": "output_dir",
    "parent": "init",
    "path": "data.root",
    "root": "data.root",
    "size": "data.image_size",
    "wd": "optimizer.weight_decay",
    "weights": "model.checkpoint_path",
    "workers": "data.num_workers",
}
_OPTIONAL = ("experiment", "sweep")  # groups of which nothing need be chosen
_OF_SEVERAL = ("callbacks", "logger", "transforms")  # groups of which several may be chosen at once
# The package that each of Hydra's plugins needs.
_PLUGINS = {
    "optuna": "optuna", "joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit",
    "ray": "hydra_ray_launcher",
}  # fmt: skip


def refuse(argv: Sequence[str], config_name: str) -> None:
    """Refuse what Hydra would answer with its usage or a traceback: GNU's flags, no or several choices of a group.

    Raises:
        ConfigError: With what is meant, as far as that can be told.
    """
    options = compat.hydra_flags()
    for number, arg in enumerate(argv):
        if not re.match(r"--?[A-Za-z]", arg):
            continue
        flag, _, value = arg.partition("=")
        known = flag[:2] in options if flag[1] != "-" else any(option.startswith(flag) for option in options)
        if not known:
            following = argv[number + 1] if number + 1 < len(argv) else "..."
            key = flag.lstrip("-").replace("-", "_")
            value = value or ("..." if following.startswith("-") or "=" in following else following)
            meant = _meant(key, _known_keys(config_name))
            example = f"{meant}={value}" if meant else "optimizer.lr=0.1"
            raise ConfigError(
                f"{flag}: there is no such flag. Options are written key=value, without dashes: {example}. "
                f"--help lists them all."
            )
    if {"-m", "--multirun"}.intersection(argv) or any(arg.startswith("sweep=") for arg in argv):
        launch_check.refuse_sweep()
        for arg in argv:
            if arg.startswith("output_dir=") and "${" not in arg:
                raise ConfigError(
                    f"{arg}: all jobs of a sweep would write into this one folder. Name the sweep's folder instead, in "
                    f"which each job has its own: hydra.sweep.{arg.removeprefix('output_')}"
                )
    groups = group_names(conf_dir())
    for arg in argv:
        group, given, value = arg.partition("=")
        if not given or group not in groups or group in _OPTIONAL:
            continue
        choices = ", ".join(option_names(conf_dir(), group))
        if value in ("null", "") and config_name == "train":
            raise ConfigError(f"{arg}: one must be chosen.{_none(group)} There are: {choices}.")
        if value.startswith("[") and group not in _OF_SEVERAL:
            several = f" Several datasets at once: data=combined data.datasets={value}." if group == "data" else ""
            raise ConfigError(f"{arg}: one can be chosen, not a list: {group}=<name>.{several} There are: {choices}.")


def _none(group: str) -> str:
    if group == "callbacks":
        return f" {group}=default is the least; switch one of its parts off with {group}.<name>=null."
    return f" Choose {group}=none to do without." if "none" in option_names(conf_dir(), group) else ""


def explain(message: str, config_name: str) -> str:
    """Add the likely meaning to one of Hydra's messages on a wrong override."""
    ours = re.search(r"ConfigError raised while resolving interpolation: (.*)", message)
    if ours:
        return ours.group(1)
    if missing := re.search(r"Missing mandatory value: (\S+)", message):
        return f"{missing[1]}: needs a value: {missing[1]}=..."
    module = re.search(r"No module named '(\w+)", message)
    if module:
        return missing_package(module[1])
    option = re.search(r"Could not (?:find|load) '(.+)/([^/']+)'", message)
    if option:
        return _no_such_option(*option.groups())
    if several := re.search(r"Ambiguous value for argument '(.+?)'\n", message):
        key, _, value = several[1].partition("=")
        text = f"one list is {key}=[{value}], one text \"{key}='{value}'\""
        return f"{several[1]}: several values are a sweep, with -m; {text}."
    key = re.search(r"Could not override '([^']+)'", message)
    return _no_such_key(key[1], config_name) if key else message


def _no_such_option(group: str, name: str) -> str:
    if group.startswith("hydra/"):
        plugin = _PLUGINS.get(name)
        if plugin:
            return f"{group}={name}: {missing_package(plugin)}"
        known = [file.removesuffix(".yaml") for file in ConfigStore.instance().list(group)]
        known += [plugin for plugin in _PLUGINS if (plugin == "optuna") == (group == "hydra/sweeper")]
    else:
        known = option_names(conf_dir(), group)
    extra = ""
    if group == "model" and name in timm_models():
        extra = f" timm has a model of that name: model=timm model.name={name}."
    if group == "logger":
        extra = " Others of Lightning's are added: +logger.mine._target_=pytorch_lightning.loggers.<Name>Logger."
    known = sorted(set(known))
    return f"{group}={name}: no such option.{did_you_mean(name, known)}{extra} {group} can be: {', '.join(known)}."


def _no_such_key(name: str, config_name: str) -> str:
    known = _known_keys(config_name)
    if name in known:  # {a: 1} for a mapping that has no such key
        return f"{name}: it has no such key. One that is to be new in it is written +{name}.<key>=..."
    # First among the keys of the same group: `optimizer.lrr` means `optimizer.lr`.
    group, _, leaf = name.rpartition(".")
    folder = "data" if (config_name, group) == ("audit", "against") else group
    if group and folder in group_names(conf_dir()) and not any(k.startswith(f"{group}.") for k in known):
        choices = ", ".join(option_names(conf_dir(), folder))
        return f"{name}: choose the {folder} first: {group}=<one of {choices}> {name}=..."
    siblings = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == group}
    hint = did_you_mean(leaf, siblings).replace("'", f"'{group}." if group else "'", 1) if group else ""
    if not group and (meant := _meant(name, known)):
        hint = f" Did you mean '{meant}'?"
    hint = hint or did_you_mean(name, known)
    here = f" {group} has: {', '.join(siblings)}." if siblings and group else ""
    if folder in group_names(conf_dir()) and any(re.match("experiment=.*,", arg) for arg in sys.argv):
        # Hydra composes a sweep's config without what is swept over.
        here += f" Where a sweep chooses the experiment, choose the {folder} too: {group}=<one of them>."
    new = f" (A key that is to be new is written +{name}=...)" if group else ""
    return f"{name}: there is no such key.{hint}{here}{new}"


def _meant(word: str, known: Sequence[str]) -> str | None:
    """Return the key that a word without its group stands for, in this project or in others."""
    meant = _SYNONYMS.get(word.lower())
    if meant and meant.partition(".")[0] in {key.partition(".")[0] for key in known}:
        return meant
    keys = [key for key in known if key.rpartition(".")[2] == word]
    return min(keys, key=lambda key: key.count("."), default=None)  # rather a group's than one of its parts'


def _known_keys(config_name: str) -> list[str]:
    """Return every key of the config that the command's group choices compose, and the groups."""
    choices = [a for a in sys.argv[1:] if "=" in a and (conf_dir() / re.split("[=@]", a)[0].lstrip("+~")).is_dir()]
    choices = [a for a in choices if "," not in a]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            cfg = hydra.compose(config_name, overrides=choices)
        except HydraException:
            cfg = hydra.compose(config_name)
    return [*flat(OmegaConf.to_container(cfg, resolve=False)), *group_names(conf_dir())]
