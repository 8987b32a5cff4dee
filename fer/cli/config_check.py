"""Checks a config before torch is imported: types, ranges, names, paths. All problems are named at once."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

from fer.cli import launch_check, method_check, run_check, starting
from fer.config import option_types
from fer.config.groups import conf_dir, flat
from fer.config.timm_names import timm_models, timm_optimizers
from fer.data.labels import EMOTIONS, canonical
from fer.errors import ConfigError, LabelError, did_you_mean
from fer.files import hub, run_folder
from fer.files.home import expanded
from fer.scores.registry import each_epoch, reported

log = logging.getLogger(__name__)


def check(cfg: DictConfig) -> None:
    """Refuse a config that cannot work.

    Raises:
        ConfigError: Naming every key that is wrong, its value, and what is allowed.
    """
    try:
        config = cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: needs a value: {error.full_key}=...") from error
    except InterpolationResolutionError as error:
        if gone := re.search(r"Interpolation key '([\w.]+)' not found", str(error)):
            raise ConfigError(f"{gone[1]} is missing: {gone[1]}=... ({error.full_key} follows it.)") from error
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    primary = conf_dir() / f"{HydraConfig.get().job.config_name}.yaml"
    problems = option_types.wrong_values(config, primary)
    if not problems:  # what is below counts on it
        values = flat(config)
        problems = launch_check.wrong(config) + _wrong_name(config.get("name"))
        problems += _wrong_names(values, config) + _wrong_together(values) + _idle_reasons(config)
        if primary.stem == "train":
            problems += run_check.wrong(config) + method_check.wrong(config)
    if problems:
        raise ConfigError("\n  ".join(problems) if len(problems) == 1 else "\n  ".join(["", *problems]))


def _wrong_name(name: object) -> list[str]:
    try:
        folder_name("x" if name is None else name)
    except ConfigError as error:
        return [str(error)]
    return []


def _wrong_names(values: Mapping[str, Any], config: Any) -> list[str]:
    problems = []
    classes = (config.get("data") or {}).get("classes") or []
    own_classes = _own_classes(config.get("data") or {})
    for name in classes if not own_classes else ():  # those of the dataset's own are known when it is read
        try:
            canonical(str(name))
        except LabelError as error:
            problems.append(f"data.classes: {error}")
    problems += _wrong_parts(config)
    if values.get("score", reported()[0]) not in reported():
        problems.append(f"score={values['score']}: must be one of {', '.join(reported())}.")
    monitor = str(config.get("monitor", "val/loss"))
    split, _, score = monitor.partition("/")
    if split == "test":
        problems.append(
            f"monitor={monitor}: a checkpoint is not chosen on the test split. Use val/{score}. (To repeat a published "
            f"result that was, data.select_on_test=true does so, and says so on everything that the run leaves.)"
        )
    elif split != "val" or (
        score not in each_epoch()
        and score.removeprefix("f1/") not in EMOTIONS
        and not (own_classes and score.startswith("f1/"))
    ):
        known = [f"val/{name}" for name in each_epoch()]
        problems.append(
            f"monitor={monitor}: no such score.{did_you_mean(monitor, known)} "
            f"Known: {', '.join(known)}, val/f1/<class>."
        )
    timm_key = {"timm_model": "model.name", "fusion": "model.backbones"}.get(
        str(values.get("model._target_", "")).removeprefix("fer.models.").partition(".")[0], ""
    )
    architectures = values.get(timm_key) or []
    for name in architectures if isinstance(architectures, list) else [architectures]:
        models = timm_models()
        if models and str(name).partition(".")[0] not in models:
            problems.append(f"{timm_key}={name}: timm has no such model.{did_you_mean(str(name), models)}")
    name = values.get("optimizer.name")
    if name is not None:
        optimizers = timm_optimizers()
        if optimizers and str(name).lower() not in optimizers:
            problems.append(f"optimizer.name={name}: no such optimiser.{did_you_mean(str(name), optimizers)}")
    return problems


def _wrong_parts(config: Any) -> list[str]:
    """Name the parts of combined datasets that do not exist, and their options that are wrong or have no effect."""
    from fer.config import parts  # which finds configs by this module

    problems = []
    default = yaml.safe_load((conf_dir() / "data" / "_loading.yaml").read_text())
    for key in ("data", "against"):
        node = config.get(key) or {}
        said = {option: node[option] for option, value in default.items() if node.get(option, value) != value}
        for name in node.get("datasets") or []:
            try:
                parts.options(str(name), (node.get("options") or {}).get(name) or {}, said)
            except ConfigError as error:
                problems.append(str(error).strip())
    return problems


def _own_classes(data: Mapping[str, Any]) -> bool:
    """Say whether a dataset, or one of combined ones, has classes of its own, beside or instead of the emotions."""
    parts = data.get("options")
    options = [part for part in parts.values() if isinstance(part, Mapping)] if isinstance(parts, Mapping) else []
    shards = "fer.datasets.shards.Shards"  # whose files say what they are
    return any(part.get("own_classes") is True or part.get("_target_") == shards for part in (data, *options))


def _wrong_together(values: Mapping[str, Any]) -> list[str]:
    """Name options that exclude each other, or with which a run would leave no result."""
    problems = []
    strategy = str(values.get("trainer.strategy.start_method", values.get("trainer.strategy")))
    if re.search("spawn|fork|notebook", strategy):
        problems.append(
            f"trainer.strategy={strategy}: the best score and checkpoint would be lost with the processes that it "
            f"starts. Use trainer.strategy=ddp (on CPUs trainer=ddp_cpu)."
        )
    sharded = "fsdp" in str(values.get("trainer.strategy._target_", values.get("trainer.strategy"))).lower()
    if sharded and "muon" in str(values.get("optimizer.name")).lower():
        problems.append(
            f"optimizer.name={values['optimizer.name']}: FSDP flattens the matrices that it makes orthogonal. Use "
            f"another optimiser, or trainer.strategy=ddp."
        )
    if sharded and any(key.startswith("callbacks.ema.") for key in values):
        problems.append(
            "callbacks.ema: averages whole weights, which FSDP cuts into pieces. Leave it out (callbacks.ema=null), or "
            "use trainer.strategy=ddp."
        )
    if values.get("trainer.strategy.use_orig_params") is False:
        problems.append(
            "trainer.strategy.use_orig_params=false: weights that FSDP flattens into one tensor cannot each have "
            "their own weight decay and learning rate. Leave it out."
        )
    if values.get("frame") and values.get("corruptions", False) is not False:
        problems.append(
            f"frame={values['frame']}: does not go with corruptions, which are of the images as they are. Test without "
            f"one of them, then without the other."
        )
    if values.get("explain") is True and values.get("annotated") == 0:
        problems.append(
            "explain=true: is drawn for annotated pictures alone, and annotated=0 writes none. Say annotated=<number>, "
            "or leave explain out."
        )
    if "MultiTarget" not in str(values.get("loss._target_", "MultiTarget")):
        problems += [
            f"{key}=multi_target: its targets are no distribution; it needs loss=multi_target."
            for key, value in values.items()
            if value == "multi_target" and re.fullmatch(r"data\.(options\.\w+\.)?mode", key)
        ]
    return problems


def _idle_reasons(config: Any) -> list[str]:
    """Name an audit's reasons to leave images out that find none, because what they need is switched off."""
    asked = config.get("exclude")
    if not isinstance(asked, list):
        return []
    explicit = any(override.startswith("exclude=") for override in HydraConfig.get().overrides.task)
    if "in_against" in asked and explicit and config.get("against") is None:
        log.warning("exclude: in_against leaves out nothing without a second dataset: against=<data>.")
    near = ("copies", "exact", "near")
    needs = {
        "suspect_labels": ("suspect_labels", False, "true"), "near_redundant": near, "near_conflicting_labels": near,
    }  # fmt: skip
    return [
        f"exclude: '{reason}' leaves out nothing with {key}={str(value).lower()}. Say {key}={instead}, or leave "
        f"{reason} out of exclude."
        for reason, (key, value, instead) in needs.items()
        if reason in asked and config.get(key) == value
    ]


