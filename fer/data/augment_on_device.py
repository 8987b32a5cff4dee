"""Augmentation on the GPU, of a whole batch at once: a GPU takes more images than many cores can augment one by one.

The steps are the config's albumentations transforms, built by albumentations, which checks and completes their options.
What they draw and do is done by torch here: in float32, rounded once at the end. A step with fixed options changes
images as :class:`fer.data.augment.Augment` does, up to a grey level or two; one with ranges draws from the same
distribution, but other numbers, which depend on the kind of device too.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fer.data.augment import Augment
from fer.errors import ConfigError

if TYPE_CHECKING:
    from fer.data.transforms import Affine

_BORDERS = {"reflect": "reflection", "replicate": "border", "constant": "zeros"}


class _Draw(NamedTuple):
    """Where a batch's random numbers come from.

    Attributes:
        size: Number of images, B.
        generator: On the images' device.
    """

    size: int
    generator: torch.Generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return float32 of shape (B, ...), evenly between two numbers."""
        device = self.generator.device
        return torch.rand(self.size, *shape, generator=self.generator, device=device) * (high - low) + low

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        """Return whole numbers from ``low`` to ``high``, both included, as float32 of shape (B, ...)."""
        return self.uniform(low, high + 1, *shape).floor().clamp(max=high)


Change = Callable[[Any, Tensor, _Draw], Tensor]
"""From a step, images (B, C, H, W) in 0 to 255 and random numbers to changed images of the same shape."""


class AugmentOnDevice:
    """The ``transforms`` group for ``data.augment_on=device``.

    Args:
        augment: The pipeline, as the config names it.

    Raises:
        ConfigError: If a step has no counterpart on the device.
    """

    def __init__(self, augment: Augment) -> None:
        self.steps: list[tuple[Any, Change]] = []
        for name, step in augment.named.items():
            change = _changes().get(type(step))
            option = next((option for option, can in _CANNOT.get(type(step).__name__, {}).items() if not can(step)), "")
            if change is None or option:
                known = ", ".join(sorted(each.__name__ for each in _changes()))
                raise ConfigError(
                    f"transforms.{name}: {type(step).__name__}{option and f' with this {option}'} is done by loaders "
                    f"alone. Set data.augment_on=loader, or leave the step out by transforms.{name}=null. Devices do: "
                    f"{known}."
                )
            self.steps.append((step, change))

    def __call__(self, images: Tensor, seed: Sequence[int]) -> Tensor:
        """Augment a batch.

        Args:
            images: uint8 of shape (B, H, W) or (B, H, W, 3), on any device.
            seed: Seeds the batch's random numbers.

        Returns:
            uint8 of the same shape.
        """
        state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
        draw = _Draw(len(images), torch.Generator(images.device).manual_seed(state))
        grey = images.ndim == 3
        x = (images[:, None] if grey else images.permute(0, 3, 1, 2)).float()
        for step, change in self.steps:
            applied = draw.uniform(0, 1) < step.p
            x = torch.where(_per_image(applied), change(step, x, draw).clamp(0, 255), x)
        whole = x.round().to(torch.uint8)
        return whole[:, 0] if grey else whole.permute(0, 2, 3, 1).contiguous()


# What an option must be for the device to follow it.
_CANNOT: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "RandomBrightnessContrast": {
        "brightness_by_max": lambda step: step.brightness_by_max,
        "ensure_safe_range": lambda step: not step.ensure_safe_range,
    },
    "GaussNoise": {"noise_scale_factor": lambda step: step.noise_scale_factor == 1},
    "CoarseDropout": {"fill": lambda step: not isinstance(step.fill, str)},
}


