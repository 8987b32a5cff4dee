"""Fusion: several timm backbones look at the same image, and one head at all their pooled features."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer.errors import ConfigError
from fer.models.head import Head, read_head
from fer.models.timm_model import TimmModel


class Fusion(nn.Module):
    """Concatenates the pooled features of several backbones: float32 (B, in_channels, H, W) -> logits (B, num_classes).

    Args:
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        backbones: Names of timm's architectures, with or without a tag.
        image_sizes: Side to which each backbone's input is resized (InceptionV3 needs 75 or more); None for
            ``image_size`` for all.
        pretrained: Whether every backbone starts from ImageNet weights.
        freeze: Whether the backbones stay as they are, or one answer for each.
        pooling: ``avg``, ``max``, ``avgmax`` or ``flatten``; None for each architecture's own.
        head: Options of ``fer.models.head.Head``.

    Raises:
        ConfigError: If a backbone cannot be built, or a list has not one entry for each.
    """

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
        self.image_sizes = [image_size] * len(backbones) if image_sizes is None else list(image_sizes)
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

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (B, in_channels, image_size, image_size) to all backbones' pooled features, (B, sum of widths)."""
        features = []
        for branch, size in zip(self.backbone, self.image_sizes, strict=True):
            same = x.shape[-1] == size
            features.append(branch(x if same else F.interpolate(x, (size, size), mode="bilinear", align_corners=False)))
        return torch.cat(features, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.forward_features(x))
        return logits
