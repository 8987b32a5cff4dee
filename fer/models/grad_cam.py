"""Grad-CAM: where in an image a network finds what speaks for a class."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer.data.squares import square
from fer.errors import FERError
from fer.extras import missing_package
from fer.models.preprocessing import Preprocessing

_SMALLEST = 4  # pixels of a map's side: smaller ones do not tell one part of a face from another


class GradCam:
    """Shows where a network finds what speaks for a class.

    A feature map's channels are weighted by the mean gradient of the class's logit, and summed; what is negative is
    left out (Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391), by captum. The map is the network's last
    one of 4x4 pixels or more on which the logit depends everywhere: of small faces, deep networks end in maps of one or
    two pixels, and of a transformer's last tokens often the class token alone counts. Tokens stand for the patches that
    they were made from. Of several backbones the mean of their maps is shown.

    Args:
        net: The network, in evaluation mode; it stays as it is.
        preprocess: What it wants to see.
        name: The network's name, for errors.

    Raises:
        FERError: If the network has no feature map, or captum is not installed.
    """

    def __init__(self, net: nn.Module, preprocess: Preprocessing, name: str) -> None:
        try:
            from captum.attr import LayerGradCam
        except ImportError as error:
            raise FERError(f"explain: {missing_package('captum')}") from error
        self._captum: Any = LayerGradCam
        self.net, self.preprocess = net, preprocess
        size = preprocess.image_size
        trial = torch.zeros(1, size, size, dtype=torch.uint8)
        with torch.inference_mode(False):
            branches = [_usable(net, self._input(trial), stages) for stages in _stages(net)]
            if not branches or not all(branches):
                raise FERError(
                    f"explain: {name} has no feature map of {_SMALLEST}x{_SMALLEST} pixels or more: there is nothing "
                    f"that Grad-CAM could show. Most networks of convolutions and vision transformers have one."
                )
            self._layers = [self._deepest(branch, trial) for branch in branches]

    def __call__(self, images: Tensor, classes: Sequence[int]) -> Tensor:
        """Return heat maps.

        Args:
            images: uint8 of shape (B, H, W) or (B, H, W, 3).
            classes: The class of each image for which evidence is shown, by its place in the model's classes.

        Returns:
            float32 of shape (B, H, W), from 0 to 1, which is reached in each map; all 0 where nothing speaks for the
            class. What the network's input does not show of an oblong image is 0.
        """
        with torch.inference_mode(False):
            x = self._input(images)
            target = torch.as_tensor(classes, device=x.device)
            maps = torch.stack([_normalised(self._raw(layer, x, target).relu(), x.shape[-1]) for layer in self._layers])
        mean = _normalised(maps.mean(0), x.shape[-1])
        return self._in_image(mean, images.shape[1], images.shape[2])

    def _input(self, images: Tensor) -> Tensor:
        parameter = next(self.net.parameters())
        # It asks for a gradient itself, in case that all weights are frozen.
        return self.preprocess(images.to(parameter.device)).to(parameter.dtype).clone().requires_grad_()

    def _deepest(self, layers: "list[_Layer]", trial: Tensor) -> "_Layer":
        """Return the last layer whose every place moves the logits; the last of all if none does."""
        noise = torch.randint(0, 256, trial.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        target = torch.zeros(1, dtype=torch.int64)
        for layer in reversed(layers):
            x = self._input(noise)
            if self._raw(layer, x, target.to(x.device)).count_nonzero():
                return layer
        return layers[-1]

    def _raw(self, layer: "_Layer", x: Tensor, target: Tensor) -> Tensor:
        with layer.shown() as shown:
            raw: Tensor = self._captum(self.net, shown).attribute(x, target)  # (B, 1, h, w)
        return raw.detach().float()

    def _in_image(self, maps: Tensor, height: int, width: int) -> Tensor:
        """Bring maps of the network's square input to the images that it was made from."""
        left, top, right, bottom = square((0, 0, width, height), self.preprocess.fit)
        maps = F.interpolate(maps, (bottom - top, right - left), mode="bilinear", align_corners=False)[:, 0]
        return F.pad(maps, (left, width - right, top, height - bottom)).clamp(0, 1)


