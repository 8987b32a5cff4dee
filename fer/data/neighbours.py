"""Which of many vectors are alike, in time that grows with their number and not with its square.

An inverted file (Sivic and Zisserman, "Video Google", ICCV 2003): the vectors are sorted into lists around centres
(k-means), and each is compared with the lists of the nearest centres alone. Up to ``ALL`` vectors these are all
lists, and nothing is missed. Centres are the same for the same vectors, and so is all that follows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fer.data.blocks import blocks, each_block
from fer.data.cosines import Floats, Rows, unit

LIST = 512
"""Vectors of a list, on average."""
SEARCHED = 36
"""Lists that each vector is compared with: 18,432 vectors, of however many."""
ALL = 72 * LIST
"""So many vectors are all compared: 36,864, more than FER2013 has."""
_ROUNDS = 8  # of k-means
_SAMPLE = 64  # vectors of a list, on average, that k-means looks at
_QUERIES = 16_384  # vectors whose lists are held in memory at a time
_PRODUCT = 256  # vectors multiplied with a list at a time: the products stay in a core's own cache
# The most similar ones that are kept, of very many: bounds the work on datasets of images that are all alike.
_MOST = 64  # of each vector
_MOST_ON_AVERAGE, _MOST_OF_LIST = 8, 16  # of many vectors, in all lists and in one list


class Similar(NamedTuple):
    """Pairs of vectors that are alike.

    Attributes:
        first: int64 of shape (P,), rows of the first set.
        second: int64 of shape (P,), rows of the second.
        similarity: float32 of shape (P,), their dot products.
    """

    first: Rows
    second: Rows
    similarity: Floats


def centres_of(vectors: Floats) -> Floats:
    """Return the centres of lists for vectors, and for others that are like them.

    Args:
        vectors: float32 of shape (M, D), of length 1 or 0.

    Returns:
        float32 of shape (C, D), or of shape (0, D) for so few vectors that all are compared.
    """
    if len(vectors) <= ALL:
        return vectors[:0]
    from scipy.sparse import csr_array  # it would delay a training's first step

    count = -(-len(vectors) // LIST)
    chosen = np.random.default_rng(0).permutation(len(vectors))[: _SAMPLE * count]
    sample = vectors[chosen]
    centres = sample[:count]
    for _ in range(_ROUNDS):
        rows = np.ones(len(sample), np.float32), _nearest(sample, centres), np.arange(len(sample) + 1)
        members = csr_array(rows, shape=(len(sample), count))
        centres = unit(members.T @ sample)
    return centres


def similar(query: Floats, target: Floats, centres: Floats, least: float) -> Similar:
    """Find the vectors of one set that are like those of another.

    Args:
        query: float32 of shape (N, D), of length 1 or 0.
        target: float32 of shape (M, D), likewise.
        centres: From :func:`centres_of`.
        least: Least dot product.

    Returns:
        The pairs, in the order of the first set.
    """
    # Without centres, lists are blocks of rows.
    home = _nearest(target, centres) if len(centres) else np.arange(len(target)) // LIST
    order = np.argsort(home, kind="stable")
    sorted_target = target[order]
    ends = np.cumsum(np.bincount(home, minlength=len(centres)))

    # Few vectors may be like many: what is kept of each grows with the second set.
    share = max(1, -(-len(target) // (2 * max(1, len(query)))))
    most_of_list = _MOST_OF_LIST * share

    def search(rows: slice) -> Similar:
        found = []
        for visitors, number in _visits(query[rows], centres, len(ends)):
            members = slice(ends[number - 1] if number else 0, ends[number])
            products = query[rows][visitors] @ sorted_target[members].T
            large = np.flatnonzero(products > least)
            values = products.ravel()[large]
            if len(large) > most_of_list * len(products):  # each vector's own best: look-alikes crowd no other out
                best = np.argpartition(-products, most_of_list, axis=1)[:, :most_of_list]
                large = np.sort((best + np.arange(len(products))[:, None] * products.shape[1]).ravel())
                values = products.ravel()[large]
                large, values = large[values > least], values[values > least]
            places, columns = np.divmod(large, max(1, products.shape[1]))
            found.append(Similar(rows.start + visitors[places], order[members][columns], values))
        return _most_similar(found, len(query[rows]), share)

    parts = each_block(search, len(query), _QUERIES)
    return _joined(parts)


def _visits(query: Floats, centres: Floats, lists: int) -> Iterator[tuple[Rows, int]]:
    """Yield rows of some vectors, and the number of a list that they are compared with, a block at a time."""
    if not len(centres):
        yield from ((np.arange(len(query))[part], n) for part in blocks(len(query), _PRODUCT) for n in range(lists))
        return
    probed = np.empty((len(query), SEARCHED), dtype=np.int32)
    for part in blocks(len(query)):
        probed[part] = np.argpartition(query[part] @ -centres.T, SEARCHED, axis=1)[:, :SEARCHED]
    visits = np.argsort(probed.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(probed.ravel(), minlength=lists))
    for number, (start, end) in enumerate(zip(ends - np.diff(ends, prepend=0), ends, strict=True)):
        visitors = visits[start:end] // SEARCHED
        yield from ((visitors[part], number) for part in blocks(len(visitors), _PRODUCT))


def _nearest(vectors: Floats, centres: Floats) -> Rows:
    """Return the row of each vector's nearest centre, int64 of shape (N,)."""
    none = np.empty(0, dtype=np.int64)
    return np.concatenate([none, *each_block(lambda part: (vectors[part] @ centres.T).argmax(axis=1), len(vectors))])


def _joined(parts: list[Similar]) -> Similar:
    none = Similar(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Similar._make(np.concatenate(values) for values in zip(none, *parts, strict=True))


def _most_similar(parts: list[Similar], count: int, share: int) -> Similar:
    """Join what was found in several lists for ``count`` vectors, and keep the most similar ones of very many.

    Args:
        parts: What was found.
        count: Number of vectors.
        share: How many times as many as usual are kept.
    """
    pairs = _joined(parts)
    order = np.lexsort((pairs.second, -pairs.similarity, pairs.first))
    first = pairs.first[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first)  # of each vector's pairs, its most similar first
    order, rank = order[rank < _MOST * share], rank[rank < _MOST * share]
    if len(order) > (most := _MOST_ON_AVERAGE * count * share):
        # Each vector's best before anyone's next best: a film's frames crowd out no other image's only copy.
        order = order[np.sort(np.lexsort((-pairs.similarity[order], rank))[:most])]
    return Similar._make(values[order] for values in pairs)
