"""From an image file of any format to pixels."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import face, write_image, write_image_folder
from fakes_tree import read
from PIL import Image

from fer.data import pixels
from fer.data.pixels import read_image
from fer.errors import DatasetError


@pytest.mark.parametrize(
    "extension", ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "gif", "JPG", "jfif", "jpe", "pgm", "ppm"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_formats_as_pil_reads_them(tmp_path: Path, extension: str, channels: int) -> None:
    path = tmp_path / f"a.{extension}"
    write_image(path, face(0, np.random.default_rng(0), 32, channels))
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_image(path, 1), np.asarray(image.convert("L")))
        np.testing.assert_array_equal(read_image(path, 3), np.asarray(image.convert("RGB")))


def test_first_frame_of_a_gif(tmp_path: Path) -> None:
    frames = [face(label, np.random.default_rng(0), 32) for label in (0, 1)]
    first, second = (Image.fromarray(frame) for frame in frames)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif", 1), frames[0])


@pytest.mark.parametrize("extension", ["tiff", "png"])
def test_sixteen_bits(tmp_path: Path, extension: str) -> None:
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    cv2.imwrite(str(tmp_path / f"a.{extension}"), values)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{extension}"), values >> 8)
    cv2.imwrite(str(tmp_path / f"b.{extension}"), np.dstack([values] * 3))
    np.testing.assert_array_equal(read_image(tmp_path / f"b.{extension}", 1), values >> 8)


@pytest.mark.parametrize("extension", ["tiff", "png"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [10, 12])
def test_cameras_that_do_not_use_all_bits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, extension: str, channels: int, bits: int
) -> None:
    values = np.linspace(0, 2**bits - 1, 48 * 48).reshape(48, 48).astype(np.uint16)
    for name in ("happy", "sad"):
        (tmp_path / "data" / name).mkdir(parents=True)
        stored = values if channels == 1 else np.dstack([values, values, values // 2])
        cv2.imwrite(str(tmp_path / f"data/{name}/a.{extension}"), stored)
    image = read(tmp_path / "data").images[0]
    np.testing.assert_array_equal(
        image if channels == 1 else image[:, :, 0], (values // (1 if channels == 1 else 2)) >> (bits - 8)
    )
    assert f"use {bits} bits only" in caplog.text


@pytest.mark.filterwarnings("error")
def test_palette_with_transparency_and_cmyk(tmp_path: Path) -> None:
    colour = face(0, np.random.default_rng(0), 32, 3)
    palette = Image.fromarray(colour).quantize(64)
    palette.save(tmp_path / "a.png", transparency=bytes(range(64)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(palette.convert("RGB")))
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "b.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "b.jpg").astype(int) - colour).mean() < 3


def test_huge_images_are_decoded_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = cv2.resize(face(0, np.random.default_rng(0), 12, 3), (900, 600))
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name, smooth)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth).save(tmp_path / "turned.jpg", quality=100, exif=exif)
    for name in ("turned.png", "turned.tiff"):
        Image.fromarray(smooth).save(tmp_path / name, exif=exif)
    monkeypatch.setattr(pixels, "_LARGE", 100_000)
    for name, shape in (
        ("a.png", (100, 150)),
        ("a.jpg", (150, 225)),
        ("turned.png", (150, 100)),
        ("turned.tiff", (150, 100)),
        ("turned.jpg", (225, 150)),
    ):
        image = read_image(tmp_path / name, side=48)
        assert image.shape[:2] == shape
        assert read_image(tmp_path / name).shape[:2] == ((600, 900) if shape[0] < shape[1] else (900, 600))
        whole = smooth if shape[0] < shape[1] else np.rot90(smooth, 3)
        assert np.abs(cv2.resize(whole, shape[::-1], interpolation=cv2.INTER_AREA).astype(int) - image).mean() < 3


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DatasetError, match=r"train/happy/0\.png: too large for a picture of a face; make it smaller"):
        read(tmp_path / "data")


@pytest.mark.parametrize(("dtype", "reason"), [(np.float32, "floating-point"), (np.int32, "16 bits")])
def test_values_without_a_scale_are_refused(tmp_path: Path, dtype: type, reason: str) -> None:
    Image.fromarray(np.full((8, 8), 70_000, dtype)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=reason):
        read_image(tmp_path / "a.tiff")


def test_transparency_is_ignored(tmp_path: Path) -> None:
    colour = face(0, np.random.default_rng(0), 32, 3)
    Image.fromarray(np.dstack([colour, np.full((32, 32), 9, np.uint8)])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colour)
    grey = face(0, np.random.default_rng(0), 32)
    Image.merge("LA", [Image.fromarray(grey)] * 2).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), grey)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation(tmp_path: Path, orientation: int, turns: int) -> None:
    grey = face(0, np.random.default_rng(0), 48)[:24]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(grey).save(tmp_path / "a.jpg", quality=100, exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), np.rot90(grey, turns))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")  # before PIL's error
@pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "tiff", "webp", "gif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_cut_is_refused_or_harmless(tmp_path: Path, extension: str, channels: int) -> None:
    smooth = cv2.resize(face(0, np.random.default_rng(0), 6, channels), (40, 40))
    write_image(tmp_path / f"a.{extension}", smooth)
    whole = read_image(tmp_path / f"a.{extension}", channels)
    content = (tmp_path / f"a.{extension}").read_bytes()
    cut = tmp_path / f"cut.{extension}"
    refused = 0
    for length in {*range(0, len(content), 1 + len(content) // 150), *range(len(content) - 20, len(content))}:
        cut.write_bytes(content[:length])
        try:
            image = read_image(cut, channels)
        except Exception:
            refused += 1
        else:
            np.testing.assert_array_equal(image, whole, f"{length} of {len(content)} bytes")
    assert refused > 100


def test_progressive_and_thumbnailed_jpegs_are_refused_when_cut(tmp_path: Path) -> None:
    smooth = Image.fromarray(cv2.resize(face(0, np.random.default_rng(0), 6, 3), (256, 256)))
    thumbnail = io.BytesIO()
    smooth.resize((16, 16)).save(thumbnail, "JPEG")  # its end marker stands in the middle of the file
    buffer = io.BytesIO()
    smooth.save(buffer, "JPEG", progressive=True, exif=b"Exif\0\0" + thumbnail.getvalue())
    content = buffer.getvalue()
    for share in (0.5, 0.8, 0.95):
        (tmp_path / "a.jpg").write_bytes(content[: int(share * len(content))])
        with pytest.raises(OSError, match=r"(?i)truncated"):
            read_image(tmp_path / "a.jpg")
