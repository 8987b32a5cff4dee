"""Images as the amplitudes of their lowest cosine frequencies: what copies are recognised by.

The amplitudes are the same at any stored size, ignore brightness, and cropping an image is a small matrix on them.
Throughout, ``cosines`` are float32 of shape (N, order, order): vertical and horizontal frequency, in grey levels.
"""

import math
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fer.data.blocks import BLOCK, blocks

Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float32]
Images: TypeAlias = npt.NDArray[np.uint8]
Rows: TypeAlias = npt.NDArray[np.int64]

# Cosines per axis: to find candidates, for a first alignment, in a fingerprint, to decide on pixels.
ROUGH, MIDDLE, PRINT, FINE = 8, 12, 16, 24
COUNT = {ROUGH: 44, PRINT: 192}
"""How many of the cosines are compared, those of the lowest frequencies."""
_FLAT = 2.0  # grey levels; an image that deviates less from its mean is flat
_UNITS = 192  # crops are counted in 192nds of the side, quarters of a pixel of 48
_REACH = 20  # the largest crop of a side, 10 %


@cache
def _basis(size: int, order: int) -> Floats:
    """Return the cosines over a line of pixels, float32 of shape (order, size); 0 where the line has too few pixels."""
    k = np.arange(order)[:, None]
    basis = np.cos(np.pi * k * (np.arange(size) + 0.5) / size) * np.where(k > 0, np.sqrt(2), 1) / size
    return np.where(k < size, basis, 0).astype(np.float32)


