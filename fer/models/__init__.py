"""Networks: ``Net(num_classes, in_channels, image_size, **options)`` each, from images to logits."""

import traceback
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fer.build import check_options, locate, options_of, refused
from fer.config.inherited import WEIGHTS
from fer.errors import ConfigError, FERError
from fer.models.checks import rehearsal

_OWN = "fer.models."


def build_model(
    config: Mapping[str, Any], num_classes: int, in_channels: int, image_size: int, load_weights: bool = True
) -> nn.Module:
    """Build the network of a configuration and try it on two images.

    The network's constructor gets ``num_classes``, ``in_channels`` and ``image_size`` as far as it takes
    them.

    Args:
        config: ``_target_``, the import path of a network's class, and the options of its constructor.
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        load_weights: Whether ``pretrained`` and ``checkpoint_path`` (with ``prefix`` and ``rename``) are
            obeyed; not needed where a checkpoint's own weights follow.

    Returns:
        The network in training mode. float32 (B, in_channels, image_size, image_size) -> logits (B,
        num_classes).

    Raises:
        ConfigError: There is no such network, an option is wrong or missing, the images are too small for it,
            or what it returns are not logits.
    """
    options = {str(key): value for key, value in config.items() if key != "_target_"}
    network = locate(config.get("_target_"), "model")
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise ConfigError(f"model._target_={config['_target_']}: is no torch.nn.Module class.")
    data = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    for key in data:
        if key in options:
            raise ConfigError(f"model.{key} cannot be set: the data decides it")
    check_options(network, options, "model", given=data)
    named, takes_any = options_of(network)
    if not load_weights:
        options |= {key: value for key, value in WEIGHTS.items() if key in named or key in options}
    given = {key: value for key, value in data.items() if key in named or takes_any}
    try:
        net = network(**options, **given)
    except FERError:
        raise
    except Exception as error:
        if not network.__module__.startswith(_OWN):
            raise  # the user's own code, whose traceback shows where
        raise refused("model", options, network.__name__, error) from error
    if load_weights or not network.__module__.startswith(_OWN):  # else weights follow, of a network that ran
        _try_out(net, num_classes, in_channels, image_size)
    return net


def _try_out(net: nn.Module, num_classes: int, in_channels: int, image_size: int) -> None:
    """Raise ConfigError unless the network makes logits of two images."""
    name = type(net).__name__
    images = torch.zeros(2, in_channels, image_size, image_size)
    try:
        with rehearsal(net), torch.no_grad():
            logits = net(images)
    except Exception as error:  # the network may be the user's: any reason
        line = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"{name} does not run on images of shape {tuple(images.shape)} (are they too small for it? "
            f"data.image_size={image_size}): {type(error).__name__}: {error}\n"
            f"  at {line.filename}:{line.lineno}"
        ) from error
    got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if got != (2, num_classes):
        raise ConfigError(
            f"{name} must return logits of shape (2, {num_classes}) (images, classes) for images of shape "
            f"{tuple(images.shape)}, but got {got}"
        )
