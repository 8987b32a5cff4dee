"""What a config must fulfil, checked before torch is imported: types, ranges, names. All that is wrong at once."""

import importlib.util
import logging
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

from fer.data.labels import EMOTIONS, canonical
from fer.errors import ConfigError, LabelError, did_you_mean

log = logging.getLogger(__name__)

SCORES = ("loss", "accuracy", "balanced_accuracy", "f1_macro")
PRECISIONS = (
    "32-true", "32", "64-true", "64", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "transformer-engine",
    "transformer-engine-float16",
)  # fmt: skip

# key: (lowest, whether the lowest itself is allowed, highest)
_RANGES: dict[str, tuple[float, bool, float]] = {
    "optimizer.lr": (0, False, float("inf")),
    "optimizer.weight_decay": (0, True, float("inf")),
    "optimizer.momentum": (0, True, 1),
    "optimizer.backbone_lr_factor": (0, False, 100),
    "optimizer.layer_decay": (0, False, 1),
    "data.batch_size": (1, True, float("inf")),
    "data.num_workers": (0, True, max(64, 4 * (os.cpu_count() or 1))),
    "data.image_size": (1, True, 4096),
    "data.val_fraction": (0, True, 0.9),
    "data.test_fraction": (0, True, 0.9),
    "loss.label_smoothing": (0, True, 0.999),
    "mixup.mixup_alpha": (0, True, float("inf")),
    "mixup.cutmix_alpha": (0, True, float("inf")),
    "seed": (0, True, 2**32 - 1),
    "resamples": (0, True, 100_000),
    "mistakes": (0, True, 1000),
    "similarity": (0.65, True, 1),
    "dark": (0, True, 1),
    "bright": (0, True, 1),
    "folds": (2, True, 100),
    "pictures": (0, True, 1000),
}
_CHOICES: dict[str, tuple[Any, ...]] = {
    "data.channels": (None, 1, 3),
    "data.fit": (None, "pad", "crop", "stretch"),
    "data.sampler": ("shuffle", "weighted"),
    "data.select_on_test": (True, False),
    "select_by": ("score", "gap"),
    "tta": ("none", "flip", "shift", "tencrop"),
    "split": (None, "train", "val", "test", "all"),
    "score": ("accuracy", "balanced_accuracy", "f1_macro"),
    "accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "copies": ("exact", "near"),
}
# Of keys that are numbers, the words that may stand there instead.
_WORDS: dict[str, tuple[str, ...]] = {"data.folds": ("loso",)}
# Options of Lightning's Trainer that would be put aside, as the program sets them itself.
_OURS_IN_TRAINER = {
    "use_distributed_sampler": "the loaders share each batch between the devices themselves. Leave it out.",
    "callbacks": "they have a group of their own: +callbacks.<name>._target_=...",
    "logger": "it has a group of its own: +logger.<name>._target_=... (logger.tensorboard=null leaves one out).",
    "plugins": "it is set by the program, which writes checkpoints whole or not at all. Leave it out.",
    "default_root_dir": "a run's folder is output_dir=<folder>.",
}
# Of keys that are lists, what may stand in them.
_ITEMS: dict[str, tuple[str, ...]] = {
    "exclude": (
        "copies_across_splits", "redundant", "near_redundant", "conflicting_labels", "near_conflicting_labels",
        "in_against", "flat", "dark", "bright", "suspect_labels",
    ),
    "exclude_from": ("train", "val", "test"),
}  # fmt: skip