@cache
def _changes() -> Mapping[type, Change]:
    import albumentations as A

    from fer.data.transforms import Affine

    return {
        A.HorizontalFlip: lambda step, x, draw: x.flip(-1),
        Affine: _warp,
        A.RandomBrightnessContrast: _light,
        A.RandomGamma: lambda step, x, draw: (x / 255) ** _per_image(draw.uniform(*step.gamma_limit) / 100) * 255,
        A.GaussianBlur: _blur,
        A.GaussNoise: _noise,
        A.CoarseDropout: _erase,
    }


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _warp(step: "Affine", x: Tensor, draw: _Draw) -> Tensor:
    height, width = x.shape[-2:]
    angle, slant = draw.uniform(*step.rotate).deg2rad(), -draw.uniform(*step.shear).deg2rad().tan()
    zoom, shift = draw.uniform(*step.scale), draw.uniform(*step.translate, 2) * x.new_tensor([width, height])
    cos, sin = angle.cos(), angle.sin()
    # The inverse of Affine's matrix, whose determinant is zoom squared.
    back = torch.stack([cos - slant * sin, -(sin + slant * cos), sin, cos], -1).view(-1, 2, 2) / zoom.view(-1, 1, 1)
    centre = x.new_tensor([(width - 1) / 2, (height - 1) / 2])
    rows = torch.arange(height, device=x.device, dtype=x.dtype)
    columns = torch.arange(width, device=x.device, dtype=x.dtype)
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)  # (H, W, 2), x and y in pixels
    from_centre = places - centre - shift[:, None, None]
    source = torch.einsum("bij,bhwj->bhwi", back, from_centre) + centre
    grid = source * 2 / x.new_tensor([max(1, width - 1), max(1, height - 1)]) - 1
    return F.grid_sample(x, grid, "bilinear", _BORDERS[step.border], align_corners=True)


def _light(step: Any, x: Tensor, draw: _Draw) -> Tensor:
    contrast, brightness = draw.uniform(*step.contrast_limit), draw.uniform(*step.brightness_limit)
    return x * _per_image(1 + contrast) + 255 * _per_image(brightness)


def _blur(step: Any, x: Tensor, draw: _Draw) -> Tensor:
    batch, channels, height, width = x.shape
    sigma = draw.uniform(*step.sigma_limit)[:, None]
    # albumentations draws the kernel's side, made odd, or takes PIL's for the sigma where blur_limit is 0.
    side = draw.whole(*step.blur_limit)[:, None]
    reach = torch.where(side == 0, (sigma * 3.5).floor(), (side / 2).floor())
    largest = min(
        int(step.sigma_limit[1] * 3.5) if not step.blur_limit[1] else step.blur_limit[1] // 2, height - 1, width - 1
    )
    offsets = torch.arange(-largest, largest + 1, device=x.device)
    kernels = torch.exp(-0.5 * (offsets / sigma) ** 2) * (offsets.abs() <= reach)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None, :, None]
    each = F.pad(x.reshape(1, batch * channels, height, width), (largest,) * 4, "reflect")
    for kernel in (kernels, kernels.transpose(2, 3)):
        each = F.conv2d(each, kernel, groups=batch * channels)
    return each.view_as(x)


def _noise(step: Any, x: Tensor, draw: _Draw) -> Tensor:
    std, mean = draw.uniform(*step.std_range), draw.uniform(*step.mean_range)
    shape = x.shape if step.per_channel else (len(x), 1, *x.shape[2:])
    noise = torch.randn(shape, generator=draw.generator, device=x.device)
    return x + 255 * (noise * _per_image(std) + _per_image(mean))


def _erase(step: Any, x: Tensor, draw: _Draw) -> Tensor:
    most = step.num_holes_range[1]
    there = torch.arange(most, device=x.device) < draw.whole(*step.num_holes_range)[:, None]
    inside = torch.ones(len(x), most, *x.shape[2:], dtype=torch.bool, device=x.device)
    for axis, (low, high) in ((2, step.hole_height_range), (3, step.hole_width_range)):
        side = x.shape[axis]
        if step.hole_height_range[1] >= 1:  # in pixels, as albumentations decides it for both
            length = draw.whole(int(low), int(min(high, side)), most)
        else:
            length = (side * draw.uniform(low, high, most)).floor()
        start = (draw.uniform(0, 1, most) * (side - length + 1)).floor()
        places = torch.arange(side, device=x.device).view(1, 1, -1)
        within = (places >= start[..., None]) & (places < (start + length)[..., None])  # (B, N, side)
        inside &= within.unsqueeze(5 - axis)
    holes = (inside & there[..., None, None]).any(1, keepdim=True)
    fill = x.new_tensor(step.fill).expand(x.shape[1]).view(1, -1, 1, 1)
    return torch.where(holes, fill, x)
