"""Copies of images, within a dataset and between two: exact ones, and near ones.

A near copy is the same picture after re-encoding, resizing, mirroring, a change of brightness or contrast, or a crop of
a few percent at each side. What is compared are an image's lowest cosine frequencies: they are the same at any stored
size, know no brightness, and a crop of the image is a small matrix on them. They take three steps:

1. *Candidates*: all pairs, by matrix products; as they are, mirrored, and one of them cropped a little.
2. *Alignment*: the crops at the four sides that make a candidate pair most alike, by least squares.
3. *Decision*: the correlation of the aligned images, after what all images at hand have in common is taken out. With
   the pixels at hand (:func:`near_pairs`) finer frequencies than a fingerprint holds (:func:`matches`) must agree too.

An image without contrast has no near copies, only exact ones.
"""

import hashlib
import math
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float32]
Images: TypeAlias = npt.NDArray[np.uint8]
Rows: TypeAlias = npt.NDArray[np.int64]

NEAR_PIXELS = 0.85
"""Least similarity of near copies with both images at hand; a hundred of FER2013's 294 pairs between it and 0.9 were
looked at, and each was one photograph. Different drawn faces reach 0.84, different people in FER2013 0.8."""
NEAR_FINGERPRINTS = 0.76
"""Least similarity of near copies by fingerprints alone: below it different people come up in FER2013."""

# Cosines per axis: to find candidates, for a first alignment, in a fingerprint, to decide on pixels.
_ROUGH, _MIDDLE, _PRINT, _FINE = 8, 12, 16, 24
_COUNT = {_ROUGH: 44, _PRINT: 192}  # of them used, those of the lowest frequencies
_HASH = 8  # bytes of a fingerprint
_FLAT = 2.0  # grey levels; an image that deviates less from its mean is flat
_UNITS = 192  # crops are counted in 192nds of the side, quarters of a pixel of 48
_REACH = 20  # the largest crop of a side, 10 %
_EDGES = ((2, 12), (12, 2))
# Top, bottom, left and right: the crops that candidates are searched with.
_STARTS = ((0, 0, 0, 0), (12, 12, 12, 12), *(y + x for y in _EDGES for x in _EDGES))
_CANDIDATE = 0.7  # least similarity of pairs before they are aligned
_HOPE = 0.7  # after the first step
_ROUNDS = 4  # steps of the others
_LIKELY = 0.65  # by fingerprints, of those whose pixels are compared
_PRIOR = 100  # number of images that the assumption of white cosines counts as
_BLOCK = 1024  # images, or pairs, at a time


class Pairs(NamedTuple):
    """Pairs of images that are copies.

    Attributes:
        first: int64 of shape (P,), rows of the first dataset.
        second: int64 of shape (P,), rows of the second dataset; within one dataset, larger than ``first``.
        similarity: float32 of shape (P,), correlation of the aligned images; 1 for exact copies.
        mirrored: bool of shape (P,), whether one is the other's mirror image.
        exact: bool of shape (P,), whether size and pixels are equal.
    """

    first: Rows
    second: Rows
    similarity: Floats
    mirrored: Bools
    exact: Bools


class _Candidates(NamedTuple):
    """Pairs that may be copies: rows, whether the second is to be mirrored, and crops (P, 4) that align them.

    Crops are those of top, bottom, left and right, of the first image where positive, of the second where negative.
    """

    first: Rows
    second: Rows
    mirrored: Bools
    crops: Floats
    similarity: Floats

    def take(self, rows: Rows | Bools) -> "_Candidates":
        return _Candidates._make(values[rows] for values in self)


def exact_groups(images: Images) -> Rows:
    """Group images of equal pixels.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).

    Returns:
        int64 of shape (N,), the first row of each image's group (its own, if nothing equals it).
    """
    return _first_equal(_hashes(images))


def exact_pairs(images: Images, others: Images) -> tuple[Rows, Rows]:
    """Find the images of one dataset that equal one of another's in size and every pixel.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3); may be memory-mapped, and is read image by image.
        others: Likewise, of any size and colours.

    Returns:
        Their rows, int64 of shape (P,), and for each the first of the others that it equals, likewise.
    """
    return _equal(_hashes(images), _hashes(others))


