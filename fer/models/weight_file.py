"""A local file of weights as tensors by name: read as plain data, unwrapped, its names brought to a network's."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fer.errors import ConfigError, listing

log = logging.getLogger(__name__)

# Under what programs keep the weights beside optimisers and epochs; averaged ones first.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "network", "backbone")
_FILLED_AT_LEAST = 0.95  # of a backbone's tensors, for a file to pass as the network's own
_UNUSED_AT_MOST = 0.1  # of a file's tensors beside its classifiers: a deeper network's fill a shallower one too
_CLASSIFIERS = ("head", "fc", "classifier", "aux", "last_linear")  # in names of layers that another head replaces
_COUNTER = "num_batches_tracked"  # of batch norm, which older files lack
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


def report(
    source: str,
    name: str,
    wanted: Sequence[str],
    missing: Sequence[str],
    unused: Sequence[str],
    likely: Callable[[], str],
) -> None:
    """Say how much of a network a file filled.

    Args:
        source: What the weights are called.
        name: What the network is called.
        wanted: The names of the network's tensors.
        missing: Those that the file does not have.
        unused: Those of the file that the network does not have.
        likely: What the file may be instead, as a sentence with a space before it; called where it is refused.

    Raises:
        ConfigError: If it filled too little, or too much of it is left over, for it to be of this network.
    """
    wanted, missing, unused = ([key for key in k if not key.endswith(_COUNTER)] for k in (wanted, missing, unused))
    filled = len(wanted) - len(missing)
    not_those = f"the weights of {source} are not those of {name}: they fill {filled} of its {len(wanted)} tensors"
    if len(missing) > (1 - _FILLED_AT_LEAST) * len(wanted):
        raise ConfigError(
            f"{not_those}.{likely()}\n  Missing:\n{listing(missing, 8)}\n  Not used:\n{listing(unused, 8)}"
        )
    log.info("%s: filled %d of %d tensors of %s, %d unused", source, filled, len(wanted), name, len(unused))
    foreign = [key for key in unused if not of_classifier(key)]
    if len(foreign) > _UNUSED_AT_MOST * (filled + len(foreign)):
        raise ConfigError(
            f"{not_those}, and {len(foreign)} more, beside classifiers, are not used."
            f"{likely() or ' Is model.name right?'}\n  Not used:\n{listing(foreign, 8)}"
        )
    if missing:
        log.warning("%s has no weights for %s of %s: random ones", source, ", ".join(missing), name)


def of_classifier(name: str) -> bool:
    """Say whether a tensor is of a layer that another head replaces."""
    return any(word in name.lower() for word in _CLASSIFIERS)


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