@dataclass(frozen=True)
class _Layer:
    """A part of a network whose output is a feature map, or tokens that are one."""

    part: nn.Module
    channels_last: bool
    prefix: int
    """Tokens before those of the patches."""

    def seen(self, output: Any) -> Tensor | None:
        """Return an output as (B, C, h, w); None if it is none."""
        if not isinstance(output, Tensor) or output.ndim not in (3, 4):
            return None
        if output.ndim == 4:
            return output.permute(0, 3, 1, 2) if self.channels_last else output
        patches = output[:, self._before(output) :]
        side = isqrt(patches.shape[1])
        return patches.mT.reshape(*patches.mT.shape[:2], side, side) if side * side == patches.shape[1] else None

    def _before(self, tokens: Tensor) -> int:
        """Return how many tokens stand for no patch (the class token); some networks add it in late layers alone."""
        patches = tokens.shape[1] - self.prefix
        return self.prefix if patches > 0 and isqrt(patches) ** 2 == patches else 0

    def as_it_was(self, seen: Tensor, output: Tensor) -> Tensor:
        """Return a map that :meth:`seen` has made of an output in the shape that the output had."""
        if output.ndim == 4:
            return seen.permute(0, 2, 3, 1) if self.channels_last else seen
        return torch.cat([output[:, : self._before(output)], seen.flatten(2).transpose(1, 2)], 1)

    @contextmanager
    def shown(self) -> Iterator[nn.Module]:
        """Let the output pass through a module of its own as (B, C, h, w), of which captum takes the gradient."""
        window, mine = nn.Identity(), threading.get_ident()

        def through(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
            if threading.get_ident() != mine:  # another thread predicts with the same network
                return None
            seen = self.seen(output)
            assert seen is not None
            return self.as_it_was(window(seen).clone(), output)  # a copy, which the next layer may overwrite

        handle = self.part.register_forward_hook(through)
        try:
            yield window
        finally:
            handle.remove()


def _normalised(maps: Tensor, size: int) -> Tensor:
    """Return maps (B, 1, h, w) as (B, 1, size, size), the largest value of each 1."""
    maps = F.interpolate(maps, (size, size), mode="bilinear", align_corners=False)
    return maps / maps.amax((2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def _stages(net: nn.Module) -> list[list[_Layer]]:
    """Return for each backbone the layers after which it has a feature map, in order.

    timm's networks say it themselves (``feature_info``); ours are a sequence; of others these are all convolutions.
    """
    backbone = getattr(net, "backbone", None)
    if isinstance(backbone, nn.ModuleList):
        return [stages for branch in backbone for stages in _stages(branch)]
    if info := getattr(backbone, "feature_info", None):
        assert backbone is not None
        last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        prefix = getattr(backbone, "num_prefix_tokens", 0)
        parts = dict(backbone.named_modules())  # of a few networks timm names parts that are not there
        names = [entry.get("module") for entry in getattr(info, "info", info)]
        return [[_Layer(parts[name], last, prefix) for name in names if name in parts]]
    if isinstance(backbone, nn.Sequential):
        return [[_Layer(part, False, 0) for part in backbone]]
    return [[_Layer(part, False, 0) for part in net.modules() if isinstance(part, nn.Conv2d)]]


def _usable(net: nn.Module, x: Tensor, stages: list[_Layer]) -> list[_Layer]:
    """Return the layers whose outputs are feature maps that are not too small, in the order in which they run."""
    met: list[_Layer] = []

    def look(layer: _Layer, output: Any) -> None:
        seen = layer.seen(output)
        if seen is not None and min(seen.shape[2:]) >= _SMALLEST:
            met.append(layer)

    handles = [stage.part.register_forward_hook(lambda _, __, out, stage=stage: look(stage, out)) for stage in stages]
    try:
        with torch.no_grad():
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    return met
