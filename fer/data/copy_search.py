"""Which images are alike enough to be near copies, given their cosines (:mod:`fer.data.cosines`).

1. *Candidates*: each image and those that are most like it (:mod:`fer.data.neighbours`); as they are, mirrored, and
   one of them cropped a little.
2. *Alignment*: the crops at the four sides that make a candidate pair most alike, by least squares.
3. *Decision*: the correlation of the aligned images, after what all images have in common is removed (whitening).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fer.data.blocks import blocks, each_block
from fer.data.cosines import (
    MIDDLE,
    ROUGH,
    Bools,
    Floats,
    Rows,
    align,
    crop,
    known_share,
    mirror,
    overlap,
    unit,
    vectors_of,
)  # fmt: skip
from fer.data.neighbours import ALL, centres_of, similar

ROUNDS = 4
"""Steps of least squares in the last alignment."""
_EDGES = ((2, 12), (12, 2))
# Top, bottom, left and right: the crops that candidates are searched with.
_STARTS = ((0, 0, 0, 0), (12, 12, 12, 12), *(y + x for y in _EDGES for x in _EDGES))
_CANDIDATE = 0.7  # least similarity of pairs before they are aligned
_HOPE = 0.7  # least similarity after the first step of alignment
_CHANCE = 0.4  # least similarity of whitened vectors then: FER2013's copies reach 0.5
_PRIOR = 100  # number of images that the assumption of white cosines counts as
_MOST = 100_000  # images of which is measured what all have in common


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
        a: Images as cosines, float32 of shape (N, order, order), from :func:`fer.data.cosines.cosines_of`.
        b: Others, likewise; None for pairs within the first.
        least: Least similarity of the whitened vectors.

    Returns:
        Each pair once, with its best crops and mirroring; within one dataset, the lower row first.
    """
    if b is not None and len(a) > max(ALL, len(b)):  # as many vectors are compared with each of the first set
        return _swapped(search(b, a, least))
    other = a if b is None else b
    middle, other_middle = (values[:, :MIDDLE, :MIDDLE] for values in (a, other))
    none = np.arange(0)
    best = Candidates(none, none, none > 0, np.empty((0, 4), np.float32), np.empty(0, np.float32))
    whiten = _Whitening.of(a, b)
    for pairs in _candidates(a, b):
        pairs = _aligned(middle, other_middle, pairs, 1)
        pairs = pairs.take(pairs.similarity >= _HOPE)
        pairs = pairs.take(_whitened(a, other, pairs, whiten) >= _CHANCE)
        best = _best(best, _in_order(pairs) if b is None else pairs)
    pairs = _aligned(a, other, best, ROUNDS)
    pairs = pairs._replace(similarity=_whitened(a, other, pairs, whiten))
    return pairs.take(pairs.similarity >= least)


def _candidates(a: Floats, b: Floats | None) -> Iterator[Candidates]:
    """Yield pairs that are similar unchanged, mirrored, or with one image cropped; a pair may come several times.

    Args:
        a: Images as cosines, float32 of shape (N, order, order).
        b: Others, likewise; None for pairs within the first.
    """
    starts = np.array(_STARTS, dtype=np.float32)
    if b is not None:  # within one dataset both orders of a pair come up, and cropping the first image is enough
        starts = np.concatenate([starts, -starts[1:]])
    other = a if b is None else b
    whiten = _Whitening.of(a[:, :ROUGH, :ROUGH], None if b is None else b[:, :ROUGH, :ROUGH])
    centres = centres_of(whiten(vectors_of(other[:, :ROUGH, :ROUGH])))
    for start in starts:
        query = whiten(vectors_of(_rough(a, start)))
        reference = _rough(other, -start)
        both = (mirror(reference, np.full(len(reference), mirrored)) for mirrored in (False, True))
        target = np.concatenate([whiten(vectors_of(part)) for part in both])
        first, second, similarity = similar(query, target, centres, _CANDIDATE)
        mirrored, second = second >= len(reference), second % max(1, len(reference))
        pairs = Candidates(first, second, mirrored, np.tile(start, (len(first), 1)), similarity)
        if b is None:
            pairs = pairs.take(first != second)
        yield pairs if start.any() or b is not None else _best(_in_order(pairs))


def _best(*parts: Candidates) -> Candidates:
    """Join pairs, and keep the most similar of those of the same images, or the earlier of equally similar ones."""
    pairs = Candidates._make(np.concatenate(values) for values in zip(*parts, strict=True))
    order = np.lexsort((-pairs.similarity, pairs.second, pairs.first))
    first, second = pairs.first[order], pairs.second[order]
    new = (np.diff(first, prepend=-1) != 0) | (np.diff(second, prepend=-1) != 0)
    return pairs.take(order[new])


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
    back = _swapped(pairs)
    return pairs._replace(
        first=np.where(swap, back.first, pairs.first),
        second=np.where(swap, back.second, pairs.second),
        crops=np.where(swap[:, None], back.crops, pairs.crops),
    )


def _swapped(pairs: Candidates) -> Candidates:
    """Return the pairs with the second image first."""
    # A crop changes its sign; mirrored too, left and right change places.
    back = -np.where(pairs.mirrored[:, None], pairs.crops[:, [0, 1, 3, 2]], pairs.crops)
    return pairs._replace(first=pairs.second, second=pairs.first, crops=back)


def _both(a: Floats, b: Floats, pairs: Candidates, part: slice) -> tuple[Floats, Floats]:
    """Return the first and second images of some pairs, the second mirrored where the pair says so."""
    return a[pairs.first[part]], mirror(b[pairs.second[part]], pairs.mirrored[part])


def _aligned(a: Floats, b: Floats, pairs: Candidates, rounds: int) -> Candidates:
    """Return the pairs with the crops that make them most similar, and that similarity."""

    def work(part: slice) -> tuple[Floats, Floats]:
        return align(*_both(a, b, pairs, part), pairs.crops[part], rounds)

    none = pairs.similarity[:0], pairs.crops[:0]
    similarity, crops = map(np.concatenate, zip(none, *each_block(work, len(pairs.first)), strict=True))
    return pairs._replace(similarity=similarity, crops=crops)


def _whitened(a: Floats, b: Floats, pairs: Candidates, whiten: "_Whitening") -> Floats:
    """Return the similarity of aligned pairs after what all images have in common is removed, float32 of shape (P,)."""

    def work(part: slice) -> Floats:
        first, second = overlap(*_both(a, b, pairs, part), pairs.crops[part])
        return np.asarray((whiten(vectors_of(first)) * whiten(vectors_of(second))).sum(axis=1))

    return np.concatenate([pairs.similarity[:0], *each_block(work, len(pairs.first))])


class _Whitening:
    """Makes vectors of shape (N, D) white: what all faces have in common says little about copies."""

    @classmethod
    def of(cls, a: Floats, b: Floats | None) -> "_Whitening":
        """Return what makes images white, given as cosines; of many, evenly spaced ones say what all have in common."""
        counts = len(a), 0 if b is None else len(b)
        rows = np.arange(0, sum(counts), max(1, -(-sum(counts) // _MOST)))
        parts = [a[rows[rows < counts[0]]]] + ([] if b is None else [b[rows[rows >= counts[0]] - counts[0]]])
        return cls(np.concatenate([vectors_of(part) for part in parts]))

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
