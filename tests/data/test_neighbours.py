"""Vectors that are alike are found, in a time that grows with their number, and the same on any number of cores."""

import numpy as np
import pytest
from test_near_copies import _crop, _mirror, _pictures

from fer.data import blocks, copy_search, neighbours
from fer.data.cosines import Floats, unit
from fer.data.near_copies import near_pairs
from fer.data.neighbours import Similar, centres_of, similar

LEAST = 0.7


def _vectors(count: int, seed: int) -> Floats:
    return unit(np.random.default_rng(seed).standard_normal((count, 44)).astype(np.float32))


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few vectors count as many: 3,000 of them stand in 188 lists, of which 8 are searched."""
    for module in (neighbours, copy_search):
        monkeypatch.setattr(module, "ALL", 64)
    monkeypatch.setattr(neighbours, "LIST", 16)
    monkeypatch.setattr(neighbours, "SEARCHED", 8)


def _pairs(found: Similar) -> set[tuple[int, int]]:
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


def test_few_vectors_are_all_compared() -> None:
    query, target = _vectors(700, 0), _vectors(1200, 1)
    found = similar(query, target, centres_of(target), 0.45)
    products = query @ target.T
    assert _pairs(found) == set(map(tuple, np.argwhere(products > 0.45).tolist()))
    np.testing.assert_allclose(found.similarity, products[found.first, found.second], atol=1e-6)


@pytest.mark.usefixtures("many")
def test_of_many_vectors_the_like_are_found() -> None:
    target = _vectors(3000, 2)
    query = unit(target[::3] + 0.5 * _vectors(1000, 3))
    centres = centres_of(target)
    assert centres.shape == (188, 44)
    found = _pairs(similar(query, target, centres, LEAST))
    assert len({(row, 3 * row) for row in range(1000)} & found) >= 970
    assert all(second == 3 * first for first, second in found)


@pytest.mark.usefixtures("many")
def test_cores_are_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    target = _vectors(3000, 4)
    monkeypatch.setattr(neighbours, "_QUERIES", 200)
    results = []
    for cores in (1, 3):
        monkeypatch.setattr(blocks, "usable_cores", lambda cores=cores: cores)
        results.append(similar(target, target, centres_of(target), 0.5))
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)
    assert len(results[0].first) > 3000


def test_images_that_are_all_alike_have_few_pairs_each() -> None:
    target = unit(_vectors(1, 5) + 0.1 * _vectors(2000, 6))
    target[:10] = target[10:20]  # equal ones come first
    found = similar(target, target, centres_of(target), LEAST)
    assert len(found.first) <= 8 * 2000  # of 4 million
    assert {(row, row + 10) for row in range(10)} <= _pairs(found)


@pytest.mark.usefixtures("many")
def test_copies_among_many_images() -> None:
    images = _pictures(300, 0)
    changed = np.concatenate([_mirror(images[:40]), _crop(3, 3, 3, 3)(images[40:80])])
    within = near_pairs(np.concatenate([images, changed]))
    assert set(zip(within.first.tolist(), within.second.tolist(), strict=True)) == {(i, i + 300) for i in range(80)}
    # The smaller dataset's images are looked up among the larger one's, whichever is asked about.
    there, back = near_pairs(images, changed), near_pairs(changed, images)
    for first, second, pairs in ((there.first, there.second, there), (back.second, back.first, back)):
        assert set(zip(first.tolist(), second.tolist(), strict=True)) == {(i, i) for i in range(80)}
        assert pairs.mirrored.sum() == 40
        assert pairs.similarity.min() > 0.9


def test_look_alikes_crowd_out_no_other_images_copy() -> None:
    film = unit(_vectors(1, 5) + 0.1 * _vectors(1000, 6))
    shots = _vectors(2000, 7)
    copies = unit(shots + 0.8 * _vectors(2000, 8))
    every = np.concatenate([film, shots, copies])
    found = _pairs(similar(every, every, centres_of(every), LEAST))
    alike = np.flatnonzero((shots * copies).sum(axis=1) > LEAST + 1e-5)
    assert len(alike) > 1500
    assert {(1000 + row, 3000 + row) for row in alike.tolist()} <= found


def test_few_vectors_may_be_like_many() -> None:
    few = _vectors(10, 3)
    copies = unit(np.tile(few, (100, 1)) + 0.1 * _vectors(1000, 4))
    found = similar(few, copies, centres_of(copies), LEAST)
    assert _pairs(found) == {(row % 10, row) for row in range(1000)}
