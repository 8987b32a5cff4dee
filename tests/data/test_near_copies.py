"""Copies are found however they were changed, and pictures that are only alike are not taken for copies."""

import tarfile
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from conftest import SHARED
from PIL import Image

from fer.data.fingerprints import fingerprints
from fer.data.near_copies import Pairs, exact_groups, matches, mixed, near_groups, near_pairs
from fer.datasets.synthetic_faces import generate

Images = npt.NDArray[np.uint8]
Change = Callable[[Images], Images]
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the real images are not here")
CHANGED = 100  # images that are copied, of the 300 there are


@cache
def _pictures(count: int, seed: int) -> Images:
    """Return images that are as smooth as photographs, each independent of the others, uint8 (count, 48, 48)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((count, 48, 48), dtype=np.float32)
    for cells in (3, 6, 12, 24):
        for image in total:
            noise = rng.standard_normal((cells, cells)).astype(np.float32)
            image += cv2.resize(noise, (48, 48), interpolation=cv2.INTER_CUBIC) * 90 / np.sqrt(cells)
    return np.clip(total + 128, 0, 255).astype(np.uint8)


@cache
def _faces() -> Images:
    return generate(300, 0)[0]


@pytest.fixture(params=["pictures", "faces"])
def images(request: pytest.FixtureRequest) -> Images:
    return _pictures(300, 0) if request.param == "pictures" else _faces()


def _each(change: Change) -> Change:
    return lambda images: np.array([change(image) for image in images])


def _size(size: int, then: int | None = None) -> Change:
    def change(image: Images) -> Images:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < 48 else cv2.INTER_CUBIC)
        return cv2.resize(image, (then, then), interpolation=cv2.INTER_AREA) if then else image

    return _each(change)


def _jpeg(quality: int) -> Change:
    def change(image: Images) -> Images:
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)

    return _each(change)


def _light(gain: float, offset: float) -> Change:
    return lambda images: np.clip(gain * images.astype(np.float32) + offset, 0, 255).astype(np.uint8)


def _crop(top: int, bottom: int, left: int, right: int) -> Change:
    return _each(lambda image: cv2.resize(image[top : 48 - bottom, left : 48 - right], (48, 48)))


def _mirror(images: Images) -> Images:
    return images[:, :, ::-1]


CHANGES: dict[str, Change] = {
    "jpeg 95": _jpeg(95),
    "jpeg 50": _jpeg(50),
    "mirror": _mirror,
    "to 100": _size(100),
    "to 32": _size(32),
    "to 224 and back": _size(224, 48),
    "darker": _light(0.7, 0),
    "lighter": _light(1, 30),
    "more contrast": _light(1.3, -40),
    "RGB": lambda images: np.repeat(images[..., None], 3, axis=3),
    "crop": _crop(3, 3, 3, 3),
    "crop of one side": _crop(0, 0, 4, 0),
    "crop of a corner": _crop(4, 0, 0, 4),
    "crop, mirrored, jpeg, smaller": lambda images: _size(40)(_jpeg(70)(_mirror(_crop(2, 1, 0, 3)(images)))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_between_datasets(name: str) -> None:
    images = _pictures(300, 0)
    pairs = near_pairs(CHANGES[name](images[:CHANGED]), images)
    assert set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == {(i, i) for i in range(CHANGED)}
    assert (pairs.mirrored == ("mirror" in name)).all()
    assert not pairs.exact.any()


@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_by_fingerprint(name: str) -> None:
    images = _pictures(300, 0)
    prints, references = fingerprints(CHANGES[name](images[:CHANGED])), fingerprints(images)
    assert matches(prints, references).all()
    assert not matches(prints, references[CHANGED:]).any()


@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_of_faces(name: str) -> None:
    images = _faces()
    changed = CHANGES[name](images[:CHANGED])
    pairs = near_pairs(changed, images)
    np.testing.assert_array_equal(pairs.first, pairs.second)
    assert len(pairs.first) >= 0.97 * CHANGED
    prints, references = fingerprints(changed), fingerprints(images)
    # Drawn faces differ in little, and a crop of one must not be taken for another: some are missed.
    assert matches(prints, references).mean() >= (0.75 if "crop" in name else 1.0)
    assert not matches(prints, references[CHANGED:]).any()


def test_copies_within_a_dataset(images: Images) -> None:
    copies = [_mirror(images[10:11]), _jpeg(70)(images[20:21]), images[30:31], _crop(3, 3, 2, 0)(images[30:31])]
    pairs = near_pairs(np.concatenate([images, *copies]))
    found = zip(pairs.first.tolist(), pairs.second.tolist(), pairs.mirrored.tolist(), pairs.exact.tolist(), strict=True)
    assert sorted(found) == [
        (10, 300, True, False),
        (20, 301, False, False),
        (30, 302, False, True),
        (30, 303, False, False),  # an exact copy is compared once: there is no (302, 303)
    ]
    assert (np.diff(pairs.similarity) <= 0).all()
    assert pairs.similarity[0] == 1


def test_independent_images_are_no_copies(images: Images) -> None:
    assert len(near_pairs(images).first) == 0
    half = fingerprints(images)[:150], fingerprints(images)[150:]
    assert not matches(*half).any()


def test_order_of_the_datasets_is_no_matter() -> None:
    images = _pictures(100, 1)
    cropped = _mirror(_crop(4, 0, 3, 1)(images[:20]))
    there, back = near_pairs(cropped, images), near_pairs(images, cropped)
    assert sorted(there.first) == sorted(back.second) == list(range(20))
    assert sorted(there.second) == sorted(back.first) == list(range(20))
    np.testing.assert_allclose(np.sort(there.similarity), np.sort(back.similarity), atol=0.02)


def test_order_within_a_dataset_is_no_matter() -> None:
    images = _pictures(100, 1)
    cropped = _mirror(_crop(0, 0, 4, 0)(images))
    for both in (np.concatenate([images, cropped]), np.concatenate([cropped, images])):
        pairs = near_pairs(both)
        assert sorted(zip(pairs.first, pairs.second, strict=True)) == [(i, i + 100) for i in range(100)]
        assert pairs.similarity.min() > 0.95


def test_exact_copies_between_datasets() -> None:
    images = _pictures(20, 2)
    pairs = near_pairs(images[[3, 3, 5]], images[[7, 3, 3, 5]])
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(0, 1), (1, 1), (2, 3)]
    assert pairs.exact.all()
    shapes = np.zeros((1, 4, 9), dtype=np.uint8), np.zeros((1, 6, 6), dtype=np.uint8)
    assert len(near_pairs(*shapes).first) == 0  # the same bytes, but not the same image
    found = matches(fingerprints(images[[3, 4, 5]]), fingerprints(images[[7, 3, 3, 5]]))
    assert found.tolist() == [True, False, True]


def test_flat_images_have_exact_copies_alone() -> None:
    flat = np.stack([np.full((48, 48), tone, dtype=np.uint8) for tone in (0, 128, 128, 255)])
    # What is left in flat images of another's compression is no picture, even where it is the same.
    almost = np.stack([tone + _pictures(1, 0)[0] // 64 for tone in (20, 90, 160)])
    images = np.concatenate([flat, almost, _pictures(20, 3)])
    pairs = near_pairs(images)
    assert (pairs.first.tolist(), pairs.second.tolist(), pairs.exact.tolist()) == ([1], [2], [True])
    pairs = near_pairs(images, images[:2])
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0, 1, 2], [0, 1, 1])
    assert np.flatnonzero(matches(fingerprints(images), fingerprints(images[:2]))).tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(0, 48, 48), (1, 48, 48), (2, 9, 7), (3, 64, 48, 3)])
def test_few_and_small_images(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(4).integers(0, 256, shape).astype(np.uint8)
    pairs = near_pairs(images)
    assert [values.shape for values in pairs] == [(0,)] * 5
    assert exact_groups(images).tolist() == list(range(len(images)))
    assert near_groups(pairs, len(images)).tolist() == list(range(len(images)))
    assert matches(fingerprints(images), fingerprints(images)).all()
    assert not matches(fingerprints(images), fingerprints(images[:0])).any()
    assert len(near_pairs(images, images[:0]).first) == 0


def test_a_fingerprint_is_small_and_plain() -> None:
    images = _pictures(5, 5)
    prints = fingerprints(images)
    assert (prints.dtype, prints.shape) == (np.dtype(np.uint8), (5, 104))
    np.testing.assert_array_equal(prints, np.concatenate([fingerprints(image[None]) for image in images]))


def test_threshold() -> None:
    images = _pictures(50, 6)
    changed = _jpeg(60)(images)
    assert len(near_pairs(changed, images, threshold=0.5).first) == 50
    assert len(near_pairs(changed, images, threshold=0.9999).first) == 0
    assert not matches(fingerprints(changed), fingerprints(images), threshold=0.99999).any()


def test_fingerprints_of_some_rows_hold_few_images_in_memory(tmp_path: Path) -> None:
    images = np.memmap(tmp_path / "images", np.uint8, "w+", shape=(12_000, 100, 100))  # 120 MB
    images[::500, :50] = 200
    rows = np.arange(1, 12_000)
    tracemalloc.start()
    try:
        prints = fingerprints(images, rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * images.nbytes
    np.testing.assert_array_equal(prints[498:501], fingerprints(images[499:502]))


def _links(*links: tuple[int, int]) -> Pairs:
    first, second = np.array(links).T
    none = np.zeros(len(links), dtype=bool)
    return Pairs(first, second, np.ones(len(links), dtype=np.float32), none, none)


def test_groups_follow_chains() -> None:
    assert near_groups(_links((2, 5), (5, 7), (1, 7), (3, 4)), 9).tolist() == [0, 1, 1, 3, 3, 1, 6, 1, 8]
    chain = near_groups(_links(*((i, i + 1) for i in range(998, -1, -1))), 1000)
    assert (chain == 0).all()


def test_exact_groups() -> None:
    images = np.random.default_rng(7).integers(0, 256, (4, 6, 5)).astype(np.uint8)
    assert exact_groups(images[[0, 1, 0, 2, 1, 3, 0]]).tolist() == [0, 1, 0, 3, 1, 5, 0]


def test_groups_of_mixed_labels_and_splits() -> None:
    groups = np.array([0, 1, 0, 3, 1, 3, 0])
    assert mixed(groups, np.array([4, 1, 4, 2, 2, 2, 4])).tolist() == [1]
    assert mixed(groups, np.array(["train", "val", "train", "train", "val", "val", "test"])).tolist() == [0, 3]


# The real thing


@pytest.fixture(scope="module")
def fer2013() -> tuple[Images, npt.NDArray[np.str_], npt.NDArray[np.bool_]]:
    """Return FER2013's images, labels, and which are of PublicTest; read without unpacking 32,298 files."""
    images, labels, public = [], [], []
    with tarfile.open(SHARED / "data/fer2013.tar.xz") as archive:
        for member in archive:
            if member.isfile():
                images.append(np.asarray(Image.open(archive.extractfile(member)).convert("L")))
                labels.append(member.name.split("/")[-2])
                public.append("PublicTest" in member.name)
    return np.array(images), np.array(labels), np.array(public)


@needs_shared
def test_exact_copies_in_fer2013(fer2013) -> None:
    images, labels, public = fer2013
    groups = exact_groups(images)
    sizes = np.bincount(groups)
    assert (sizes > 1).sum() == 1273
    assert (sizes[sizes > 0] - 1).sum() == 1532
    assert len(mixed(groups, labels)) == 47
    assert np.isin(groups[public], groups[~public]).sum() == 280


@needs_shared
def test_near_copies_in_fer2013(fer2013) -> None:
    images, _, public = fer2013
    prints = fingerprints(images[~public])
    assert prints.nbytes < 3e6
    found = matches(fingerprints(images[public]), prints)
    # The 58 least similar of them were looked at: they are the same photographs.
    assert found.sum() == pytest.approx(938, abs=5)
    groups = exact_groups(images)
    assert found[np.isin(groups[public], groups[~public])].all()
    different = np.random.default_rng(0).permutation(np.flatnonzero(~found))[:300]
    assert len(near_pairs(images[public][different], images[~public][:3000]).first) == 0
