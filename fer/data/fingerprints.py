"""Fingerprints of images, 104 bytes each, by which exact and near copies are found: checkpoints carry them."""

import numpy as np
import numpy.typing as npt

from fer.data.blocks import BLOCK, blocks, each_block
from fer.data.cosines import (
    COUNT,
    PRINT,
    Floats,
    Images,
    Rows,
    cosines_of,
    frequency_weights,
    lowest_frequencies,
    vectors_of,
)
from fer.data.streamed import HASH, Streamed, hash_of

SIZE = HASH + COUNT[PRINT] // 2
"""Bytes of a fingerprint."""


def fingerprints(images: Images, rows: Rows | None = None) -> Images:
    """Return what :func:`fer.data.near_copies.matches` compares, 104 bytes for an image of any size and colours.

    Args:
        images: uint8 of shape (M, H, W) or (M, H, W, 3); may be memory-mapped, and is read in blocks.
        rows: int64 of shape (N,), the rows of the images; None for all.

    Returns:
        uint8 of shape (N, 104): a hash of size and pixels, then 192 cosines of four bits each.
    """
    rows = np.arange(len(images)) if rows is None else rows
    if isinstance(images, Streamed):
        return np.asarray(images.prints[rows])
    none = np.empty((0, SIZE), dtype=np.uint8)
    return np.concatenate([none, *each_block(lambda part: _fingerprints(images[rows[part]]), len(rows), BLOCK // 4)])


def _fingerprints(images: Images) -> Images:
    vectors = vectors_of(cosines_of(images, PRINT))
    peak = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    # Square roots, since most are much smaller than the largest; two values of 4 bits in a byte.
    levels = 7 * np.sign(vectors) * np.sqrt(np.abs(vectors) / np.where(peak > 0, peak, 1))
    nibbles = (np.rint(levels) + 8).astype(np.uint8)
    heads = hashes(images).view(np.uint8).reshape(-1, HASH)
    return np.concatenate([heads, nibbles[:, ::2] << 4 | nibbles[:, 1::2]], axis=1)


def hashes(images: Images, rows: Rows | None = None) -> npt.NDArray[np.uint64]:
    """Return a hash of each image's size and pixels.

    Args:
        images: uint8 of shape (M, H, W) or (M, H, W, 3); may be memory-mapped, and is read image by image.
        rows: int64 of shape (N,), the rows of the images; None for all.

    Returns:
        uint64 of shape (N,).
    """
    rows = np.arange(len(images)) if rows is None else rows
    if isinstance(images, Streamed):
        return hashes_in(images.prints[rows])
    return np.fromiter((int.from_bytes(hash_of(images[row]), "little") for row in rows), np.uint64, len(rows))


def hashes_in(prints: Images) -> npt.NDArray[np.uint64]:
    """Return the hashes that fingerprints begin with, uint64 of shape (N,)."""
    return np.ascontiguousarray(prints[:, :HASH]).view(np.uint64)[:, 0]


def decode(prints: npt.NDArray[np.uint8]) -> Floats:
    """Return the cosines in fingerprints, up to a factor per image, float32 of shape (N, 16, 16)."""
    lowest = lowest_frequencies(PRINT)
    weights = frequency_weights(PRINT).ravel()[lowest]
    cosines = np.zeros((len(prints), PRINT**2), dtype=np.float32)
    for part in blocks(len(prints)):
        halves = prints[part, HASH:]
        nibbles = np.stack([halves >> 4, halves & 15], axis=2).reshape(-1, COUNT[PRINT])
        levels = nibbles.astype(np.float32) - 8
        cosines[part, lowest] = levels * np.abs(levels) / weights
    return cosines.reshape(-1, PRINT, PRINT)