def cosines_of(images: Images, order: int) -> Floats:
    """Return the amplitudes of images' lowest cosines, in grey levels.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        order: Number of frequencies per axis.

    Returns:
        float32 of shape (N, order, order); a flat image's are 0.
    """
    cosines = np.empty((len(images), order, order), dtype=np.float32)
    down, across = _basis(images.shape[1], order), _basis(images.shape[2], order).T
    for part in blocks(len(images), max(1, BLOCK * 64**2 // math.prod(images.shape[1:]))):  # 16 MB
        block = images[part].astype(np.float32)
        if block.ndim == 4:
            block = block @ np.array((0.299, 0.587, 0.114), dtype=np.float32)
        cosines[part] = down @ (block @ across)
    # Brightness is ignored. The squares of the others add up to the variance.
    cosines[:, 0, 0] = 0
    cosines[(cosines**2).sum(axis=(1, 2)) < _FLAT**2] = 0
    return cosines


@cache
def frequency_weights(order: int) -> Floats:
    """Return the frequency of each cosine, float32 (order, order): times it, cosines of pictures are equally strong."""
    k = np.arange(order)
    return np.hypot(k[:, None], k).astype(np.float32)


def mirror(cosines: Floats, which: Bools) -> Floats:
    """Mirror (left to right) the images for which ``which``, bool of shape (N,), is true."""
    odd = np.arange(cosines.shape[2]) % 2 == 1
    return np.where(which[:, None, None] & odd, -cosines, cosines)


@cache
def _crop_matrices(order: int) -> Floats:
    """Return the matrices that crop a line, given as cosines, at its start and end, and stretch the rest to its length.

    Returns:
        float32 of shape (reach + 1, reach + 1, order, order).
    """
    samples, k = 4 * order, np.arange(order)
    crops = np.arange(_REACH + 1) / _UNITS
    start, end = crops[:, None, None], crops[None, :, None]
    place = start + (1 - start - end) * (np.arange(samples) + 0.5) / samples
    waves = np.cos(np.pi * k * place[..., None]) * np.where(k > 0, np.sqrt(2), 1)
    return np.asarray(_basis(samples, order) @ waves, dtype=np.float32)


def crop(cosines: Floats, crops: Floats) -> Floats:
    """Crop images, given as cosines of shape (N, order, order).

    Args:
        cosines: The images.
        crops: float32 of shape (N, 4) or (4,): top, bottom, left, right in 192nds of the side; negative counts as 0.
    """
    table = _crop_matrices(cosines.shape[1])
    top, bottom, left, right = np.rint(np.clip(crops, 0, _REACH)).astype(np.int64).T
    cropped: Floats = table[top, bottom] @ cosines @ table[left, right].swapaxes(-1, -2)
    return cropped


def known_share(order: int, crops: Floats) -> Floats:
    """Return how much of each cosine of cropped images is known, float32 of shape (N, order, order) or (order, order).

    Stretching a crop lowers its frequencies: its finest cosines come from frequencies above ``order``, which are lost.
    """
    share = (_crop_matrices(order) ** 2).sum(axis=3)
    top, bottom, left, right = np.rint(np.clip(crops, 0, _REACH)).astype(np.int64).T
    known: Floats = share[top, bottom][..., :, None] * share[left, right][..., None, :]
    return known


def overlap(a: Floats, b: Floats, crops: Floats) -> tuple[Floats, Floats]:
    """Crop pairs of images to the part that both show, and keep the cosines that are known of both.

    Positive crops are of the first image, negative ones of the second.
    """
    order = a.shape[1]
    return crop(a, crops) * known_share(order, -crops), crop(b, -crops) * known_share(order, crops)


def weighted(cosines: Floats) -> Floats:
    """Return images as vectors of shape (N, order * order), whose dot products measure similarity."""
    order = cosines.shape[1]
    return (cosines * frequency_weights(order)).reshape(-1, order**2)


@cache
def lowest_frequencies(order: int) -> Rows:
    """Return the indices of the compared cosines in a flattened (order, order), lowest frequency first."""
    return np.argsort(frequency_weights(order).ravel(), kind="stable")[1 : 1 + COUNT[order]]


def vectors_of(cosines: Floats) -> Floats:
    """Return the compared cosines as vectors of length 1 (0 for flat images), float32 of shape (N, D)."""
    lowest = lowest_frequencies(cosines.shape[1])
    vectors = np.empty((len(cosines), len(lowest)), dtype=np.float32)
    for part in blocks(len(cosines)):
        vectors[part] = unit(weighted(cosines[part])[:, lowest])
    return vectors


def unit(vectors: Floats) -> Floats:
    """Scale vectors to length 1; zero vectors stay zero."""
    norm = np.sqrt((vectors**2).sum(axis=-1, keepdims=True))
    return np.asarray(vectors / np.where(norm > 0, norm, 1), dtype=np.float32)


def align(a: Floats, b: Floats, crops: Floats, rounds: int) -> tuple[Floats, Floats]:
    """Find the crops that make pairs of images most alike.

    Args:
        a: First images as cosines, float32 of shape (P, order, order).
        b: Second images, likewise.
        crops: float32 of shape (P, 4), where to start.
        rounds: Steps of least squares.

    Returns:
        Similarity, float32 of shape (P,), and the crops it was found with, float32 of shape (P, 4).
    """
    order = a.shape[1]
    table = _crop_matrices(order)
    by_start, by_end = table[1, 0] - table[0, 0], table[0, 1] - table[0, 0]
    best, best_crops = np.full(len(a), -1, dtype=np.float32), crops
    ridge = np.diag(np.array((1e-6, 1e-4, 1e-4, 1e-4, 1e-4), dtype=np.float32))
    for step in range(rounds + 1):
        cropped, other = overlap(a, b, crops)
        target = unit(weighted(other))
        scale = np.sqrt((weighted(cropped) ** 2).sum(axis=1))[:, None, None]
        cropped /= np.where(scale > 0, scale, 1)
        similarity = (weighted(cropped) * target).sum(axis=1)
        better = similarity > best
        best = np.where(better, similarity, best)
        best_crops = np.where(better[:, None], crops, best_crops)
        if step == rounds:
            break
        # Least squares: the target as the first image plus its changes by one unit of crop at each side.
        changes = (cropped, by_start @ cropped, by_end @ cropped, cropped @ by_start.T, cropped @ by_end.T)
        terms = np.stack([weighted(change) for change in changes], axis=1)
        gram = terms @ terms.swapaxes(1, 2) + ridge
        shares = np.linalg.solve(gram, terms @ target[:, :, None])[:, :, 0]
        moves = shares[:, 1:] / np.maximum(shares[:, :1], 0.3)
        crops = np.clip(crops + np.clip(moves, -8, 8), -_REACH, _REACH).astype(np.float32)
    return best, best_crops