def conf_dir() -> Path:
    """Return the folder of the configs: ``fer/conf`` in an installed wheel, ``conf`` beside ``fer`` in a checkout."""
    package = Path(__file__).resolve().parent
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def check(cfg: DictConfig) -> None:
    """Refuse a config that cannot work.

    Raises:
        ConfigError: Naming every key that is wrong, its value, and what is allowed.
    """
    try:
        config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: needs a value: {error.full_key}=...") from error
    except InterpolationResolutionError as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    values = flat(config)
    problems = _wrong_types(cfg)
    for key, (low, low_allowed, high) in _RANGES.items():
        value = values.get(key)
        if isinstance(value, int | float) and not (low < value <= high or (low_allowed and value == low)):
            bound = f"{'at least' if low_allowed else 'above'} {low:g}"
            problems.append(f"{key}={value}: must be {bound}" + (f" and at most {high:g}." if high < 2**31 else "."))
    if "seed" in values and values["seed"] is None:
        problems.append("seed=null: must be a number; it makes the run repeatable.")
    for key, allowed in _CHOICES.items():
        if key in values and values[key] not in allowed:
            choices = ", ".join("null" if a is None else str(a) for a in allowed)
            problems.append(
                f"{key}={values[key]}: must be one of {choices}.{did_you_mean(str(values[key]), map(str, allowed))}"
            )
    for key, allowed in _ITEMS.items():
        value = values.get(key, [])
        if not isinstance(value, list):
            problems.append(f"{key}={value}: must be a list: {key}=[{value},...].")
            continue
        problems += [
            f"{key}: '{item}' must be one of {', '.join(allowed)}.{did_you_mean(str(item), allowed)}"
            for item in value
            if item not in allowed
        ]
    for key in ("trainer.precision", "precision"):
        precision = values.get(key)
        if precision is not None and str(precision) not in PRECISIONS:
            problems.append(
                f"{key}={precision}: must be one of {', '.join(PRECISIONS)}.{did_you_mean(str(precision), PRECISIONS)}"
            )
    launcher = str(HydraConfig.get().runtime.choices.get("hydra/launcher", "basic"))
    if launcher.startswith("submitit") and HydraConfig.get().mode == RunMode.RUN and "FER_CHILD" not in os.environ:
        problems.append(
            f"hydra/launcher={launcher}: without -m (--multirun) it is not used, and the run would be on this machine. "
            f"Add -m: python -m fer.train -m hydra/launcher={launcher} ..."
        )
    try:
        folder_name("x" if values.get("name") is None else values["name"])
    except ConfigError as error:
        problems.append(str(error))
    problems += _wrong_names(values, config) + _wrong_together(values) + _idle_reasons(config)
    if problems:
        raise ConfigError("\n  ".join(problems) if len(problems) == 1 else "\n  ".join(["", *problems]))


def _wrong_names(values: Mapping[str, Any], config: Any) -> list[str]:
    problems = []
    classes = (config.get("data") or {}).get("classes") or []
    if not isinstance(classes, list):
        problems.append(f"data.classes={classes}: must be a list: data.classes=[{classes},...].")
        classes = []
    own_classes = _own_classes(config.get("data") or {})
    for name in classes if not own_classes else ():  # those of the dataset's own are known when it is read
        try:
            canonical(str(name))
        except LabelError as error:
            problems.append(f"data.classes: {error}")
    datasets = (config.get("data") or {}).get("datasets") or []
    if not isinstance(datasets, list):
        problems.append(f"data.datasets={datasets}: must be a list: data.datasets=[{datasets},...].")
        datasets = []
    known = [name for name in options(conf_dir(), "data") if name != "combined"]
    problems += [
        f"data.datasets: there is no '{name}'.{did_you_mean(str(name), known)} There are: {', '.join(known)}."
        for name in datasets
        if name not in known
    ]
    monitor = str(config.get("monitor", "val/loss"))
    split, _, score = monitor.partition("/")
    if split == "test":
        problems.append(
            f"monitor={monitor}: a checkpoint is not chosen on the test split. Use val/{score}. (To repeat a published "
            f"result that was, data.select_on_test=true does so, and says so on everything that the run leaves.)"
        )
    elif split != "val" or (
        score not in SCORES
        and score.removeprefix("f1/") not in EMOTIONS
        and not (own_classes and score.startswith("f1/"))
    ):
        known = [f"val/{name}" for name in SCORES]
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


def _own_classes(data: Mapping[str, Any]) -> bool:
    """Say whether a dataset, or one of combined ones, has classes of its own, beside or instead of the emotions."""
    parts = data.get("options")
    options = [part for part in parts.values() if isinstance(part, Mapping)] if isinstance(parts, Mapping) else []
    return any(part.get("own_classes") is True for part in (data, *options))


