"""From a stored uint8 image to a network's input: what travels with every checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fer.data.squares import DEFAULT_FIT, FITS, square
from fer.errors import ConfigError, FERError
from fer.framing.framing import Framing

# Near the mean and spread of aligned grey faces (FER2013: 0.508, 0.255); a network trained from scratch needs no more.
DEFAULT_MEAN, DEFAULT_STD = 0.5, 0.25
LARGEST_INPUT = 4096
"""Pixels a side: what a file says of a larger input is not believed."""


@dataclass(frozen=True)
class Preprocessing:
    """Input size, channels and normalisation of a network.

    Attributes:
        image_size: Side of the square input in pixels.
        channels: 1 (grey) or 3 (RGB).
        mean: Mean of each channel, of images in [0, 1].
        std: Standard deviation of each channel.
        fit: How images that are not square become square, one of :data:`fer.data.squares.FITS`.
        framing: How faces stand in the training images, so that others can be cut out alike; None if not measured.
    """

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str = DEFAULT_FIT
    framing: Framing | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Rebuild from the plain data that a checkpoint holds."""
        fit = values.get("fit", "stretch")  # which is what happened before there was a choice
        if fit not in FITS:
            raise ConfigError(f"preprocessing: fit={fit!r} is none of {', '.join(FITS)}.")
        size, channels = int(values["image_size"]), int(values["channels"])
        framing = Framing.from_dict(values["framing"]) if values.get("framing") is not None else None
        return cls(size, channels, tuple(values["mean"]), tuple(values["std"]), fit, framing)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data (numbers and lists)."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        return values | {"framing": self.framing and self.framing.as_dict()}

    def __call__(self, images: Tensor, size: int | None = None) -> Tensor:
        """Scale, resize, convert between grey and RGB, and normalise a batch on the device it is on.

        Args:
            images: uint8 of shape (B, H, W) or (B, H, W, 3).
            size: Side of the result in pixels; None for ``image_size``.

        Returns:
            float32 of shape (B, channels, size, size).

        Raises:
            FERError: If the images are of another type or shape. Floats are refused, because they do not tell whether
                they go up to 1 or to 255.
        """
        if images.dtype is not torch.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)):
            raise FERError(
                f"images are {images.dtype} of shape {tuple(images.shape)}; expected torch.uint8 (0 to 255) of shape "
                f"(B, H, W) or (B, H, W, 3). Floats in [0, 1]: (images * 255).round().to(torch.uint8)."
            )
        size = size or self.image_size
        grey = images.ndim == 3
        x = (images[:, None] if grey else images.permute(0, 3, 1, 2)).float().div_(255)
        if x.shape[1] == 3 and self.channels == 1:
            weights = x.new_tensor([0.299, 0.587, 0.114])  # ITU-R BT.601, as PIL's and OpenCV's grey
            x = (x * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)
        if x.shape[-2] != x.shape[-1]:
            x = _square(x, self.fit)
        if x.shape[-2:] != (size, size):
            x = F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)
        if x.shape[1] == 1 and self.channels == 3:
            x = x.expand(-1, 3, -1, -1)
        shape = (1, self.channels, 1, 1)
        return (x - x.new_tensor(self.mean).view(shape)) / x.new_tensor(self.std).view(shape)


def _square(x: Tensor, fit: str) -> Tensor:
    """Bring a batch of oblong images to squares, as :func:`fer.data.squares.cut` does; not those to be stretched."""
    left, top, right, bottom = square((0, 0, x.shape[-1], x.shape[-2]), fit)
    return F.pad(x, (-left, right - x.shape[-1], -top, bottom - x.shape[-2]))  # less than none cuts off


def resolve(data: Mapping[str, Any], pretrained: tuple[int, Sequence[float], Sequence[float]] | None) -> Preprocessing:
    """Settle the network's input: what the user set, else what the pretrained weights want, else the data's own.

    Args:
        data: ``image_size``, ``fit``, ``channels``, ``mean`` and ``std`` as the user set them (None where not), and
            ``native_size`` and ``native_channels`` of the stored images.
        pretrained: Input size, mean and std of the weights that training starts from; None from scratch.

    Raises:
        ConfigError: If ``mean`` or ``std`` do not fit the channels.
    """
    size, mean, std = pretrained or (data["native_size"], [DEFAULT_MEAN], [DEFAULT_STD])
    channels = data["channels"] or (3 if pretrained else data["native_channels"])

    def per_channel(key: str, default: Sequence[float]) -> tuple[float, ...]:
        value = default if data[key] is None else data[key]
        values = tuple(float(v) for v in value) if isinstance(value, Sequence) else (float(value),)
        if len(values) == 1:
            return values * channels
        if channels == 1 and data[key] is None:  # RGB statistics of pretrained weights, for a grey first layer
            return (sum(values) / len(values),)
        if len(values) != channels:
            raise ConfigError(f"data.{key}={list(values)}: needs one number, or one for each of {channels} channels.")
        return values

    resolved = Preprocessing(
        data["image_size"] or size, channels, per_channel("mean", mean), per_channel("std", std),
        data.get("fit") or DEFAULT_FIT,
    )  # fmt: skip
    if min(resolved.std) <= 0:
        raise ConfigError(f"data.std={list(resolved.std)}: must be above 0.")
    return resolved


def of_pretrained(model: Mapping[str, Any]) -> tuple[int, Sequence[float], Sequence[float]] | None:
    """Return input size, mean and std of the pretrained weights that a ``model`` group asks for; None from scratch.

    Of several backbones, mean and std are the first one's, and the size is the largest of ``image_sizes``.
    """
    if str(model["_target_"]).startswith("fer.models.iresnet.") and model.get("checkpoint_path"):
        from fer.models import iresnet

        return iresnet.IMAGE_SIZE, iresnet.MEAN, iresnet.STD
    ours = str(model["_target_"]).startswith(("fer.models.timm_model.", "fer.models.fusion."))
    if not ours or not (model.get("pretrained") or model.get("checkpoint_path")):
        return None
    from fer.models.timm_model import pretrained_input

    if "backbones" in model:
        size, mean, std = pretrained_input(model["backbones"][0])
        return max(model.get("image_sizes") or [size]), mean, std
    return pretrained_input(model["name"])