def check_paths(cfg: DictConfig) -> None:
    """Refuse a config that names a file or folder to read which is not there.

    Raises:
        ConfigError: Naming every such key, and what should be there.
    """
    config = cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True))
    choices = HydraConfig.get().runtime.choices
    problems = _missing_runs(config) if "runs" in config else _missing_checkpoint(config)
    for key, choice in (("data", choices.get("data")), ("against", choices.get("data@against"))):
        node = config.get(key) or {}
        parts = {key: (choice, node)}
        for name in node.get("datasets") or []:
            parts[f"{key}.options.{name}"] = (name, (node.get("options") or {}).get(name) or {})
        for where, (name, options_given) in parts.items():
            problems += _missing_data(where, name, options_given)
    probabilities = config.get("probabilities")
    if probabilities is not None and not expanded(probabilities).is_file():
        problems.append(f"probabilities={probabilities}: no such file.")
    if config.get("ckpt") is None:  # a checkpoint's own weights win
        problems += _wrong_weights((config.get("model") or {}).get("checkpoint_path"))
    problems += starting.wrong(config) + method_check.missing(config)
    if problems:
        raise ConfigError("\n  ".join(problems))


def _wrong_weights(value: Any) -> list[str]:
    if value is None:
        return []
    path = expanded(value)
    if path.is_dir() or (path.parent.name == "checkpoints" and (path.parents[1] / "run.yaml").is_file()):
        return [
            f"model.checkpoint_path={value}: a model of fer's own is given by init={value}: its network comes along."
        ]
    return [] if path.is_file() else [f"model.checkpoint_path={value}: no such file."]


