"""Images made worse in known ways, to measure what a model stands: eight kinds at five strengths each.

After Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR
2019), with what happens to crops of faces: framing, masks, small cameras. Strength 1 is mild; at 5 people still
recognise most expressions.
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import albumentations as A

UInt8Images = npt.NDArray[np.uint8]

LEVELS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "blur": (0.01, 0.015, 0.021, 0.027, 0.034),
        "noise": (0.03, 0.06, 0.09, 0.13, 0.17),
        "jpeg": (40, 25, 17, 12, 8),
        "low_resolution": (0.67, 0.5, 0.42, 0.36, 0.31),
        "dark": (0.7, 0.5, 0.35, 0.25, 0.18),
        "occlusion": (0.15, 0.22, 0.3, 0.37, 0.45),
        "rotation": (8, 15, 22, 30, 40),
        "zoom": (1.08, 1.16, 1.26, 1.38, 1.5),
    }
)
"""The five strengths of each kind. ``blur``: standard deviation of a Gaussian, as a share of the shorter side.
``noise``: standard deviation of Gaussian noise, as a share of the range. ``jpeg``: quality. ``low_resolution``: what is
left of the resolution. ``dark``: what is left of the light. ``occlusion``: side of a square patch of one colour, as a
share of the image's. ``rotation``: degrees, to either side. ``zoom``: the face is that much larger, or smaller."""

KINDS = tuple(LEVELS)
STRENGTHS = range(1, 6)


class Corruption:
    """One kind of corruption at one strength; what it does to an image depends on the sample's id alone.

    Strengths of a kind share what is drawn at random (the place of a patch, the side to which an image is turned), so
    that they differ in strength alone.

    Args:
        kind: One of :data:`KINDS`.
        strength: From 1 (mild) to 5 (heavy).
    """

    def __init__(self, kind: str, strength: int) -> None:
        import albumentations  # noqa: F401 - 50 MB: once, before a loader's workers are forked, not in each of them

        self.kind, self.strength = kind, strength
        self._steps: dict[int, Any] = {}  # by the shorter side of the images

    def __call__(self, images: UInt8Images, ids: Sequence[str]) -> UInt8Images:
        """Corrupt images.

        Args:
            images: uint8 of shape (B, H, W) or (B, H, W, 3).
            ids: What names each sample.

        Returns:
            uint8 of the same shape.
        """
        side = min(images.shape[1:3])
        if side not in self._steps:
            self._steps[side] = _BUILDERS[self.kind](LEVELS[self.kind][self.strength - 1], side)
        step = self._steps[side]
        done = np.empty_like(images)
        grey = images.ndim == 3
        for number, (image, name) in enumerate(zip(images, ids, strict=True)):
            digest = hashlib.sha256(f"{self.kind}\0{name}".encode()).digest()
            seed = int.from_bytes(digest[:8], "big")
            step.set_random_state(np.random.default_rng(seed), random.Random(seed))
            changed = step(image=image[..., None] if grey else image)["image"]
            done[number] = changed[..., 0] if grey else changed
        return done


def _blur(sigma: float, side: int) -> "A.BasicTransform":
    import albumentations as A

    return A.GaussianBlur(sigma_limit=(sigma * side,) * 2, blur_limit=0, p=1)


def _noise(deviation: float, side: int) -> "A.BasicTransform":
    import albumentations as A

    return A.GaussNoise(std_range=(deviation,) * 2, p=1)


def _jpeg(quality: float, side: int) -> "A.BasicTransform":
    import albumentations as A

    return A.ImageCompression(quality_range=(int(quality),) * 2, compression_type="jpeg", p=1)


def _low_resolution(share: float, side: int) -> "A.BasicTransform":
    import albumentations as A
    import cv2

    ways = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    return A.Downscale(scale_range=(share,) * 2, interpolation_pair=ways, p=1)


def _dark(share: float, side: int) -> "A.BasicTransform":
    import albumentations as A

    return A.MultiplicativeNoise(multiplier=(share,) * 2, p=1)


def _occlusion(share: float, side: int) -> "A.BasicTransform":
    import albumentations as A

    hole = (share,) * 2
    return A.CoarseDropout(
        num_holes_range=(1, 1), hole_height_range=hole, hole_width_range=hole, fill="random_uniform", p=1
    )


def _rotation(degrees: float, side: int) -> "A.BaseCompose":
    return _either({"rotate": (-degrees,) * 2}, {"rotate": (degrees,) * 2})


def _zoom(factor: float, side: int) -> "A.BaseCompose":
    return _either({"scale": (factor,) * 2}, {"scale": (1 / factor,) * 2})


def _either(*options: Mapping[str, tuple[float, float]]) -> "A.BaseCompose":
    """Return one of several warps, drawn at random."""
    import albumentations as A

    from fer.data.transforms import Affine

    still: dict[str, Any] = {"rotate": (0, 0), "scale": (1, 1), "translate": (0, 0)}
    return A.OneOf([Affine(**{**still, **option}, p=1) for option in options], p=1)


_BUILDERS: Mapping[str, Callable[[float, int], Any]] = {
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "low_resolution": _low_resolution,
    "dark": _dark,
    "occlusion": _occlusion,
    "rotation": _rotation,
    "zoom": _zoom,
}
