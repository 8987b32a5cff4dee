"""Sizes, colours and broken files of the images of a dataset."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import face, write_image, write_image_folder
from fakes_tree import by_id, read
from PIL import Image

from fer.data import blocks
from fer.data import images as images_module
from fer.data.images import decode_images
from fer.data.squares import cut
from fer.errors import ConfigError, DatasetError


def test_one_square_size_stays(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", size=20, classes=["happy", "sad"])
    assert read(tmp_path / "data").images.shape == (18, 20, 20)
    assert read(tmp_path / "data", image_size=64).images.shape == (18, 20, 20)
    assert read(tmp_path / "data", image_size=20).images.shape == (18, 20, 20)


def test_smaller_size_is_area_averaged(tmp_path: Path) -> None:
    written = write_image_folder(tmp_path / "data", size=40, classes=["happy", "sad"])
    samples = read(tmp_path / "data", image_size=20)
    for path, image in by_id(samples).items():
        means = written[path].reshape(20, 2, 20, 2).mean((1, 3))
        assert np.abs(image - means).max() <= 0.5


def test_different_sizes_need_a_size(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_image_folder(root, size=20, classes=["happy", "sad"])
    large = np.tile(np.arange(60, dtype=np.uint8), (50, 1))
    write_image(root / "train/happy/large.png", large)
    write_image(root / "train/happy/small.png", large[:12, :10])
    with pytest.raises(DatasetError) as error:
        read(root)
    assert "3 sizes, from 10x12 to 60x50 (train/happy/small.png, train/happy/large.png)" in str(error.value)
    assert "data.image_size=" in str(error.value)
    found = by_id(read(root, image_size=30, fit="stretch"))
    np.testing.assert_array_equal(
        found["train/happy/large.png"], cv2.resize(large, (30, 30), interpolation=cv2.INTER_AREA)
    )
    np.testing.assert_array_equal(
        found["train/happy/small.png"], cv2.resize(large[:12, :10], (30, 30), interpolation=cv2.INTER_LINEAR)
    )


def test_a_face_in_a_photograph_is_not_squashed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo = np.full((72, 128), 50, np.uint8)
    cv2.circle(photo, (64, 36), 32, 250, -1)
    for name in ("happy", "sad"):
        write_image(tmp_path / f"data/{name}/a.png", photo)

    def extent(**options: object) -> tuple[int, int]:
        rows, columns = np.nonzero(by_id(read(tmp_path / "data", image_size=64, **options))["happy/a.png"] > 150)
        return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1

    caplog.set_level(logging.INFO)
    assert extent() == extent(fit="pad") == (32, 32)
    assert "2 of 2 images are not square; they are padded to squares (data.fit=pad)" in caplog.text
    assert extent(fit="crop") == (57, 57)
    assert extent(fit="stretch") == (32, 57)


@pytest.mark.parametrize(
    ("box", "fit", "expected"),
    [
        (None, "pad", [[0, 0, 0, 0], [0, 1, 2, 3], [4, 5, 6, 7], [0, 0, 0, 0]]),
        (None, "crop", [[1, 2], [5, 6]]),
        (None, "stretch", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ((1, 0, 2, 2), "pad", [[0, 1], [4, 5]]),  # what is beside the box
        ((3, 0, 5, 2), "pad", [[3, 0], [7, 0]]),  # and beyond the picture
        ((3, 0, 5, 2), "stretch", [[3], [7]]),
        ((0, 0, 1, 2), "crop", [[0]]),
    ],
)
def test_squares(box: tuple[int, int, int, int] | None, fit: str, expected: list[list[int]]) -> None:
    assert cut(np.arange(8, dtype=np.uint8).reshape(2, 4), box, fit).tolist() == expected


def test_common_but_not_square(tmp_path: Path) -> None:
    image = np.zeros((30, 20), np.uint8)
    for name in ("happy", "sad"):
        write_image(tmp_path / f"data/{name}/a.png", image)
    with pytest.raises(DatasetError, match=r"images of 20x30 pixels, but a network takes squares"):
        read(tmp_path / "data")
    assert read(tmp_path / "data", image_size=24).images.shape == (2, 24, 24)


def test_colour_is_rgb(tmp_path: Path) -> None:
    written = write_image_folder(tmp_path / "data", channels=3, classes=["happy", "sad"])
    found = by_id(read(tmp_path / "data"))
    for path, image in found.items():
        np.testing.assert_array_equal(image, written[path])
    grey = read(tmp_path / "data", channels=1)
    for path, image in by_id(grey).items():
        np.testing.assert_array_equal(image, np.asarray(Image.fromarray(written[path]).convert("L")))


def test_grey_as_rgb(tmp_path: Path) -> None:
    written = write_image_folder(tmp_path / "data", classes=["happy", "sad"])
    for path, image in by_id(read(tmp_path / "data", channels=3)).items():
        np.testing.assert_array_equal(image, np.dstack([written[path]] * 3))


def test_three_equal_channels_are_grey(tmp_path: Path) -> None:
    root = tmp_path / "data"
    written = write_image_folder(root, classes=["happy", "sad"], size=24)
    equal = face(3, np.random.default_rng(0), 24)
    write_image(root / "train/happy/rgb.png", np.dstack([equal] * 3))
    Image.fromarray(equal).quantize(256).save(root / "train/happy/palette.png")
    samples = read(root)
    assert samples.images.shape == (20, 24, 24)
    found = by_id(samples)
    np.testing.assert_array_equal(found["train/happy/rgb.png"], equal)
    np.testing.assert_array_equal(found["train/sad/0.png"], written["train/sad/0.png"])
    # One image that is not makes all of them RGB.
    write_image(root / "train/happy/colour.png", face(3, np.random.default_rng(0), 24, channels=3))
    samples = read(root)
    assert samples.images.shape == (21, 24, 24, 3)
    np.testing.assert_array_equal(by_id(samples)["train/happy/rgb.png"], np.dstack([equal] * 3))


def test_wrong_channels(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", per_class=1)
    with pytest.raises(ConfigError, match=r"data\.channels=4: must be 1 .* 3"):
        read(tmp_path / "data", channels=4)


def test_broken_images_are_all_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_image_folder(root, extension="jpg", per_class=30)
    broken = [f"train/{name}/{number}.jpg" for name in ("angry", "fear", "sad") for number in range(8)]
    for number, path in enumerate(broken):
        content = (root / path).read_bytes()
        (root / path).write_bytes([b"", b"<html>", content[: len(content) // 2]][number % 3])
    with pytest.raises(DatasetError) as error:
        read(root)
    message = str(error.value)
    assert message.startswith(f"24 of 630 images in {root} cannot be used:")
    assert "train/angry/0.jpg: the file is empty" in message
    assert "train/angry/1.jpg: not an image" in message
    assert "train/angry/2.jpg: cut off or damaged (" in message
    assert "and 4 more" in message
    assert not list(tmp_path.glob("cache/*"))


def test_all_images_broken(tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        (tmp_path / f"data/{name}").mkdir(parents=True)
        (tmp_path / f"data/{name}/a.png").touch()
    with pytest.raises(DatasetError, match="2 of 2 images in"):
        read(tmp_path / "data")


def test_large_datasets_go_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "_IN_MEMORY", 1000)
    written = write_image_folder(tmp_path / "data", channels=3, classes=["happy", "sad"])
    decoded = decode_images(tmp_path / "data", list(written), 48, None, tmp_path / "cache")
    assert isinstance(decoded, np.memmap)
    np.testing.assert_array_equal(decoded, np.stack(list(written.values())))
    for path, image in by_id(read(tmp_path / "data")).items():
        np.testing.assert_array_equal(image, written[path])


def test_threads_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "usable_cores", lambda: 4)
    written = write_image_folder(tmp_path / "data", per_class=40, size=12)
    decoded = decode_images(tmp_path / "data", list(written), 12, 1, tmp_path / "cache")
    np.testing.assert_array_equal(decoded, np.stack(list(written.values())))
