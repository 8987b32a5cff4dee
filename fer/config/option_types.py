"""Types and ranges of every option: what its component's own signature says, and the tables below."""

import ast
import importlib.util
import os
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from math import inf, isfinite
from pathlib import Path
from typing import Any

import yaml

from fer.build import unknown_option
from fer.config import signatures
from fer.errors import did_you_mean

# The groups that a training composes; the key of each has to be there.
GROUPS = ("data", "transforms", "model", "optimizer", "scheduler", "loss", "mixup", "trainer", "callbacks", "logger")

PRECISIONS = (
    "32-true", "32", "64-true", "64", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "transformer-engine",
    "transformer-engine-float16",
)  # fmt: skip
_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
_POOLINGS = "Literal['avg', 'max', 'avgmax', 'flatten']"

# Types that no signature says, or says too loosely. `*` stands for one part of a key.
_TYPES: dict[str, str] = {
    "name": "str | int | float | None",
    "ckpt": "str | None",
    "runs": "str | Sequence[str]",
    "subjects": "str | None",
    "probabilities": "str | None",
    "optimizer.name": "str",
    "optimizer.lr": "float",
    "optimizer.weight_decay": "float",
    "optimizer.momentum": "float",
    "optimizer.nesterov": "bool",
    "optimizer.betas": "Sequence[float]",
    "optimizer.eps": "float | None",
    "optimizer.backbone_lr_factor": "float",
    "optimizer.layer_decay": "float | None",
    "mixup.mixup_alpha": "float",
    "mixup.cutmix_alpha": "float",
    "loss.class_weights": "Literal['balanced'] | Sequence[float] | None",
    "scheduler.interval": "Literal['step', 'epoch']",
    "data.fit": "Literal['pad', 'crop', 'stretch'] | None",
    "data.sampler": "Literal['shuffle', 'weighted']",
    "data.channels": "Literal[1, 3] | None",
    "data.folds": "int | Literal['loso']",
    "model.pooling": f"{_POOLINGS} | None",
    "model.head.pooling": f"{_POOLINGS} | None",
    "model.padding": "Literal['same', 'valid']",
    "trainer.gradient_clip_algorithm": "Literal['norm', 'value'] | None",
    "trainer.deterministic": "Literal['warn'] | bool | None",
    "trainer.accelerator": "str",
    "trainer.enable_progress_bar": "bool",
    "trainer.precision": "str | int | None",
    "logger.*.save_dir": "str",
    "callbacks.*.mode": "Literal['min', 'max']",
}  # fmt: skip
# The blocks of a plain network may each have a pooling of their own.
_TYPES_OF_TARGET = {
    ("fer.models.cnn.CNN", "model.pooling"): "Literal['max', 'avg'] | Sequence[Literal['max', 'avg'] | None] | None"
}

