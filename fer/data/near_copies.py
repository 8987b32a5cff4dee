"""Copies of images, within a dataset and between two: exact ones, and near ones.

A near copy is the same picture after re-encoding, resizing, mirroring, a change of brightness or contrast, or a crop of
a few percent at each side. :mod:`fer.data.copy_search` finds the pairs by fingerprints (:mod:`fer.data.fingerprints`);
with the images at hand (:func:`near_pairs`), finer frequencies than a fingerprint holds (:func:`matches`) must agree
too. An image without contrast has no near copies, only exact ones.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fer.data.blocks import BLOCK, each_block
from fer.data.copy_search import ROUNDS, search
from fer.data.cosines import FINE, Bools, Floats, Images, Rows, align, cosines_of, mirror
from fer.data.fingerprints import decode, fingerprints, hashes, hashes_in

NEAR_PIXELS = 0.85
"""Least similarity of near copies where both images are at hand. 100 of FER2013's 294 pairs between it and 0.9 were
looked at: each was one photograph twice. Different drawn faces reach 0.84, different people in FER2013 0.8."""
NEAR_FINGERPRINTS = 0.76
"""Least similarity of near copies by fingerprints alone: below it, pairs in FER2013 show different people."""
_LIKELY = 0.65  # least similarity by fingerprints of pairs whose pixels are compared


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


def exact_groups(images: Images) -> Rows:
    """Group images of equal pixels.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3).

    Returns:
        int64 of shape (N,), the first row of each image's group (its own, if nothing equals it).
    """
    return _first_equal(hashes(images))


def exact_pairs(images: Images, others: Images) -> tuple[Rows, Rows]:
    """Find the images of one dataset that equal one of another's in size and every pixel.

    Args:
        images: uint8 of shape (N, H, W) or (N, H, W, 3); may be memory-mapped, and is read image by image.
        others: The second dataset, of any size and colours.

    Returns:
        Rows of the first dataset, int64 of shape (P,), and for each the first row of the second that it equals.
    """
    return _equal(hashes(images), hashes(others))


def near_groups(pairs: Pairs, count: int) -> Rows:
    """Group the images of one dataset that are linked by pairs, directly or through others.

    Args:
        pairs: From :func:`near_pairs`.
        count: N, the number of images.

    Returns:
        int64 of shape (N,), the first row of each image's group.
    """
    from scipy.sparse import coo_array  # both would delay a training's first step
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs.first)), (pairs.first, pairs.second)), shape=(count, count))
    return _first_equal(connected_components(links, directed=False)[1])


def mixed(groups: Rows, values: npt.NDArray[np.int64] | npt.NDArray[np.str_]) -> Rows:
    """Return the groups whose members differ in a value: label conflicts, or copies across splits.

    Args:
        groups: From :func:`exact_groups` or :func:`near_groups`.
        values: Labels or splits, of shape (N,).

    Returns:
        int64 of shape (G,), the first rows of these groups.
    """
    return np.unique(groups[values != values[groups]])


def near_pairs(images: Images, others: Images | None = None, threshold: float = NEAR_PIXELS) -> Pairs:
    """Find near and exact copies within a dataset, or between two.

    Of exact copies in one dataset only the first is compared with other images; it is paired with each of its copies,
    so that :func:`near_groups` finds them all. Between two datasets, every image of the first is compared.

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
        found = search(decode(prints[first]), None, _LIKELY)
    else:
        other_prints = fingerprints(others)
        exact_first, exact_second = _equal(hashes_in(prints), hashes_in(other_prints))
        first, second = np.arange(len(images)), np.unique(_first_equal(hashes_in(other_prints)))
        found = search(decode(prints), decode(other_prints[second]), _LIKELY)
        known = np.full(len(images), -1)
        known[exact_first] = exact_second
        found = found.take(known[found.first] != second[found.second])
    rows, other_rows = first[found.first], second[found.second]
    order = min(FINE, *images.shape[1:3], *others.shape[1:3])

    def compare(part: slice) -> Floats:
        a, b = cosines_of(images[rows[part]], order), cosines_of(others[other_rows[part]], order)
        return align(a, mirror(b, found.mirrored[part]), found.crops[part], ROUNDS)[0]

    parts = each_block(compare, len(rows), BLOCK // 8)
    similarity = np.minimum(np.concatenate([found.similarity[:0], *parts]), 1)
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
    copied[search(decode(prints), decode(references), threshold).first] = True
    return copied


def exact_matches(prints: Images, references: Images) -> Bools:
    """Say which images equal a reference image in size and every pixel, bool of shape (N,).

    Args:
        prints: uint8 of shape (N, 104), from :func:`fingerprints`.
        references: uint8 of shape (M, 104), likewise.
    """
    equal: Bools = np.isin(hashes_in(prints), hashes_in(references))
    return equal


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
