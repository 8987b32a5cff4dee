"""Which images are alike enough to be near copies, given their cosines (:mod:`fer.data.cosines`).

1. *Candidates*: all pairs, by matrix products; as they are, mirrored, and one of them cropped a little.
2. *Alignment*: the crops at the four sides that make a candidate pair most alike, by least squares.
3. *Decision*: the correlation of the aligned images, after what all images have in common is removed (whitening).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fer.data.cosines import (
    BLOCK,
    MIDDLE,
    ROUGH,
    Bools,
    Floats,
    Rows,
    align,
    blocks,
    crop,
    known_share,
    mirror,
    overlap,
    unit,
    vectors_of,
)  # fmt: skip

ROUNDS = 4
"""Steps of least squares in the last alignment."""
_EDGES = ((2, 12), (12, 2))
# Top, bottom, left and right: the crops that candidates are searched with.
_STARTS = ((0, 0, 0, 0), (12, 12, 12, 12), *(y + x for y in _EDGES for x in _EDGES))
_CANDIDATE = 0.7  # least similarity of pairs before they are aligned
_HOPE = 0.7  # least similarity after the first step of alignment
_PRIOR = 100  # number of images that the assumption of white cosines counts as


class Candidates(NamedTuple):
    """Pairs that may be copies: rows, whether the second is to be mirrored, and crops (P, 4) that align them.

    Crops are of top, bottom, left and right in 192nds of the side: of the first image where positive, of the second
    where negative.
    """

    first: Rows
    second: Rows
    mirrored: Bools
    crops: Floats
    similarity: Floats

    def take(self, rows: Rows | Bools) -> "Candidates":
        """Return some of the pairs."""
        return Candidates._make(values[rows] for values in self)


def search(a: Floats, b: Floats | None, least: float) -> Candidates:
    """Find pairs of images that are alike, and align them.

    Args:
        a: Images as cosines, float32 of shape (N, order, order), from :func:`decode`.
        b: Others, likewise; None for pairs within the first.
        least: Least similarity of the whitened vectors.

    Returns:
        Each pair once, with its best crops and mirroring; within one dataset, the lower row first.
    """
    middle = [values[:, :MIDDLE, :MIDDLE] for values in (a, a if b is None else b)]
    aligned = (_aligned(middle[0], middle[1], pairs, 1) for pairs in _candidates(a, b))
    parts = [pairs.take(pairs.similarity >= _HOPE) for pairs in aligned]
    pairs = Candidates._make(np.concatenate(values) for values in zip(*parts, strict=True))
    if b is None:
        pairs = _in_order(pairs)
    pairs = pairs.take(np.argsort(-pairs.similarity, kind="stable"))
    _, best = np.unique(np.stack([pairs.first, pairs.second]), axis=1, return_index=True)
    pairs = _aligned(a, a if b is None else b, pairs.take(best), ROUNDS)

    whiten = _Whitening(vectors_of(a) if b is None else np.concatenate([vectors_of(a), vectors_of(b)]))
    similarity = np.empty(len(pairs.first), dtype=np.float32)
    for part in blocks(len(similarity)):
        first, second = _both(a, a if b is None else b, pairs, part)
        first, second = overlap(first, second, pairs.crops[part])
        similarity[part] = (whiten(vectors_of(first)) * whiten(vectors_of(second))).sum(axis=1)
    return pairs._replace(similarity=similarity).take(similarity >= least)


def _candidates(a: Floats, b: Floats | None) -> Iterator[Candidates]:
    """Yield pairs that are similar unchanged, mirrored, or with one image cropped; a pair may come several times.

    Args:
        a: Images as cosines, float32 of shape (N, order, order).
        b: Others, likewise; None for pairs within the first.
    """
    starts = np.array(_STARTS, dtype=np.float32)
    if b is not None:  # within one dataset both orders of a pair come up, and cropping the first image is enough
        starts = np.concatenate([starts, -starts[1:]])
    whole = [vectors_of(part[:, :ROUGH, :ROUGH]) for part in (a, b) if part is not None]
    whiten = _Whitening(np.concatenate(whole))
    for start in starts:
        query = whiten(vectors_of(_rough(a, start)))
        reference = _rough(a if b is None else b, -start)
        for mirrored in (False, True):
            target = whiten(vectors_of(mirror(reference, np.full(len(reference), mirrored)))).T
            first, second, similarity = _products(query, target, b is None, b is None and not start.any())
            crops = np.tile(start, (len(first), 1))
            yield Candidates(first, second, np.full(len(first), mirrored), crops, similarity)


def _products(query: Floats, target: Floats, same: bool, symmetric: bool) -> tuple[Rows, Rows, Floats]:
    """Return rows, columns and values of the large elements of a matrix product, without holding all of it in memory.

    Args:
        query: float32 of shape (N, D).
        target: float32 of shape (D, M).
        same: Leave out the diagonal.
        symmetric: Leave out everything below it.
    """
    firsts, seconds, values = [np.arange(0)], [np.arange(0)], [np.empty(0, dtype=np.float32)]
    for rows in blocks(query.shape[0], BLOCK // 8):
        for columns in blocks(target.shape[1], 16 * BLOCK):
            if symmetric and columns.stop <= rows.start:
                continue
            product = (query[rows] @ target[:, columns]).ravel()
            large = np.flatnonzero(product > _CANDIDATE)
            first, second = np.divmod(large, target[:, columns].shape[1])
            first, second = first + rows.start, second + columns.start
            if same:
                kept = first < second if symmetric else first != second
                first, second, large = first[kept], second[kept], large[kept]
            value = product[large]
            if len(large) > BLOCK:  # very many similar images: bounds the work on them
                best = np.argpartition(-value, BLOCK)[:BLOCK]
                first, second, value = first[best], second[best], value[best]
            firsts.append(first)
            seconds.append(second)
            values.append(value)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(values)


def _rough(cosines: Floats, crops: Floats) -> Floats:
    """Return the lowest cosines of cropped images, weighted by how well they are known, float32 (N, 8, 8)."""
    rough = np.empty((len(cosines), ROUGH, ROUGH), dtype=np.float32)
    known = known_share(cosines.shape[1], -crops)
    for part in blocks(len(cosines)):
        rough[part] = (crop(cosines[part], crops) * known)[:, :ROUGH, :ROUGH]
    return rough


def _in_order(pairs: Candidates) -> Candidates:
    """Swap the images of pairs so that the first has the lower row."""
    swap = pairs.first > pairs.second
    # Swapped, a crop changes its sign; mirrored too, left and right change places.
    back = -np.where(pairs.mirrored[:, None], pairs.crops[:, [0, 1, 3, 2]], pairs.crops)
    return pairs._replace(
        first=np.where(swap, pairs.second, pairs.first),
        second=np.where(swap, pairs.first, pairs.second),
        crops=np.where(swap[:, None], back, pairs.crops),
    )


def _both(a: Floats, b: Floats, pairs: Candidates, part: slice) -> tuple[Floats, Floats]:
    """Return the first and second images of some pairs, the second mirrored where the pair says so."""
    return a[pairs.first[part]], mirror(b[pairs.second[part]], pairs.mirrored[part])


def _aligned(a: Floats, b: Floats, pairs: Candidates, rounds: int) -> Candidates:
    """Return the pairs with the crops that make them most similar, and that similarity."""
    similarity, crops = np.empty_like(pairs.similarity), np.empty_like(pairs.crops)
    for part in blocks(len(similarity)):
        first, second = _both(a, b, pairs, part)
        similarity[part], crops[part] = align(first, second, pairs.crops[part], rounds)
    return pairs._replace(similarity=similarity, crops=crops)


class _Whitening:
    """Makes vectors of shape (N, D) white: what all faces have in common says little about copies."""

    def __init__(self, vectors: Floats) -> None:
        # Flat images have zero vectors, which add nothing to the sums.
        count, dims = max(1, int((vectors != 0).any(axis=1).sum())), vectors.shape[1]
        share = count / (count + _PRIOR)
        self.mean = vectors.sum(axis=0) / (count + _PRIOR)
        covariance = vectors.T @ vectors / count - np.outer(self.mean, self.mean)
        # Directions of little variance are mostly noise, and few images give poor estimates: both are shrunk.
        values, axes = np.linalg.eigh(share * covariance + (0.3 * share + 1 - share) * np.eye(dims) / dims)
        self.matrix = (axes / np.sqrt(values) @ axes.T).astype(np.float32)

    def __call__(self, vectors: Floats) -> Floats:
        """Return white vectors of length 1; zero vectors stay zero."""
        white = np.empty_like(vectors)
        for part in blocks(len(vectors)):
            seen = (vectors[part] != 0).any(axis=1, keepdims=True)
            white[part] = unit((vectors[part] - self.mean) @ self.matrix) * seen
        return white
