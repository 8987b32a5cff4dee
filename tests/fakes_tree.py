"""A tree of class folders, read as the tests of images and folders do."""

from pathlib import Path

import numpy as np

from fer.data.samples import Samples
from fer.datasets.folder import read_folder


def read(root: Path, image_size: int | None = None, channels: int | None = None, **options: object) -> Samples:
    return read_folder(root, root.parent / "cache", image_size, channels, **options)  # type: ignore[arg-type]


def by_id(samples: Samples) -> dict[str, np.ndarray]:
    return dict(zip(samples.ids.tolist(), samples.images, strict=True))