# key: lowest, whether the lowest itself is allowed, highest, whether the highest is. Of a list, each number is meant.
_ABOVE_0 = (0, False, inf, True)
_FROM_0 = (0, True, inf, True)
_FROM_1 = (1, True, inf, True)
_SHARE = (0, True, 1, True)
_RATE = (0, True, 1, False)
_RANGES: dict[str, tuple[float, bool, float, bool]] = {
    "optimizer.lr": _ABOVE_0,
    "optimizer.weight_decay": _FROM_0,
    "optimizer.momentum": _RATE,
    "optimizer.betas": _RATE,
    "optimizer.eps": _FROM_0,
    "optimizer.backbone_lr_factor": (0, False, 100, True),
    "optimizer.layer_decay": (0, False, 1, True),
    "scheduler.warmup_epochs": _FROM_0,
    "scheduler.min_factor": _SHARE,
    "scheduler.step_size": _FROM_1,
    "scheduler.gamma": (0, False, 10, True),
    "scheduler.factor": _SHARE,
    "scheduler.total_iters": _FROM_0,
    "scheduler.patience": _FROM_0,
    "scheduler.cooldown": _FROM_0,
    "scheduler.threshold": _FROM_0,
    "scheduler.min_lr": _FROM_0,
    "scheduler.base_lr": _FROM_0,
    "scheduler.max_lr": _ABOVE_0,
    "scheduler.step_size_up": _FROM_1,
    "scheduler.step_size_down": _FROM_1,
    "scheduler.pct_start": (0, False, 1, False),
    "scheduler.div_factor": _ABOVE_0,
    "scheduler.final_div_factor": _ABOVE_0,
    "scheduler.total_steps": _FROM_1,
    "loss.label_smoothing": _RATE,
    "loss.class_weights": _FROM_0,
    "loss.gamma": _FROM_0,
    "loss.epsilon": (0, False, 1, True),
    "mixup.mixup_alpha": _FROM_0,
    "mixup.cutmix_alpha": _FROM_0,
    "data.batch_size": _FROM_1,
    "data.num_workers": (0, True, max(64, 4 * (os.cpu_count() or 1)), True),
    "data.image_size": (1, True, 4096, True),
    "data.mean": _SHARE,
    "data.std": (0, False, 1, True),
    "data.val_fraction": (0, True, 0.9, True),
    "data.test_fraction": (0, True, 0.9, True),
    "data.fold": _FROM_0,
    "data.folds": (2, True, inf, True),
    "data.num_samples": _FROM_1,
    "data.generator_seed": _FROM_0,
    "data.last_frames": _FROM_1,
    "data.min_confidence": (0, True, 100, True),
    "model.filters": _FROM_1,
    "model.convs_per_block": _FROM_1,
    "model.kernel_size": _FROM_1,
    "model.hidden": _FROM_1,
    "model.dropout": _RATE,
    "model.image_sizes": (1, True, 4096, True),
    "model.head.hidden": _FROM_1,
    "model.head.dropout": _RATE,
    "transforms.*.p": _SHARE,
    "transforms.*.blur_limit": (0, True, 999, True),
    "trainer.num_nodes": _FROM_1,
    "trainer.max_epochs": _FROM_1,
    "trainer.min_epochs": _FROM_0,
    "trainer.max_steps": _FROM_1,
    "trainer.min_steps": _FROM_0,
    "trainer.accumulate_grad_batches": _FROM_1,
    "trainer.gradient_clip_val": _FROM_0,
    "trainer.limit_train_batches": _ABOVE_0,
    "trainer.limit_val_batches": _FROM_0,
    "trainer.overfit_batches": _FROM_0,
    "trainer.val_check_interval": _ABOVE_0,
    "trainer.check_val_every_n_epoch": _FROM_1,
    "trainer.log_every_n_steps": _FROM_0,
    "trainer.num_sanity_val_steps": _FROM_0,
    "trainer.fast_dev_run": _FROM_0,
    "trainer.reload_dataloaders_every_n_epochs": _FROM_0,
    "callbacks.early_stopping.patience": _FROM_0,
    "callbacks.early_stopping.min_delta": _FROM_0,
    "callbacks.ema.decay": _SHARE,
    "callbacks.ema.update_every_n_steps": _FROM_1,
    "callbacks.ema.update_starting_at_step": _FROM_0,
    "callbacks.ema.update_starting_at_epoch": _FROM_0,
    "callbacks.finetuning.epoch": _FROM_0,
    "callbacks.progressive_resizing.image_size": (1, True, 4096, True),
    "callbacks.progressive_resizing.share": (0, False, 1, True),
    "callbacks.samples.num_images": _FROM_1,
    "callbacks.progress.refresh_rate": _FROM_0,
    "callbacks.pruning.startup_trials": _FROM_0,
    "callbacks.pruning.warmup_epochs": _FROM_0,
    "seed": (0, True, 2**32 - 1, True),
    "images": _FROM_1,
    "tolerance": _ABOVE_0,
    "max_drop": _SHARE,
    "resamples": (0, True, 100_000, True),
    "mistakes": (0, True, 1000, True),
    "similarity": (0.65, True, 1, True),
    "dark": _SHARE,
    "bright": _SHARE,
    "folds": (2, True, 100, True),
    "pictures": (0, True, 1000, True),
    "image_size": (16, True, 4096, True),
    "margin": (0.5, True, 5, True),
    "min_size": (0, True, 4096, True),
}
# Numbers below the range that mean something of their own.
_BESIDE = {"trainer.max_epochs": -1, "trainer.max_steps": -1, "trainer.num_sanity_val_steps": -1}
# Of these a float is a share of all batches: at most 1.
_SHARES = ("trainer.limit_train_batches", "trainer.limit_val_batches", "trainer.overfit_batches")

_CHOICES: dict[str, tuple[Any, ...]] = {
    "select_by": ("score", "gap"),
    "tta": ("none", "flip", "shift", "tencrop"),
    "split": (None, "train", "val", "test", "all"),
    "accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "copies": ("exact", "near"),
    "frame": (None, "match"),
    "several": ("largest", "all", "none"),
    "format": ("onnx", "torch_export", "safetensors"),
}
# Of keys that are lists, what may stand in them.
_ITEMS: dict[str, tuple[str, ...]] = {
    "exclude": (
        "copies_across_splits", "redundant", "near_redundant", "conflicting_labels", "near_conflicting_labels",
        "in_against", "flat", "dark", "bright", "suspect_labels",
    ),
    "exclude_from": ("train", "val", "test"),
    "data.angles": ("FL", "HL", "S", "HR", "FR"),
}  # fmt: skip
_NOT_EMPTY = (
    "model.filters",
    "model.backbones",
    "data.datasets",
    "data.classes",
    "data.angles",
    "optimizer.betas",
    "runs",
)

