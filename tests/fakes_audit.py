"""Pictures and samples for tests of an audit."""

import cv2
import numpy as np
import numpy.typing as npt

from fer.data.samples import Samples

Images = npt.NDArray[np.uint8]
CLASSES = ("angry", "happy", "sad")


def pictures(labels: npt.NDArray[np.int64], seed: int, strength: float = 1.0) -> Images:
    """Return pictures, each independent of the others but for what its class has in common, uint8 (N, 48, 48)."""

    def noise(rng: np.random.Generator, cells: int) -> npt.NDArray[np.float32]:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        return cv2.resize(grid, (48, 48), interpolation=cv2.INTER_CUBIC)

    rng = np.random.default_rng(seed)
    images = []
    for label in labels:
        common = noise(np.random.default_rng(1000 + label), 6)
        images.append(128 + 25 * strength * common + sum(90 / np.sqrt(c) * 0.5 * noise(rng, c) for c in (3, 6, 12, 24)))
    return np.clip(np.array(images), 0, 255).astype(np.uint8)


def samples(labels: list[int], splits: list[str] | None = None, images: Images | None = None) -> Samples:
    count = len(labels)
    return Samples(
        images=np.zeros((count, 48, 48), np.uint8) if images is None else images,
        labels=np.array(labels), splits=np.array(splits or ["train"] * count),
        ids=np.array([f"i{row}" for row in range(count)]), classes=CLASSES,
    )  # fmt: skip