def _missing_runs(config: Mapping[str, Any]) -> list[str]:
    runs = config["runs"] if isinstance(config["runs"], list) else [config["runs"]]
    return [f"runs={run}: there is no such folder." for run in runs if not expanded(run).is_dir()]


def _missing_checkpoint(config: Mapping[str, Any]) -> list[str]:
    problems = []
    for key in ("ckpt", "compare"):
        path = config.get(key)
        if path is not None and hub.is_address(path):
            problems += hub.wrong_address(key, path)
        elif path is not None and not expanded(path).exists():
            problems.append(run_folder.no_checkpoint(Path(path), key))
    return problems


def _missing_data(where: str, choice: str | None, node: Mapping[str, Any]) -> list[str]:
    """Name a dataset's folder that is not there, with what its config file says should be in it."""
    file = conf_dir() / "data" / f"{choice}.yaml"
    said = re.search(r"^root: (\S+) *# *(.*)$", file.read_text(), re.MULTILINE) if file.is_file() else None
    root = node.get("root") or (said[1] if said else None)
    problems = []
    behind_url = choice == "shards" and "://" in str(root)
    if root is not None and root != "???" and not behind_url and not expanded(root).exists():
        problems.append(
            f"{where}.root={root}: dataset '{choice}' was not found; there is no {expanded(root).absolute()}."
            + (f" Expected: {said[2]}." if said else "")
            + _source(str(node.get("_target_")))
            + f" Then name it with {where}.root=<folder>."
        )
    for key in ("exclude", "votes"):
        path = node.get(key)
        if path is not None and not expanded(path).is_file():
            problems.append(f"{where}.{key}={path}: no such file.")
    return problems


def _source(target: str) -> str:
    """Return where a dataset comes from, read from its source code: importing it would load torch."""
    module = target.rpartition(".")[0]
    path = Path(__file__).parents[1] / "datasets" / f"{module.rpartition('.')[2]}.py"
    if not module.startswith("fer.datasets.") or not path.is_file():
        return ""
    page = re.search(r'^(?:SOURCE|    source) = "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    return f" Source: {page[1]}." if page else ""


def folder_name(name: object) -> str:
    """Return a run's name if a folder below ``outputs`` may have it.

    Raises:
        ConfigError: If it leads elsewhere, or holds what terminals, pages and shells take for more than text.
    """
    text = str(name)
    parts = text.split("/")
    if (
        any(part.strip() in ("", ".", "..") or len(part.encode(errors="replace")) > 200 for part in parts)
        or not text.isprintable()
        or re.search(r"[][<>$`\\\"|*?]", text)
        or text.startswith(("~", "-"))
    ):
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        raise ConfigError(
            f"name={shown}: names a folder in outputs. It may hold letters, digits, spaces and most signs, and / for a "
            f'folder in it; not .., no leading / ~ or -, no control characters and none of [ ] < > $ ` \\ " | * ?.'
        )
    return text
