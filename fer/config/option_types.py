"""Checks a whole config: keys that are missing or unknown, and every value's type and range.

A node's options are checked against the signature of its ``_target_`` (:mod:`fer.config.signatures`) and against
:mod:`fer.config.option_rules`.
"""

import ast
import importlib.util
import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fer.build import unknown_option
from fer.config import signatures
from fer.config.option_rules import rule
from fer.config.option_values import shown, wrong_value
from fer.errors import did_you_mean
from fer.extras import PRETRAINED, missing_package

# The groups that a training composes; the key of each has to be there.
GROUPS = ("data", "transforms", "model", "optimizer", "scheduler", "loss", "mixup", "trainer", "callbacks", "logger")
# Options that the program fills in; a config must not set them.
_GIVEN: dict[str, tuple[str, ...]] = {
    "data": ("seed", "transforms"),
    "against": ("seed", "transforms"),
    "model": ("num_classes", "in_channels", "image_size"),
    "model.head": ("num_classes", "in_features"),
    "loss": ("weight",),
    "scheduler": ("optimizer",),
    "trainer": ("callbacks", "logger", "plugins", "default_root_dir", "use_distributed_sampler"),
}
_GIVEN_IN_TRAINER = {
    "use_distributed_sampler": "The loaders share each batch between the devices themselves.",
    "callbacks": "They have a group of their own: +callbacks.<name>._target_=...",
    "logger": "It has a group of its own: +logger.<name>._target_=... (logger.tensorboard=null leaves one out).",
    "plugins": "It is what writes checkpoints whole or not at all.",
    "default_root_dir": "A run's folder is output_dir=<folder>.",
}
# Options that the program fills in unless the config sets them.
_FILLED_IN = {"scheduler": ("total_steps", "steps_per_epoch", "max_lr")}
# Keys of a node that are no options of its _target_.
_BESIDE_THE_TARGETS = {"scheduler": ("interval",), "loss": ("class_weights",), "model.head": ("pooling",)}
# Keys of a node that the program itself reads.
_NEEDED = {
    "optimizer": ("name", "lr", "weight_decay", "backbone_lr_factor", "layer_decay"),
    "scheduler": ("_target_", "interval"),
    "mixup": ("mixup_alpha", "cutmix_alpha"),
    "trainer": ("_target_", "accelerator", "devices", "precision", "max_epochs", "enable_progress_bar"),
    "data": ("_target_", "select_on_test"),
    "model": ("_target_",),
    "loss": ("_target_",),
}
_CLOSED = ("mixup",)  # groups with no other key than those
# Packages that are not installed with fer, by the class or word that needs them.
_PACKAGES = {
    "WandbLogger": "wandb",
    "MLFlowLogger": "mlflow",
    "RunOfMLflow": "mlflow",
    "CometLogger": "comet_ml",
    "NeptuneLogger": "neptune",
    "DeepSpeedStrategy": "deepspeed",
    "OptunaPruning": "optuna",
}


_TRUST_FOLDERS = ("test", "ensemble", "export")
"""Commands that may be told to build what somebody else's run folder names, by ``trust=true``."""


def wrong_values(config: Mapping[str, Any], primary: Path) -> list[str]:
    """Name every key that is missing or unknown, and every value of a wrong type or out of range.

    Args:
        config: The resolved config of a command.
        primary: The command's own config file: its keys, and the types of their defaults, are the command's.
    """
    own = _read(primary)
    training = primary.stem == "train"
    problems = _of_command(config, own, GROUPS if training else ("data", "against"), primary.stem)
    for key in GROUPS if training else ("data", "against"):
        node = config.get(key)
        if node is None:
            continue
        if not isinstance(node, Mapping):
            problems.append(f"{key}={shown(node)}: must be one of the group's choices, or {key}.<option>=...")
        elif key in ("transforms", "callbacks", "logger"):
            for name, part in node.items():
                if part is not None:
                    problems += _of_node(part, f"{key}.{name}", needs_target=True)
        else:
            problems += _of_node(node, key)
    return problems + _packages(config)


@cache
def _read(primary: Path) -> dict[str, Any]:
    own: dict[str, Any] = yaml.safe_load(primary.read_text())
    return own


def _of_command(config: Mapping[str, Any], own: Mapping[str, Any], groups: Collection[str], command: str) -> list[str]:
    """Check the keys that stand in no group."""
    training = command == "train"
    known = [key for key in own if key not in ("defaults", "hydra")]
    problems = []
    for key in [*known, *(groups if training else ())]:
        if key not in config or (key in groups and config[key] is None):
            problems.append(_missing(key, key in groups))
    for key, value in config.items():
        if key in groups:
            continue
        if key not in known:
            hint = did_you_mean(str(key), [*known, *groups])
            problems.append(f"{key}={shown(value)}: nothing reads this key.{hint}")
            continue
        needed = own[key] == "???"
        annotation = rule(key).annotation or _type_of(own[key])
        if key == "trust" and command in _TRUST_FOLDERS:
            annotation = "bool | Sequence[str]"
        if needed:
            annotation = (rule(key).annotation or "str").removesuffix(" | None")
        problems += wrong_value(key, value, rule(key), annotation)
        if key == "name" and training and value is None:
            problems.append("name=null: must be a text; the run's folder is called by it.")
    return problems


