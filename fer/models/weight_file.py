"""A local file of weights as tensors by name: read as plain data, unwrapped, its names brought to a network's."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fer.errors import ConfigError, listing

# Under what programs keep the weights beside optimisers and epochs; averaged ones first.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "network", "backbone")
_ADDED = ("module.", "_orig_mod.")  # before each name, by DataParallel and torch.compile


def read(path: str, prefix: str | None = None, rename: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """Read the tensors of a file; nothing in it is run.

    Args:
        path: .safetensors, or what torch saves (.pth, .pt, .bin, .ckpt, .tar): a state dict, plain or wrapped.
        prefix: Keep the tensors whose names begin with it, and leave it off.
        rename: Parts of names and what takes their place: ``{gamma: weight}`` makes ``bn.weight`` of ``bn.gamma``.

    Raises:
        ConfigError: If there is no such file, it holds more than plain data or no tensors, or an option has no effect.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"model.checkpoint_path={path}: there is no such file")
    content = _content(file)
    if isinstance(content, Mapping) and {"hyper_parameters", "state_dict"} <= content.keys():
        hparams = content["hyper_parameters"]
        if isinstance(hparams, Mapping) and {"classes", "preprocessing", "model"} <= hparams.keys():
            raise ConfigError(
                f"model.checkpoint_path={path}: is a checkpoint of fer's own. Its network, classes and input come "
                f"along with init={path}"
            )
    state = _without_added(_unwrapped(content))
    if not state:
        raise ConfigError(
            f"model.checkpoint_path={path}: holds no tensors by name. Save them with "
            f"torch.save(model.state_dict(), <file>)."
        )
    return _renamed(state, prefix, rename or {})


def _content(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(str(file))
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and safetensors raise whatever a damaged file makes them
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        reason = (
            "it does not hold tensors alone. Save them with torch.save(model.state_dict(), <file>)."
            if "eights" in first or "nsupported" in first
            else f"it cannot be read ({type(error).__name__}: {first})."
        )
        raise ConfigError(f"model.checkpoint_path={file}: {reason} Nothing in it was run.") from error


def _unwrapped(content: Any) -> dict[str, Tensor]:
    """Return the tensors by name in what a program saved, which may hold other things beside them."""
    while isinstance(content, Mapping):
        inside = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inside is None:
            return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        content = inside
    return {}


def _without_added(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for key, value in state.items():
        while key.startswith(_ADDED):
            key = key.partition(".")[2]
        found[key] = value
    return found


def _renamed(state: Mapping[str, Tensor], prefix: str | None, rename: Mapping[str, str]) -> dict[str, Tensor]:
    if prefix:
        inside = {key[len(prefix) :].lstrip("."): value for key, value in state.items() if key.startswith(prefix)}
        if not inside:
            first = Counter(key.partition(".")[0] for key in state).most_common(8)
            known = listing([f"{name}.: {count} tensors" for name, count in first])
            raise ConfigError(f"model.prefix={prefix}: no tensor's name begins with it. They begin with:\n{known}")
        state = inside
    for old, new in rename.items():
        whole = re.compile(rf"(?<![^.]){re.escape(old)}(?![^.])")
        names = {key: whole.sub(lambda _, new=new: str(new), key) for key in state}  # type: ignore[misc]
        if all(key == name for key, name in names.items()):
            raise ConfigError(
                f"model.rename={{{old}:{new}}}: no tensor's name has the part '{old}'. Some of them:\n"
                f"{listing(list(state), 5)}"
            )
        if len(set(names.values())) < len(names):
            raise ConfigError(f"model.rename={{{old}:{new}}}: would give two tensors one name.")
        state = {names[key]: value for key, value in state.items()}
    return dict(state)
