"""Augmentation: a list of albumentations transforms, run image by image. The only file that imports albumentations.

Two things are done differently from a plain ``albumentations.Compose``:

* **Random numbers.** Compose owns a generator that neither PyTorch's nor Lightning's worker seeding reaches, so workers
  and epochs repeat each other's augmentations. Here every batch brings a seed of its own (see
  :mod:`fer.data.sampling`), so what an image looks like depends on the run's seed, the epoch and its place in the
  epoch alone: not on the number of workers, nor on what was drawn before.
* **Speed.** At 48x48 pixels a transform's bookkeeping costs more than its pixels. There are only images here (no
  masks, boxes or key points), so the transforms are called one after the other without Compose, and :class:`Affine`
  builds its matrix in closed form.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

from fer.build import build
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


class Augment:
    """A pipeline of albumentations transforms for uint8 images, seeded batch by batch.

    Args:
        nodes: The config's ``transforms`` group: a name and a ``_target_`` with its options for each step, in order.

    Raises:
        ConfigError: If a step cannot be built, or is no albumentations transform.
    """

    def __init__(self, nodes: Mapping[str, Any]) -> None:
        # One thread: the DataLoader's workers run in parallel, and OpenCV's own threads would compete with them.
        cv2.setNumThreads(0)
        self.steps: list[Any] = []
        for name, node in nodes.items():
            if node is None:  # `transforms.flip=null` switches a step off
                continue
            step = build(node, f"transforms.{name}")
            if not isinstance(step, A.BasicTransform | A.BaseCompose):
                raise ConfigError(f"transforms.{name}._target_={node['_target_']} is not an albumentations transform.")
            self.steps.append(step)

    def __len__(self) -> int:
        return len(self.steps)

    def __call__(self, images: UInt8Images, seed: Sequence[int]) -> UInt8Images:
        """Augment a batch.

        Args:
            images: uint8 of shape (B, H, W) or (B, H, W, 3).
            seed: Seeds the batch's random numbers.

        Returns:
            uint8 of shape (B, H', W') or (B, H', W', 3); H' and W' differ from H and W only if a step resizes.
        """
        generator = np.random.default_rng(seed)
        python_random = random.Random(int(generator.integers(2**63)))
        for step in self.steps:
            step.set_random_state(generator, python_random)
        grey = images.ndim == 3
        out = []
        for image in images[..., None] if grey else images:
            for step in self.steps:
                image = step(image=image)["image"]
            out.append(image)
        batch = np.stack(out)
        return batch.reshape(batch.shape[:3]) if grey else batch