def _missing(key: str, group: bool) -> str:
    if key in ("callbacks", "logger"):
        return f"{key}: is missing. {key}=[default] is the least; switch off one of them with {key}.<name>=null."
    if group:
        none = f" Choose {key}=none to do without." if key in ("transforms", "mixup") else ""
        return f"{key}: is missing; it cannot be left out.{none}"
    return f"{key}: is missing. Do not delete it (~{key}); set it: {key}=..."


def _type_of(default: Any) -> str | None:
    """Return the type of a default as an annotation; None where it says nothing."""
    if default is None:
        return None
    return {bool: "bool", int: "int", float: "float", str: "str", list: "Sequence[str]", dict: "Mapping"}[type(default)]


def _of_node(node: Any, where: str, needs_target: bool = False) -> list[str]:
    """Check a node's options against the signature of its ``_target_``, and those of the nodes in it."""
    if not isinstance(node, Mapping):
        return [f"{where}={shown(node)}: needs a _target_ (an import path) and its options, or null to switch it off."]
    problems = [f"{where}.{key} is missing: {where}.{key}=..." for key in _NEEDED.get(where, ()) if key not in node]
    if needs_target and "_target_" not in node:
        return [f"{where}._target_ is missing: an import path such as my_package.MyClass."]
    target = node.get("_target_")
    if target is not None and not isinstance(target, str):
        return [f"{where}._target_={shown(target)}: must be an import path such as my_package.MyNet."]
    signature = signatures.read(target) if target and target != "???" else None
    if where == "model.head":
        signature = signatures.read("fer.models.head.Head")
    for key, value in node.items():
        if not re.fullmatch(r"_\w+_", str(key)):
            problems += _of_option(where, str(key), value, signature, str(target))
    if signature and "_args_" not in node:
        not_needed = {*_GIVEN.get(where, ()), *_FILLED_IN.get(where, ())}
        lacking = sorted(signature.required - not_needed - node.keys())
        problems += [f"{where}.{key} is missing: {signature.name} needs it" for key in lacking]
    return problems


def _of_option(where: str, key: str, value: Any, signature: signatures.Signature | None, target: str) -> list[str]:
    """Check one option of a node."""
    given, beside = _GIVEN.get(where, ()), _BESIDE_THE_TARGETS.get(where, ())
    full = f"{where}.{key}"
    if where in _CLOSED and key not in _NEEDED[where]:
        return [str(unknown_option(full, where, _NEEDED[where]))]
    if key in given:
        why = f" {_GIVEN_IN_TRAINER[key]}" if where == "trainer" else ""
        return [f"{full}: is filled in by the program; leave it out.{why}"]
    annotation = rule(full, target).annotation
    if signature:
        known = [name for name in signature.annotations if name not in given]
        if key not in known and key not in beside and not signature.takes_any:
            return [str(unknown_option(full, signature.name, [*known, *beside]))]
        declared = signature.annotations.get(key)
        if declared is not None:
            annotation = annotation or ast.unparse(declared)
    if full == "model.head" and isinstance(value, Mapping):
        return _of_node(value, full)
    if isinstance(value, Mapping) and "_target_" in value:
        return _of_node(value, full)
    return wrong_value(full, value, rule(full, target), annotation)


def _packages(config: Mapping[str, Any]) -> list[str]:
    """Name the packages that are asked for and not installed."""
    problems = []
    for group in ("logger", "callbacks"):
        for name, node in (config.get(group) or {}).items() if isinstance(config.get(group), Mapping) else ():
            target = str(node.get("_target_", "")).rpartition(".")[2] if isinstance(node, Mapping) else ""
            problems += _package(f"{group}.{name}", _PACKAGES.get(target))
    model = config.get("model")
    if isinstance(model, Mapping) and not any((model.get("checkpoint_path"), config.get("ckpt"), config.get("init"))):
        weights = PRETRAINED.get(str(model.get("name"))) if model.get("pretrained") is True else None
        if weights and importlib.util.find_spec(weights) is None:
            problems.append(f"model.pretrained=true: {missing_package(weights)}")
    trainer = config.get("trainer")
    if isinstance(trainer, Mapping):
        if trainer.get("accelerator") == "tpu":
            problems += _package("trainer.accelerator=tpu", "torch_xla")
        if str(trainer.get("strategy")).startswith("deepspeed"):
            problems += _package(f"trainer.strategy={trainer['strategy']}", "deepspeed")
    return problems


def _package(key: str, package: str | None) -> list[str]:
    if package is None or importlib.util.find_spec(package) is not None:
        return []
    return [f"{key}: {missing_package(package)}"]