def _wrong_together(values: Mapping[str, Any]) -> list[str]:
    """Name the options that exclude one another or what the run is to leave."""
    problems = []
    strategy = str(values.get("trainer.strategy.start_method", values.get("trainer.strategy")))
    if re.search("spawn|fork|notebook", strategy):
        problems.append(
            f"trainer.strategy={strategy}: the best score and checkpoint would be lost with the processes that it "
            f"starts. Use trainer.strategy=ddp (on CPUs trainer=ddp_cpu)."
        )
    problems += [
        f"trainer.{key}: {instead}"
        for key, instead in _OURS_IN_TRAINER.items()
        if any(name == f"trainer.{key}" or name.startswith(f"trainer.{key}.") for name in values)
    ]
    sharded = "fsdp" in str(values.get("trainer.strategy._target_", values.get("trainer.strategy"))).lower()
    if sharded and "muon" in str(values.get("optimizer.name")).lower():
        problems.append(
            f"optimizer.name={values['optimizer.name']}: FSDP flattens the matrices that it makes orthogonal. Use "
            f"another optimiser, or trainer.strategy=ddp."
        )
    if values.get("trainer.strategy.use_orig_params") is False:
        problems.append(
            "trainer.strategy.use_orig_params=false: weights that FSDP melts into one cannot each have their own "
            "weight decay and learning rate. Leave it out."
        )
    if values.get("data.mode") == "multi_target" and "MultiTarget" not in str(
        values.get("loss._target_", "MultiTarget")
    ):
        problems.append("data.mode=multi_target: its targets are no distribution; it needs loss=multi_target.")
    return problems


def _idle_reasons(config: Any) -> list[str]:
    """Name an audit's reasons to leave an image out that no image can have, as nothing is searched for them."""
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


def _wrong_types(cfg: DictConfig) -> list[str]:
    """Compare the command line's values with the types of the values they replace."""
    overrides = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    groups_chosen, valued = [], []
    for override in overrides:
        key = override.key_or_group
        if key in HydraConfig.get().runtime.choices or isinstance(OmegaConf.select(cfg, key), DictConfig):
            groups_chosen.append(override.input_line or "")
        elif not (override.is_add() or override.is_force_add() or override.is_delete()):
            valued.append(override)
    if not valued:
        return []
    state = GlobalHydra.instance().hydra
    assert state is not None
    defaults = state.config_loader.load_configuration(HydraConfig.get().job.config_name, groups_chosen, RunMode.RUN)
    problems = []
    for override in valued:
        default, value = (
            OmegaConf.select(defaults, override.key_or_group, throw_on_missing=False),
            override.value(),
        )
        wanted = _type_name(default)
        key = override.key_or_group
        # Lightning's own options take more than one type (devices=[0,1], fast_dev_run=3), and so do lists of rates.
        free = isinstance(value, list) or value == "auto" or (key.startswith("trainer.") and not isinstance(value, str))
        free = free or value in _WORDS.get(key, ())
        if free or value is None or wanted is None or str(value).startswith("${") or _fits(value, default):
            continue
        words = "".join(f" or {word}" for word in _WORDS.get(key, ()))
        problems.append(f"{override.key_or_group}={value}: must be {wanted}{words} (it is {default} by default).")
    return problems


def _type_name(default: Any) -> str | None:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int):
        return "a whole number"
    if isinstance(default, float):
        return "a number"
    return None  # a text, a list or nothing: what it may be is checked where it is used


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int) or (isinstance(default, float) and isinstance(value, float))


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nest of mappings as dotted keys."""
    if not isinstance(node, Mapping):
        return {prefix: node}
    out: dict[str, Any] = {prefix: node} if prefix and not node else {}
    for key, value in node.items():
        out |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return out


def groups(conf: Path) -> list[str]:
    """Return the names of the config groups."""
    return sorted(path.name for path in conf.iterdir() if path.is_dir() and path.name != "hydra")


def options(conf: Path, group: str) -> list[str]:
    """Return the options of a config group."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml") if not path.stem.startswith("_"))


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


@cache
def timm_models() -> frozenset[str]:
    """Return timm's model names, read off its source: importing timm takes seconds."""
    return _names_in("timm", "models/*.py", r"@register_model\s*\n(?:@[^\n]*\n)*def (\w+)\(")


@cache
def timm_optimizers() -> frozenset[str]:
    """Return timm's optimiser names, read off its source."""
    return _names_in("timm", "optim/_optim_factory.py", r"""OptimInfo\(\s*name=['"](\w+)['"]""")


def _names_in(package: str, files: str, pattern: str) -> frozenset[str]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return frozenset()
    paths = Path(spec.origin).parent.glob(files)
    return frozenset(name for path in paths for name in re.findall(pattern, path.read_text()))