_PATHS = ("ckpt", "output_dir", "runs", "probabilities", "checkpoint_path", "cache_dir", "exclude", "votes", "root")

# What a component gets from the program and no config may say.
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
# What the program fills in where the config does not.
_FILLED_IN = {"scheduler": ("total_steps", "steps_per_epoch", "max_lr")}
# What stands in a node beside the options of what is built.
_BESIDE_THE_TARGETS = {"scheduler": ("interval",), "loss": ("class_weights",), "model.head": ("pooling",)}
# What the program itself reads of a node.
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
# Their ** go on to what refuses every other option, but only when the training begins.
_TAKES_NO_OTHER = ("EMAWeightAveraging",)
# Packages that our own do not bring along, by the class or word that needs them.
_PACKAGES = {
    "WandbLogger": "wandb",
    "MLFlowLogger": "mlflow",
    "CometLogger": "comet_ml",
    "NeptuneLogger": "neptune",
    "DeepSpeedStrategy": "deepspeed",
    "OptunaPruning": "optuna",
}


def wrong_values(config: Mapping[str, Any], primary: Path) -> list[str]:
    """Name every key that is missing or unknown, and every value of a wrong type or out of range.

    Args:
        config: The resolved config of a command.
        primary: The command's own config file: its keys, and the types of their defaults, are the command's.
    """
    own = _read(primary)
    training = primary.stem == "train"
    problems = _of_command(config, own, GROUPS if training else ("data", "against"), training)
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


def shown(value: Any) -> str:
    """Return a value as the command line writes it."""
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{shown(item)}' for key, item in value.items())}}}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _of_command(
    config: Mapping[str, Any], own: Mapping[str, Any], groups: Collection[str], training: bool
) -> list[str]:
    """Check the keys that stand in no group."""
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
        problems += _of_value(key, value, "str" if needed else _TYPES.get(key) or _type_of(own[key]))
        if key == "name" and training and value is None:
            problems.append("name=null: must be a text; the run's folder is called by it.")
    return problems


def _missing(key: str, group: bool) -> str:
    if key in ("callbacks", "logger"):
        return f"{key}: is missing. {key}=[default] is the least; switch one of them off with {key}.<name>=null."
    if group:
        none = f" {key}=none is none." if key in ("transforms", "mixup") else ""
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
    annotation = _TYPES_OF_TARGET.get((target, full)) or _lookup(_TYPES, full)
    if signature:
        known = [name for name in signature.annotations if name not in given]
        closed = not signature.takes_any or signature.name in _TAKES_NO_OTHER
        if key not in known and key not in beside and closed:
            return [str(unknown_option(full, signature.name, [*known, *beside]))]
        declared = signature.annotations.get(key)
        if declared is not None:
            annotation = annotation or ast.unparse(declared)
    if full == "model.head" and isinstance(value, Mapping):
        return _of_node(value, full)
    if isinstance(value, Mapping) and "_target_" in value:
        return _of_node(value, full)
    return _of_value(full, value, annotation)


def _lookup(table: Mapping[str, Any], key: str) -> Any:
    key = re.sub("^against\\.", "data.", key)
    if key in table:
        return table[key]
    return next((value for pattern, value in table.items() if "*" in pattern and fnmatchcase(key, pattern)), None)


def _of_value(key: str, value: Any, annotation: str | None) -> list[str]:
    """Check one value: its type, then its range, its choices, its items."""
    if endless := [number for number in _numbers(value) if not isfinite(number)]:
        return [f"{key}={shown(value)}: must be a finite number, not {endless[0]}."]
    kinds = signatures.kinds(annotation) if annotation else ()
    if key in _CHOICES:
        return _not_among(key, value, _CHOICES[key])
    if key.endswith("precision") and isinstance(value, str | int) and not isinstance(value, bool):
        return _not_among(key, str(value), PRECISIONS)
    if kinds and not any(kind.fits(value) for kind in kinds):
        return [f"{key}={shown(value)}: must be {_allowed(key, value, kinds)}"]
    if key == "trainer.accelerator" and isinstance(value, str):
        return _not_among(key, value, _ACCELERATORS)
    if key == "trainer.devices":
        return _wrong_devices(value)
    if key == "trainer.max_time" and value is not None:
        return _wrong_time(value)
    if value == [] and key in _NOT_EMPTY:
        return [f"{key}=[]: needs at least one."]
    if value == "" and key.rpartition(".")[2] in _PATHS:
        return [f"{key}=: needs a path{', or null for none' if key not in ('output_dir', 'runs') else ''}."]
    if items := _ITEMS.get(key):
        return [
            f"{key}: '{shown(item)}' must be one of {', '.join(items)}.{did_you_mean(str(item), items)}"
            for item in value
            if item not in items
        ]
    return _out_of_range(key, value)


