"""Augmentation: a list of albumentations transforms, run image by image.

Two things are done differently from a plain ``albumentations.Compose``:

* **Random numbers.** Compose owns a generator that neither PyTorch's nor Lightning's worker seeding reaches, so workers
  and epochs repeat each other's augmentations. Here every batch brings a seed of its own (see
  :mod:`fer.data.sampling`), so what an image looks like depends on the run's seed, the epoch and its place in the
  epoch alone: not on the number of workers, nor on what was drawn before.
* **Speed.** At 48x48 pixels a transform's bookkeeping costs more than its pixels. There are only images here (no
  masks, boxes or key points), so the transforms are called one after the other without Compose, and
  :class:`fer.data.transforms.Affine` builds its matrix in closed form.

albumentations is imported where there is a step to build: an audit has none, and does without its 50 MB.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer.build import build
from fer.errors import ConfigError

UInt8Images = npt.NDArray[np.uint8]


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
        self.named: dict[str, Any] = {}
        for name, node in nodes.items():
            if node is None:  # `transforms.flip=null` switches a step off
                continue
            import albumentations as A

            step = build(node, f"transforms.{name}")
            if not isinstance(step, A.BasicTransform | A.BaseCompose):
                raise ConfigError(f"transforms.{name}._target_={node['_target_']} is not an albumentations transform.")
            self.named[name] = step

    def __len__(self) -> int:
        return len(self.named)

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
        for step in self.named.values():
            step.set_random_state(generator, python_random)
        grey = images.ndim == 3
        out = []
        for image in images[..., None] if grey else images:
            for step in self.named.values():
                image = step(image=image)["image"]
            out.append(image)
        batch = np.stack(out)
        return batch.reshape(batch.shape[:3]) if grey else batch
