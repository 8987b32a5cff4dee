"""Transforms of our own, in albumentations' form. Its bookkeeping costs more than the pixels of a 48x48 image."""

import math
from typing import Any, ClassVar

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

from fer.errors import ConfigError

UInt8Images = npt.NDArray[np.uint8]


class Affine(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations has no types
    """Random rotation, zoom, shift and shear about the centre, as ``albumentations.Affine`` but five times as fast.

    Args:
        rotate: Range of the angle in degrees, counter-clockwise.
        scale: Range of the zoom factor; above 1 enlarges.
        translate: Range of the shift as a fraction of the side, drawn for each axis on its own.
        shear: Range of the horizontal shear angle in degrees.
        border: What lies outside the image: ``reflect``, ``replicate`` or ``constant`` (black).
        p: Probability that the transform is applied.

    Raises:
        ConfigError: If ``border`` is none of these.
    """

    _BORDERS: ClassVar = {
        "reflect": cv2.BORDER_REFLECT_101,
        "replicate": cv2.BORDER_REPLICATE,
        "constant": cv2.BORDER_CONSTANT,
    }

    def __init__(
        self,
        rotate: tuple[float, float] = (-10, 10),
        scale: tuple[float, float] = (0.9, 1.1),
        translate: tuple[float, float] = (-0.1, 0.1),
        shear: tuple[float, float] = (0, 0),
        border: str = "replicate",
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        if border not in self._BORDERS:
            raise ConfigError(f"transforms: border='{border}' must be one of {', '.join(self._BORDERS)}.")
        self.rotate, self.scale, self.translate, self.shear = (
            (float(low), float(high)) for low, high in (rotate, scale, translate, shear)
        )
        self.border = border

    def get_params(self) -> dict[str, Any]:
        """Draw angle, zoom, shifts and shear."""
        draw = self.py_random.uniform
        return {
            "angle": math.radians(draw(*self.rotate)),
            "zoom": draw(*self.scale),
            "shift": (draw(*self.translate), draw(*self.translate)),
            "slant": -math.tan(math.radians(draw(*self.shear))),
        }

    def apply(
        self,
        img: UInt8Images,
        angle: float,
        zoom: float,
        shift: tuple[float, float],
        slant: float,
        **params: Any,
    ) -> UInt8Images:
        """Warp one image of shape (H, W, C)."""
        height, width = img.shape[:2]
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        a, b, c, d = cos, sin + slant * cos, -sin, cos - slant * sin
        x, y = (width - 1) / 2, (height - 1) / 2
        matrix = np.array(
            [
                [a, b, x - a * x - b * y + shift[0] * width],
                [c, d, y - c * x - d * y + shift[1] * height],
            ]
        )
        warped: UInt8Images = cv2.warpAffine(  # type: ignore[assignment]
            img, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=self._BORDERS[self.border]
        )
        return warped.reshape(img.shape)  # OpenCV drops the last axis of a grey image
