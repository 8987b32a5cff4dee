"""Fusion: several timm backbones look at the same image, and one head at all their pooled features."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer.errors import ConfigError
from fer.models.head import Head, read_head
from fer.models.timm_model import TimmModel, pretrained_input

_LEAST = {"inception_v3": 75}  # sides below which an architecture of the shipped default does not run


class Fusion(nn.Module):
    """Concatenates the pooled features of several backbones: float32 (B, in_channels, H, W) -> logits (B, num_classes).

    Args:
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        backbones: Names of timm's architectures, with or without a tag.
        image_sizes: Side to which each backbone's input is resized; None for ``image_size`` for all, but 75 or more
            for InceptionV3, which needs that.
        pretrained: Whether every backbone starts from ImageNet weights. The input is then to have the mean and standard
            deviation of the first one's; each of the others gets it with its own.
        freeze: Whether the backbones stay as they are, or one answer for each.
        pooling: ``avg``, ``max``, ``avgmax`` or ``flatten``; None for each architecture's own.
        head: Options of ``fer.models.head.Head``.

    Raises:
        ConfigError: If a backbone cannot be built, or a list has not one entry for each.
    """

    scale: Tensor  # (N, in_channels, 1, 1): from the first backbone's normalisation to each one's
    shift: Tensor

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        backbones: Sequence[str],
        image_sizes: Sequence[int] | None = None,
        pretrained: bool = False,
        freeze: bool | Sequence[bool] = False,
        pooling: str | None = None,
        head: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if len(backbones) < 2:
            raise ConfigError(f"model.backbones={list(backbones)}: needs two or more; for one there is model=timm.")
        frozen = [freeze] * len(backbones) if isinstance(freeze, bool) else list(freeze)
        if image_sizes is None:
            image_sizes = [max(image_size, _LEAST.get(name.partition(".")[0], 0)) for name in backbones]
        self.image_sizes = list(image_sizes)
        for key, values in (("freeze", frozen), ("image_sizes", self.image_sizes)):
            if len(values) != len(backbones):
                raise ConfigError(f"model.{key}={values}: needs one entry for each of {len(backbones)} backbones.")
        self.name = " + ".join(backbones)
        _, head_options = read_head(head, pooling=None)
        branches = [
            TimmModel(num_classes, in_channels, size, name, pretrained, freeze=still, head={"pooling": pooling})
            for name, size, still in zip(backbones, self.image_sizes, frozen, strict=True)
        ]
        width = sum(branch.num_features for branch in branches)
        for branch in branches:
            branch.head = nn.Identity()
        self.backbone = nn.ModuleList(branches)
        self.freeze = all(frozen)
        self.head = Head(width, num_classes, **head_options)
        scale, shift = torch.ones(len(branches), in_channels, 1, 1), torch.zeros(len(branches), in_channels, 1, 1)
        if pretrained:
            statistics = torch.tensor([pretrained_input(name)[1:] for name in backbones])  # (N, 2, 3)
            if in_channels == 1:
                statistics = statistics.mean(2, keepdim=True)
            mean, std = statistics[..., None, None].unbind(1)
            scale, shift = std[0] / std, (mean[0] - mean) / std
        # In the state dict: a checkpoint's network is built without asking for pretrained weights.
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (B, in_channels, image_size, image_size) to all backbones' pooled features, (B, sum of widths)."""
        features = []
        for branch, size, scale, shift in zip(self.backbone, self.image_sizes, self.scale, self.shift, strict=True):
            view = x * scale + shift
            if view.shape[-1] != size:
                view = F.interpolate(view, (size, size), mode="bilinear", align_corners=False)
            features.append(branch(view))
        return torch.cat(features, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.forward_features(x))
        return logits
