"""The parts of a combined dataset: the config of each, and the options that it takes. Imports nothing slow."""

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer.config import option_types, signatures
from fer.config.groups import conf_dir, option_names
from fer.errors import ConfigError, FERError, did_you_mean

log = logging.getLogger(__name__)

_OF_THE_WHOLE = {
    "mean": "the network's input is the same for all images",
    "std": "the network's input is the same for all images",
    "batch_size": "batches are drawn from all parts together",
    "num_workers": "batches are drawn from all parts together",
    "sampler": "batches are drawn from all parts together",
    "refine": "the labels of all parts are refined together",
    "refine_weight": "the labels of all parts are refined together",
    "select_on_test": "the checkpoint is chosen on all parts together",
}
_OF_SPLITS = ("fold", "folds", "val_fraction", "test_fraction")
_COMMON = ("classes", "image_size", "fit", "channels", "val_fraction", "test_fraction", "cache_dir")


def options(name: str, given: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return the node that a part is built from: its config, then the options of the whole, then its own.

    Args:
        name: Its name, as in ``data=<name>``: a dataset of fer's or of the user's ``--config-dir``.
        given: Its own options, ``data.options.<name>``.
        whole: Options of the combined dataset that differ from their defaults.

    Raises:
        ConfigError: If there is no such dataset, or an option is unknown, has a wrong value, or is the whole's alone.
    """
    node = _composed(name)
    where = f"data.options.{name}"
    if "datasets" in node:
        raise ConfigError(f"data.datasets: {name} is a combined dataset itself. Name its parts instead.")
    problems = [f"{where}.{key}: {why}. Say data.{key}." for key, why in _OF_THE_WHOLE.items() if key in given]
    if whole.get("fold") is not None:
        problems += [
            f"{where}.{key}: data.fold={whole['fold']} makes the splits of all parts together. Leave one of them out."
            for key in _OF_SPLITS
            if key in given
        ]
    problems += _wrong({**node, **given}, name)
    if problems:
        raise ConfigError("\n  ".join(problems) if len(problems) == 1 else "\n  ".join(["", *problems]))
    default = yaml.safe_load((conf_dir() / "data" / "_loading.yaml").read_text())
    for key in _OF_THE_WHOLE:
        if node.get(key, default[key]) != default[key]:
            log.warning("combined: %s=%s of %s's own config is not used: %s.", key, node[key], name, _OF_THE_WHOLE[key])
    own = {key: value for key, value in node.items() if key not in _OF_THE_WHOLE}
    return {**own, **{key: whole[key] for key in _COMMON if key in whole}, **given}


@contextmanager
def named(name: str, node: Mapping[str, Any], given: Collection[str], whole: Collection[str]) -> Iterator[None]:
    """Let errors name a part's options as they are typed: ``data.options.<name>.root`` for ``data.root``."""
    signature = signatures.read(str(node["_target_"]))
    keys = {*node, *(signature.annotations if signature else ())} - {*whole}.difference(given) - {*_OF_THE_WHOLE}
    try:
        yield
    except FERError as error:
        error.args = (_renamed(str(error), name, keys), *error.args[1:])
        raise


def _renamed(message: str, name: str, keys: Collection[str]) -> str:
    pattern = rf"(?<![\w/.-])data\.({'|'.join(re.escape(key) for key in sorted(keys))})\b"
    return re.sub(pattern, lambda found: f"data.options.{name}.{found[1]}", message)


def _wrong(node: Mapping[str, Any], name: str) -> list[str]:
    """Name the options whose types and ranges are wrong, as if the dataset stood alone in an audit."""
    primary = conf_dir() / "audit.yaml"
    others = yaml.safe_load(primary.read_text())
    others = {key: value for key, value in others.items() if key not in ("defaults", "hydra")}
    problems = option_types.wrong_values({**others, "data": dict(node)}, primary)
    return [_renamed(problem, name, [re.split(r"[.=: ]", problem.removeprefix("data."))[0]]) for problem in problems]


def _composed(name: str) -> dict[str, Any]:
    """Return a dataset's config, with all its defaults, from wherever this command finds its configs."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else ()
    own = [source for source in sources if source.provider not in ("hydra", "main", "schema")]
    command = GlobalHydra.instance().hydra  # it composed this command, and may still be in use
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            places = ",".join(f"'{source.schema}://{source.path}'" for source in own)
            cfg = compose("audit", [f"data={name}", f"hydra.searchpath=[{places}]"])
        return cast("dict[str, Any]", OmegaConf.to_container(cfg.data, resolve=True))
    except MissingConfigException as error:
        folders = [conf_dir(), *(Path(source.path) for source in own if source.schema == "file")]
        known = [one for folder in folders for one in option_names(folder, "data") if one != "combined"]
        raise ConfigError(
            f"data.datasets: there is no '{name}'.{did_you_mean(name, known)} There are: {', '.join(known)}. A dataset "
            f"of your own is found with --config-dir <folder>, which holds data/{name}.yaml."
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"data.datasets: {name}'s config cannot be used: {str(error).splitlines()[0]}") from error
    finally:
        GlobalHydra.instance().hydra = command
