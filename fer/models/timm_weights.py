"""Pretrained weights of timm's architectures: where they come from, and whether they filled the network."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
from huggingface_hub.errors import EntryNotFoundError
from timm.models import PretrainedCfg
from torch import nn

from fer import compat
from fer.errors import ConfigError, did_you_mean, listing

_log = logging.getLogger(__name__)

_FILLED_AT_LEAST = 0.95  # of a backbone's tensors, for a weights file to pass as the architecture's own
_UNUSED_AT_MOST = 0.1  # of a file's tensors beside its classifiers: a deeper network's fill a shallower one too
_CLASSIFIERS = ("head", "fc", "classifier", "aux", "last_linear")  # in names of layers that another head replaces
_HUB_TIMEOUT = 5.0  # seconds


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


def local_weights(checkpoint_path: str) -> dict[str, Any]:
    """Return the overlay of timm's pretrained configuration that loads a local file."""
    path = Path(checkpoint_path).expanduser()
    if not path.is_file():
        raise ConfigError(f"model.checkpoint_path={checkpoint_path}: there is no such file")
    return {"file": str(path), "custom_load": False}


def hub_weights(name: str, cfg: PretrainedCfg) -> dict[str, Any]:
    """Return the overlay of timm's pretrained configuration that loads a model's registered weights.

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
        return {}  # a plain URL, which torch.hub fetches and caches
    for filename in ("model.safetensors", "pytorch_model.bin"):
        cached = huggingface_hub.try_to_load_from_cache(cfg.hf_hub_id, filename)
        if isinstance(cached, str):
            return {"file": cached, "custom_load": False}
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
    return {}


def check_filled(
    backbone: nn.Module,
    name: str,
    weights: Mapping[str, Any],
    loads: compat.Loads,
) -> None:
    """Raise ConfigError unless nearly every tensor that the backbone still has came from the weights."""
    source = weights.get("file", "the Hugging Face hub")
    wanted = {key for key in backbone.state_dict() if not key.endswith("num_batches_tracked")}
    if weights.get("custom_load") is False:  # some of timm's own formats are loaded tensor by tensor
        compat.check_recorded(loads, backbone)
    for module, missing_keys, unexpected_keys in loads:
        if module is not backbone:
            continue
        missing = [key for key in missing_keys if key in wanted]
        if len(missing) > (1 - _FILLED_AT_LEAST) * len(wanted):
            raise ConfigError(
                f"the weights of {source} are not those of {name}: "
                f"they fill {len(wanted) - len(missing)} of its {len(wanted)} tensors.\n"
                f"  Missing:\n{listing(missing, 8)}\n  Not used:\n{listing(list(unexpected_keys), 8)}"
            )
        unused = [key for key in unexpected_keys if not key.endswith("num_batches_tracked")]
        filled = len(wanted) - len(missing)
        _log.info("%s: filled %d of %d tensors of %s, %d unused", source, filled, len(wanted), name, len(unused))
        foreign = [key for key in unused if not any(word in key.lower() for word in _CLASSIFIERS)]
        if len(foreign) > _UNUSED_AT_MOST * (filled + len(foreign)):
            raise ConfigError(
                f"the weights of {source} are not those of {name}: "
                f"they fill {filled} of its {len(wanted)} tensors, and "
                f"{len(foreign)} more, beside classifiers, are not used. Is model.name right?\n"
                f"  Not used:\n{listing(foreign, 8)}"
            )
        if missing:
            _log.warning("%s has no weights for %s of %s: random ones", source, ", ".join(missing), name)