def _allowed(key: str, value: Any, kinds: Sequence[signatures.Kind]) -> str:
    words = [kind.words for kind in kinds]
    text = " or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} or {words[-1]}"
    if isinstance(value, list | Mapping) or value is None:
        return f"{text}."
    if any(word.startswith("a list of") for word in words):
        text += f": {key}=[{shown(value)},...]"
    choices = [str(choice) for kind in kinds for choice in kind.choices]
    return f"{text}.{did_you_mean(shown(value), choices)}"


def _not_among(key: str, value: Any, allowed: tuple[Any, ...]) -> list[str]:
    if any(value == choice and type(value) is type(choice) for choice in allowed):
        return []
    hint = did_you_mean(str(value), map(str, allowed))
    return [f"{key}={shown(value)}: must be one of {', '.join(map(shown, allowed))}.{hint}"]


def _numbers(value: Any) -> list[float]:
    """Return the numbers in a value, which may be a list or a nest of options."""
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, Mapping):
        return _numbers(list(value.values()))
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def _out_of_range(key: str, value: Any) -> list[str]:
    bounds = _lookup(_RANGES, key)
    if bounds is None or isinstance(value, Mapping):
        return []
    low, low_allowed, high, high_allowed = bounds
    if key in _SHARES and isinstance(value, float):
        high = 1
    beside = _BESIDE.get(key)
    for number in _numbers(value):
        above = number > low or (low_allowed and number == low)
        below = number < high or (high_allowed and number == high)
        if (above and below) or number == beside:
            continue
        limits = [f"{'at least' if low_allowed else 'above'} {low:g}"]
        if high < 2**31:
            limits.append(f"{'at most' if high_allowed else 'below'} {high:g}")
        special = f", or {beside}" if beside is not None else ""
        batches = (
            " (a share of the batches; a number of them is a whole number)" if high == 1 and key in _SHARES else ""
        )
        return [f"{key}={shown(value)}: must be {' and '.join(limits)}{special}{batches}."]
    return []


def _wrong_devices(value: Any) -> list[str]:
    numbers = _numbers(value)
    if isinstance(value, list):
        fine = bool(numbers) and min(numbers) >= 0 and len(set(numbers)) == len(numbers)
    elif isinstance(value, str):
        fine = re.fullmatch(r"auto|-1|\d+(,\d+)*,?", value.replace(" ", "")) is not None
    else:
        fine = value == -1 or 1 <= value <= 1024
    wanted = "a number of devices from 1, a list of their indices ([0,1]), -1 for all, or auto"
    return [] if fine else [f"trainer.devices={shown(value)}: must be {wanted}."]


def _wrong_time(value: Any) -> list[str]:
    units = ("days", "hours", "minutes", "seconds", "weeks")
    if isinstance(value, Mapping):
        fine = bool(value) and all(key in units and _numbers(number) == [number] for key, number in value.items())
        long = fine and sum(value.values()) > 0
    else:
        fine = isinstance(value, str) and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value.strip()) is not None
        long = fine and any(part.strip("0") for part in value.split(":"))
    if long:
        return []
    return [f"trainer.max_time={shown(value)}: must be days:hours:minutes:seconds, more than none: 00:08:00:00."]


def _packages(config: Mapping[str, Any]) -> list[str]:
    """Name the packages that are asked for and not installed."""
    problems = []
    for group in ("logger", "callbacks"):
        for name, node in (config.get(group) or {}).items() if isinstance(config.get(group), Mapping) else ():
            target = str(node.get("_target_", "")).rpartition(".")[2] if isinstance(node, Mapping) else ""
            problems += _package(f"{group}.{name}", target, _PACKAGES.get(target))
    trainer = config.get("trainer")
    if isinstance(trainer, Mapping):
        if trainer.get("accelerator") == "tpu":
            problems += _package("trainer.accelerator=tpu", "it", "torch_xla")
        if str(trainer.get("strategy")).startswith("deepspeed"):
            problems += _package(f"trainer.strategy={trainer['strategy']}", "it", "deepspeed")
    return problems


def _package(key: str, what: str, package: str | None) -> list[str]:
    if package is None or importlib.util.find_spec(package) is not None:
        return []
    return [f"{key}: {what} needs the package {package}: pip install {package.replace('_', '-')}"]
