"""From a checkpoint to the module that it describes: only what the closed lists allow is built."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fer.errors import ConfigError, FERError
from fer.training.allowed import LOSSES, NETWORKS, check_node
from fer.training.checkpoint_content import load_checkpoint

_Module = TypeVar("_Module", bound=nn.Module)
_LARGEST_NUMBER = 100_000  # of a network's options: widths, sizes, counts


def rebuild(
    kind: type[_Module],
    path: str | Path,
    trusted: Sequence[Mapping[str, Any]] = (),
    packages: Collection[str] = (),
) -> _Module:
    """Rebuild a trained module from its checkpoint alone: network, classes and preprocessing.

    Args:
        kind: :class:`fer.training.module.FERModule`, which is called with the checkpoint's hyper-parameters.
        path: The checkpoint, or a run's folder (for its best checkpoint).
        trusted: ``model`` and ``loss`` as the user gave them: the same ones in the checkpoint may be built.
        packages: Packages whose networks and losses may be built besides this project's (``my_package``).

    Raises:
        FERError: If the file cannot be used, or names a network or loss that is not allowed.
    """
    checkpoint = load_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    try:
        # Optimiser and schedule are not built on reload.
        for key, allowed in (("model", NETWORKS), ("loss", LOSSES)):
            if hparams[key] not in trusted:
                check_node(hparams[key], key, allowed, packages)
        if hparams["model"].get("_target_") in NETWORKS:
            _check_sizes(kind, hparams, checkpoint["state_dict"])
        module = kind(**hparams, load_weights=False)
        module.load_state_dict(checkpoint["state_dict"])
    except FERError as error:
        raise FERError(f"ckpt={path}: cannot be used: {str(error).rstrip('.')}.") from error
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, OverflowError, MemoryError) as error:
        if hparams["model"] in trusted or hparams["model"].get("_target_") not in NETWORKS:
            raise  # the user's own code, whose traceback shows where
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise FERError(f"ckpt={path}: cannot be used: its model cannot be rebuilt ({reason}).") from error
    return module.eval()


def _check_sizes(kind: type[nn.Module], hparams: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Compare the shapes of the network that is described with those of the weights, before memory is spent on it.

    Raises:
        ConfigError: If weights are missing, left over, or of another shape.
    """
    largest = _LARGEST_NUMBER
    pending = [hparams["model"]]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping | list | tuple):
            pending += list(item.values()) if isinstance(item, Mapping) else list(item)
        elif isinstance(item, int | float) and abs(item) > largest:
            raise ConfigError(f"its model has an option of {item:g}")
    if len(hparams["classes"]) > largest:
        raise ConfigError(f"it has {len(hparams['classes'])} classes")
    try:
        with torch.device("meta"):  # shapes alone
            described = kind(**hparams, load_weights=False).state_dict()
    except NotImplementedError:  # a network of timm's that looks at values while it is built
        return
    except RuntimeError as error:
        if "meta" in str(error):
            return
        raise
    missing = [name for name in described if name not in state]
    unused = [name for name in state if name not in described]
    other = [name for name in described if name in state and described[name].shape != state[name].shape]
    for names, what in ((missing, "lack"), (unused, "hold the unknown"), (other, "have another shape of")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ConfigError(f"its weights do not fit its model: they {what} {names[0]!r}{more}")