def near_groups(pairs: Pairs, count: int) -> Rows:
    """Group images that are linked by pairs within one dataset, directly or by way of others.

    Args:
        pairs: From :func:`near_pairs`.
        count: N, the number of images.

    Returns:
        int64 of shape (N,), the first row of each image's group.
    """
    links = coo_array((np.ones(len(pairs.first)), (pairs.first, pairs.second)), shape=(count, count))
    return _first_equal(connected_components(links, directed=False)[1])


def mixed(groups: Rows, values: npt.NDArray[np.int64] | npt.NDArray[np.str_]) -> Rows:
    """Return the groups whose members differ: conflicts, given labels; leaks, given splits.

    Args:
        groups: From :func:`exact_groups` or :func:`near_groups`.
        values: Labels or splits, of shape (N,).

    Returns:
        int64 of shape (G,), the first rows of these groups.
    """
    return np.unique(groups[values != values[groups]])


def near_pairs(images: Images, others: Images | None = None, threshold: float = NEAR_PIXELS) -> Pairs:
    """Find near and exact copies within a dataset, or between two.

    Of exact copies in the same dataset only the first is compared with others; it is paired with each of the rest, so
    that :func:`near_groups` has them all. Between two datasets, every image of the first is compared.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3); may be memory-mapped, and is read in blocks.
        others: The second dataset, of any size and colours; None to search the first alone.
        threshold: Least similarity of near copies.

    Returns:
        The pairs, most similar first.
    """
    prints = fingerprints(images)
    if others is None:
        others = images
        exact_first, exact_second = _first_equal(hashes_in(prints)), np.arange(len(images))
        first = second = np.flatnonzero(exact_first == exact_second)
        exact_first, exact_second = np.delete(exact_first, first), np.delete(exact_second, first)
        found = _search(_decode(prints[first]), None, _LIKELY)
    else:
        other_prints = fingerprints(others)
        exact_first, exact_second = _equal(hashes_in(prints), hashes_in(other_prints))
        first, second = np.arange(len(images)), np.unique(_first_equal(hashes_in(other_prints)))
        found = _search(_decode(prints), _decode(other_prints[second]), _LIKELY)
        known = np.full(len(images), -1)
        known[exact_first] = exact_second
        found = found.take(known[found.first] != second[found.second])
    rows, other_rows = first[found.first], second[found.second]
    similarity = np.empty(len(rows), dtype=np.float32)
    for part in _blocks(len(rows), _BLOCK // 8):
        a, b = images[rows[part]], others[other_rows[part]]
        order = min(_FINE, *a.shape[1:3], *b.shape[1:3])
        mirrored = _mirror(_cosines(b, order), found.mirrored[part])
        similarity[part], _ = _align(_cosines(a, order), mirrored, found.crops[part], _ROUNDS)
    similarity = np.minimum(similarity, 1)
    near = np.flatnonzero(similarity >= threshold)
    near = near[np.argsort(-similarity[near], kind="stable")]
    exact = np.arange(len(exact_first) + len(near)) < len(exact_first)
    return Pairs(
        np.concatenate([exact_first, rows[near]]),
        np.concatenate([exact_second, other_rows[near]]),
        np.concatenate([np.ones(len(exact_first), dtype=np.float32), similarity[near]]),
        np.concatenate([np.zeros(len(exact_first), dtype=bool), found.mirrored[near]]),
        exact,
    )


def fingerprints(images: Images, rows: Rows | None = None) -> Images:
    """Return all that :func:`matches` needs of images, in 104 bytes each whatever their size and colours.

    Args:
        images: uint8 of shape (M, H, W) or (M, H, W, 3); may be memory-mapped, and is read in blocks.
        rows: int64 of shape (N,), which of them; None for all.

    Returns:
        uint8 of shape (N, 104): a hash of size and pixels, then 192 cosines of four bits each.
    """
    rows = np.arange(len(images)) if rows is None else rows
    none = np.empty((0, _HASH + _COUNT[_PRINT] // 2), dtype=np.uint8)
    return np.concatenate([none, *(_fingerprints(images[rows[part]]) for part in _blocks(len(rows)))])


def _fingerprints(images: Images) -> Images:
    vectors = _vectors(_cosines(images, _PRINT))
    peak = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    # Square roots, since most are much smaller than the largest; then two to a byte.
    levels = 7 * np.sign(vectors) * np.sqrt(np.abs(vectors) / np.where(peak > 0, peak, 1))
    nibbles = (np.rint(levels) + 8).astype(np.uint8)
    hashes = _hashes(images).view(np.uint8).reshape(-1, _HASH)
    return np.concatenate([hashes, nibbles[:, ::2] << 4 | nibbles[:, 1::2]], axis=1)


def matches(prints: Images, references: Images, threshold: float = NEAR_FINGERPRINTS) -> Bools:
    """Say which images are copies of a reference image, such as test images of training images.

    Args:
        prints: uint8 of shape (N, 104), from :func:`fingerprints`.
        references: uint8 of shape (M, 104), likewise.
        threshold: Least similarity of near copies.

    Returns:
        bool of shape (N,).
    """
    copied = exact_matches(prints, references)
    copied[_search(_decode(prints), _decode(references), threshold).first] = True
    return copied


def exact_matches(prints: Images, references: Images) -> Bools:
    """Say which images equal a reference image in size and every pixel, bool of shape (N,).

    Args:
        prints: uint8 of shape (N, 104), from :func:`fingerprints`.
        references: uint8 of shape (M, 104), likewise.
    """
    equal: Bools = np.isin(hashes_in(prints), hashes_in(references))
    return equal


def _blocks(count: int, size: int = _BLOCK) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _hashes(images: Images) -> npt.NDArray[np.uint64]:
    """Return a hash of each image's size and pixels, uint64 of shape (N,)."""
    size = str(images.shape[1:]).encode()
    digests = (hashlib.blake2b(image.tobytes(), digest_size=_HASH, key=size).digest() for image in images)
    return np.fromiter((int.from_bytes(digest, "little") for digest in digests), np.uint64, len(images))


def hashes(images: Images, rows: Rows) -> npt.NDArray[np.uint64]:
    """Return what :func:`hashes_in` finds in the fingerprints of some images, without the rest of them."""
    none = np.empty(0, dtype=np.uint64)
    return np.concatenate([none, *(_hashes(images[rows[part]]) for part in _blocks(len(rows)))])


def hashes_in(prints: Images) -> npt.NDArray[np.uint64]:
    """Return the hashes that fingerprints begin with."""
    return np.ascontiguousarray(prints[:, :_HASH]).view(np.uint64)[:, 0]


def _first_equal(values: npt.NDArray[np.integer[Any]]) -> Rows:
    """Return for each value the first row of those that equal it."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    rows: Rows = first[inverse]
    return rows


def _equal(hashes: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """Return the rows of hashes that are among the others, and for each the first of those."""
    values, rows = np.unique(others, return_index=True)
    first = np.flatnonzero(np.isin(hashes, values))
    return first, rows[np.searchsorted(values, hashes[first])]


@cache
def _basis(size: int, order: int) -> Floats:
    """Return the cosines of a line of pixels, float32 of shape (order, size); those too fine for it are 0."""
    k = np.arange(order)[:, None]
    basis = np.cos(np.pi * k * (np.arange(size) + 0.5) / size) * np.where(k > 0, np.sqrt(2), 1) / size
    return np.where(k < size, basis, 0).astype(np.float32)


def _cosines(images: Images, order: int) -> Floats:
    """Return the amplitudes of images' lowest cosines, in grey levels.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).
        order: How many for each axis.

    Returns:
        float32 of shape (N, order, order); a flat image's are 0.
    """
    cosines = np.empty((len(images), order, order), dtype=np.float32)
    down, across = _basis(images.shape[1], order), _basis(images.shape[2], order).T
    for part in _blocks(len(images), max(1, _BLOCK * 64**2 // math.prod(images.shape[1:]))):  # 16 MB
        block = images[part].astype(np.float32)
        if block.ndim == 4:
            block = block @ np.array((0.299, 0.587, 0.114), dtype=np.float32)
        cosines[part] = down @ (block @ across)
    # Their squares add up to the variance. Brightness is no part of the comparison.
    cosines[:, 0, 0] = 0
    cosines[(cosines**2).sum(axis=(1, 2)) < _FLAT**2] = 0
    return cosines


def _decode(prints: npt.NDArray[np.uint8]) -> Floats:
    """Return fingerprints' cosines, up to a factor, float32 of shape (N, order, order)."""
    lowest = _lowest(_PRINT)
    weights = _weights(_PRINT).ravel()[lowest]
    cosines = np.zeros((len(prints), _PRINT**2), dtype=np.float32)
    for part in _blocks(len(prints)):
        halves = prints[part, _HASH:]
        nibbles = np.stack([halves >> 4, halves & 15], axis=2).reshape(-1, _COUNT[_PRINT])
        levels = nibbles.astype(np.float32) - 8
        cosines[part, lowest] = levels * np.abs(levels) / weights
    return cosines.reshape(-1, _PRINT, _PRINT)


@cache
def _weights(order: int) -> Floats:
    """Return what makes cosines of pictures about equally strong: their frequency, float32 of shape (order, order)."""
    k = np.arange(order)
    return np.hypot(k[:, None], k).astype(np.float32)


def _mirror(cosines: Floats, which: Bools) -> Floats:
    """Turn left and right of some images, given as cosines of shape (N, order, order)."""
    odd = np.arange(cosines.shape[2]) % 2 == 1
    return np.where(which[:, None, None] & odd, -cosines, cosines)


@cache
def _crop_matrices(order: int) -> Floats:
    """Return the matrices that crop a line, given as cosines, at its start and end, and stretch what is left.

    Returns:
        float32 of shape (reach + 1, reach + 1, order, order).
    """
    samples, k = 4 * order, np.arange(order)
    crops = np.arange(_REACH + 1) / _UNITS
    start, end = crops[:, None, None], crops[None, :, None]
    place = start + (1 - start - end) * (np.arange(samples) + 0.5) / samples
    waves = np.cos(np.pi * k * place[..., None]) * np.where(k > 0, np.sqrt(2), 1)
    return np.asarray(_basis(samples, order) @ waves, dtype=np.float32)


def _crop(cosines: Floats, crops: Floats) -> Floats:
    """Crop images, given as cosines of shape (N, order, order).

    Args:
        cosines: The images.
        crops: float32 of shape (N, 4) or (4,); negative ones count as 0.
    """
    table = _crop_matrices(cosines.shape[1])
    top, bottom, left, right = np.rint(np.clip(crops, 0, _REACH)).astype(np.int64).T
    cropped: Floats = table[top, bottom] @ cosines @ table[left, right].swapaxes(-1, -2)
    return cropped


def _known(order: int, crops: Floats) -> Floats:
    """Return how much of each cosine of cropped images is known, float32 of shape (N, order, order) or (order, order).

    Stretching a crop lowers its frequencies, so that its finest cosines come from ones that are not at hand.
    """
    share = (_crop_matrices(order) ** 2).sum(axis=3)
    top, bottom, left, right = np.rint(np.clip(crops, 0, _REACH)).astype(np.int64).T
    known: Floats = share[top, bottom][..., :, None] * share[left, right][..., None, :]
    return known


def _overlap(a: Floats, b: Floats, crops: Floats) -> tuple[Floats, Floats]:
    """Crop pairs of images, given as cosines, and keep what is known of both."""
    order = a.shape[1]
    return _crop(a, crops) * _known(order, -crops), _crop(b, -crops) * _known(order, crops)


def _weighted(cosines: Floats) -> Floats:
    """Return images, given as cosines of shape (N, order, order), as vectors whose products are their likeness."""
    order = cosines.shape[1]
    return (cosines * _weights(order)).reshape(-1, order**2)


@cache
def _lowest(order: int) -> Rows:
    """Return which cosines are used of a flattened (order, order), from the lowest frequency up."""
    return np.argsort(_weights(order).ravel(), kind="stable")[1 : 1 + _COUNT[order]]


def _vectors(cosines: Floats) -> Floats:
    """Return the used ones of images' cosines as vectors of length 1, or 0 for flat images, float32 of shape (N, D)."""
    lowest = _lowest(cosines.shape[1])
    vectors = np.empty((len(cosines), len(lowest)), dtype=np.float32)
    for part in _blocks(len(cosines)):
        vectors[part] = _unit(_weighted(cosines[part])[:, lowest])
    return vectors


def _unit(vectors: Floats) -> Floats:
    """Scale vectors to length 1, but those that are 0."""
    norm = np.sqrt((vectors**2).sum(axis=-1, keepdims=True))
    return np.asarray(vectors / np.where(norm > 0, norm, 1), dtype=np.float32)


def _align(a: Floats, b: Floats, crops: Floats, rounds: int) -> tuple[Floats, Floats]:
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
        cropped, other = _overlap(a, b, crops)
        target = _unit(_weighted(other))
        scale = np.sqrt((_weighted(cropped) ** 2).sum(axis=1))[:, None, None]
        cropped /= np.where(scale > 0, scale, 1)
        similarity = (_weighted(cropped) * target).sum(axis=1)
        better = similarity > best
        best = np.where(better, similarity, best)
        best_crops = np.where(better[:, None], crops, best_crops)
        if step == rounds:
            break
        # The target written as a sum of the first image and its changes by a unit of crop at each side.
        changes = (cropped, by_start @ cropped, by_end @ cropped, cropped @ by_start.T, cropped @ by_end.T)
        terms = np.stack([_weighted(change) for change in changes], axis=1)
        gram = terms @ terms.swapaxes(1, 2) + ridge
        shares = np.linalg.solve(gram, terms @ target[:, :, None])[:, :, 0]
        moves = shares[:, 1:] / np.maximum(shares[:, :1], 0.3)
        crops = np.clip(crops + np.clip(moves, -8, 8), -_REACH, _REACH).astype(np.float32)
    return best, best_crops


class _Whitening:
    """Makes vectors of shape (N, D) white: faces look alike in the same few ways, which say little about copies."""

    def __init__(self, vectors: Floats) -> None:
        # Flat images' vectors are 0, and add nothing to the sums.
        count, dims = max(1, int((vectors != 0).any(axis=1).sum())), vectors.shape[1]
        share = count / (count + _PRIOR)
        self.mean = vectors.sum(axis=0) / (count + _PRIOR)
        covariance = vectors.T @ vectors / count - np.outer(self.mean, self.mean)
        # Directions of little variance are mostly noise, and few images say little about any: both are held back.
        values, axes = np.linalg.eigh(share * covariance + (0.3 * share + 1 - share) * np.eye(dims) / dims)
        self.matrix = (axes / np.sqrt(values) @ axes.T).astype(np.float32)

    def __call__(self, vectors: Floats) -> Floats:
        """Return white vectors of length 1; what was 0 stays so."""
        white = np.empty_like(vectors)
        for part in _blocks(len(vectors)):
            seen = (vectors[part] != 0).any(axis=1, keepdims=True)
            white[part] = _unit((vectors[part] - self.mean) @ self.matrix) * seen
        return white


def _search(a: Floats, b: Floats | None, least: float) -> _Candidates:
    """Find pairs of images that are alike, and align them.

    Args:
        a: Images as cosines, float32 of shape (N, order, order), from :func:`_decode`.
        b: Others, likewise; None for pairs within the first.
        least: Least similarity, white.

    Returns:
        Each pair once, as it is most similar; within the first, its lower row first.
    """
    middle = [values[:, :_MIDDLE, :_MIDDLE] for values in (a, a if b is None else b)]
    aligned = (_aligned(middle[0], middle[1], pairs, 1) for pairs in _candidates(a, b))
    parts = [pairs.take(pairs.similarity >= _HOPE) for pairs in aligned]
    pairs = _Candidates._make(np.concatenate(values) for values in zip(*parts, strict=True))
    if b is None:
        pairs = _in_order(pairs)
    pairs = pairs.take(np.argsort(-pairs.similarity, kind="stable"))
    _, best = np.unique(np.stack([pairs.first, pairs.second]), axis=1, return_index=True)
    pairs = _aligned(a, a if b is None else b, pairs.take(best), _ROUNDS)

    whiten = _Whitening(_vectors(a) if b is None else np.concatenate([_vectors(a), _vectors(b)]))
    similarity = np.empty(len(pairs.first), dtype=np.float32)
    for part in _blocks(len(similarity)):
        first, second = _both(a, a if b is None else b, pairs, part)
        first, second = _overlap(first, second, pairs.crops[part])
        similarity[part] = (whiten(_vectors(first)) * whiten(_vectors(second))).sum(axis=1)
    return pairs._replace(similarity=similarity).take(similarity >= least)


def _rough(cosines: Floats, crops: Floats) -> Floats:
    """Return the cosines that candidates are found by, of cropped images: those known of the overlap."""
    rough = np.empty((len(cosines), _ROUGH, _ROUGH), dtype=np.float32)
    known = _known(cosines.shape[1], -crops)
    for part in _blocks(len(cosines)):
        rough[part] = (_crop(cosines[part], crops) * known)[:, :_ROUGH, :_ROUGH]
    return rough


def _both(a: Floats, b: Floats, pairs: _Candidates, part: slice) -> tuple[Floats, Floats]:
    """Return the first and second images of some pairs, the second ones mirrored where they are to be."""
    return a[pairs.first[part]], _mirror(b[pairs.second[part]], pairs.mirrored[part])


def _aligned(a: Floats, b: Floats, pairs: _Candidates, rounds: int) -> _Candidates:
    """Return pairs with the crops that make them most alike, and their similarity then."""
    similarity, crops = np.empty_like(pairs.similarity), np.empty_like(pairs.crops)
    for part in _blocks(len(similarity)):
        first, second = _both(a, b, pairs, part)
        similarity[part], crops[part] = _align(first, second, pairs.crops[part], rounds)
    return pairs._replace(similarity=similarity, crops=crops)


def _candidates(a: Floats, b: Floats | None) -> Iterator[_Candidates]:
    """Yield pairs that are alike as they are, mirrored, or with one of them cropped; some of them several times.

    Args:
        a: Images as cosines, float32 of shape (N, order, order).
        b: Others, likewise; None for pairs within the first.
    """
    starts = np.array(_STARTS, dtype=np.float32)
    if b is not None:  # within one dataset both orders of a pair come up, and cropping the first image is enough
        starts = np.concatenate([starts, -starts[1:]])
    whole = [_vectors(part[:, :_ROUGH, :_ROUGH]) for part in (a, b) if part is not None]
    whiten = _Whitening(np.concatenate(whole))
    for start in starts:
        query = whiten(_vectors(_rough(a, start)))
        reference = _rough(a if b is None else b, -start)
        for mirrored in (False, True):
            target = whiten(_vectors(_mirror(reference, np.full(len(reference), mirrored)))).T
            first, second, similarity = _products(query, target, b is None, b is None and not start.any())
            crops = np.tile(start, (len(first), 1))
            yield _Candidates(first, second, np.full(len(first), mirrored), crops, similarity)


def _products(query: Floats, target: Floats, same: bool, symmetric: bool) -> tuple[Rows, Rows, Floats]:
    """Return rows, columns and values of the large elements of a product that is too large for memory.

    Args:
        query: float32 of shape (N, D).
        target: float32 of shape (D, M).
        same: Leave out the diagonal.
        symmetric: Leave out all below it.
    """
    firsts, seconds, values = [np.arange(0)], [np.arange(0)], [np.empty(0, dtype=np.float32)]
    for rows in _blocks(query.shape[0], _BLOCK // 8):
        for columns in _blocks(target.shape[1], 16 * _BLOCK):
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
            if len(large) > _BLOCK:  # images that are all alike: the work on them stays bounded
                best = np.argpartition(-value, _BLOCK)[:_BLOCK]
                first, second, value = first[best], second[best], value[best]
            firsts.append(first)
            seconds.append(second)
            values.append(value)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(values)


def _in_order(pairs: _Candidates) -> _Candidates:
    """Exchange the images of pairs so that the first has the lower row."""
    swap = pairs.first > pairs.second
    # Seen from the other image crops are its own, and in a mirror left is right.
    back = -np.where(pairs.mirrored[:, None], pairs.crops[:, [0, 1, 3, 2]], pairs.crops)
    return pairs._replace(
        first=np.where(swap, pairs.second, pairs.first),
        second=np.where(swap, pairs.first, pairs.second),
        crops=np.where(swap[:, None], back, pairs.crops),
    )
