"""Simple measures of images: brightness, contrast, one flat colour, an equalised histogram."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fer.data.streamed import Streamed

_BLOCK = 2**22  # bytes processed at a time; as float numbers they take several times as many
_LOOKED_AT = 2000  # images of a dataset, evenly spread, that are checked for an equalised histogram


def blocks(images: npt.NDArray[np.uint8]) -> Iterator[tuple[slice, npt.NDArray[np.uint8]]]:
    """Go through images that may not fit into memory: slices of rows, and their images as (B, pixels)."""
    step = max(1, _BLOCK // max(1, images[:1].nbytes))
    for start in range(0, len(images), step):
        part = slice(start, min(start + step, len(images)))
        yield part, np.ascontiguousarray(images[part]).reshape(part.stop - part.start, -1)


def brightness(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return each image's mean pixel in [0, 1], float64 of shape (N,)."""
    return np.concatenate([part.mean(1) / 255 for _, part in blocks(images)] or [np.empty(0)])


def contrast(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return each image's standard deviation in [0, 1], float64 of shape (N,)."""
    return np.concatenate([part.astype(np.float32).std(1) / 255 for _, part in blocks(images)] or [np.empty(0)])


def flat(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Say which images are one flat colour, bool of shape (N,)."""
    if isinstance(images, Streamed):
        return images.flat
    if images.ndim == 4:
        return np.concatenate(
            [
                (part.reshape(len(part), -1, 3) == part.reshape(len(part), -1, 3)[:, :1]).all((1, 2))
                for _, part in blocks(images)
            ]
            or [np.empty(0, bool)]
        )
    return np.concatenate([(part == part[:, :1]).all(1) for _, part in blocks(images)] or [np.empty(0, bool)])


def equalised(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Say which images have an equalised histogram (every brightness equally often), bool of shape (N,)."""
    result = np.zeros(len(images), dtype=np.bool_)
    for part, pixels in blocks(images):
        for row, image in enumerate(pixels, start=part.start):
            share = np.bincount(image, minlength=256) / len(image)
            above = np.cumsum(share)
            # The Kolmogorov distance to the uniform distribution, less each level's own share.
            result[row] = (np.abs(above - np.arange(256) / 255)[share > 0] - share[share > 0]).max() < 0.03
    return result


def oddities(
    images: npt.NDArray[np.uint8], one_colour: npt.NDArray[np.bool_], ids: npt.NDArray[np.str_], name: str
) -> list[str]:
    """Return warnings of what is unusual about a dataset's images.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        one_colour: bool of shape (N,), which of them are :func:`flat`.
        ids: str of shape (N,).
        name: The dataset's name.
    """
    found = []
    if one_colour.any():
        found.append(f"{name}: {one_colour.sum()} images are one flat colour (such as {ids[one_colour.argmax()]}).")
    rows = np.unique(np.linspace(0, len(images) - 1, min(len(images), _LOOKED_AT)).astype(int))
    share = equalised(images[rows]).mean() if len(rows) else 0.0
    if share > 0.5:
        found.append(
            f"{name}: the images' histograms were equalised ({100 * share:.0f} % of {len(rows)} looked at). A network "
            f"trained on them fails on other images, and the other way round."
        )
    return found
