"""A decoding that was killed goes on where it stopped, and ends in the same images."""

import logging
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer.data import images, unfinished
from fer.data.images import decode_images
from fer.data.streamed import How
from fer.datasets.folder import read_folder
from fer.errors import DatasetError

SIZE, COUNT = 16, 400


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of 400 images in the folder ``data``, which count as many."""
    monkeypatch.setattr(images, "MANY", 100)
    (tmp_path / "data").mkdir()
    generator = np.random.default_rng(0)
    found = [f"{number:03}.png" for number in range(COUNT)]
    for name in found:
        cv2.imwrite(str(tmp_path / "data" / name), generator.integers(0, 255, (SIZE, SIZE), dtype=np.uint8))
    return found


@pytest.fixture
def decode(tmp_path: Path, names: list[str]) -> Callable[..., npt.NDArray[np.uint8]]:
    def run(source: str = "these", channels: int | None = 1) -> npt.NDArray[np.uint8]:
        return np.array(decode_images(tmp_path / "data", names, SIZE, channels, tmp_path / "cache", source=source))

    return run


def killed(decode: Callable[..., object], cache: Path, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in another process, and kill that once so many parts are done."""
    one = How.decode

    def slowly(*args: object) -> npt.NDArray[np.uint8]:
        time.sleep(0.002)
        return one(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(How, "decode", slowly)
    process = multiprocessing.get_context("fork").Process(target=decode)
    process.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = [path.read_text().count("\n") for path in cache.glob(".decoding-*/parts.txt")]
        if done and done[0] >= parts:
            break
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it was through before"
    monkeypatch.setattr(How, "decode", one)


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with the names of the images that are decoded."""
    seen: list[str] = []
    one = How.decode

    def noted(how: How, path: Path, *args: object) -> npt.NDArray[np.uint8]:
        seen.append(path.name)
        return one(how, path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(How, "decode", noted)
    return seen


@pytest.mark.parametrize("channels", [1, None])
def test_a_killed_decoding_goes_on(
    tmp_path: Path, decode: Callable[..., npt.NDArray[np.uint8]], names: list[str], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, channels: int | None,
) -> None:  # fmt: skip
    killed(lambda: decode(channels=channels), tmp_path / "cache", 2, monkeypatch)
    seen = decoded(monkeypatch)
    with caplog.at_level(logging.INFO):
        again = decode(channels=channels)
    assert 0 < len(seen) <= COUNT - 2 * 64
    assert f"{COUNT - len(seen)} of {COUNT} images were decoded before; going on." in caplog.text
    assert "images a second" not in caplog.text  # the line's words are "..., 1,234 a second"
    assert f"decoding images: {len(seen)} images in 0:0" in caplog.text
    assert again.shape == (COUNT, SIZE, SIZE), "all of it is grey, which the killed process had found in part"
    assert all((again[i] == cv2.imread(str(tmp_path / "data" / name), 0)).all() for i, name in enumerate(names))
    assert not list((tmp_path / "cache").iterdir()), "the folder went with the array"


def test_a_damaged_part_is_decoded_again(
    tmp_path: Path, decode: Callable[..., npt.NDArray[np.uint8]], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(decode, tmp_path / "cache", 3, monkeypatch)
    (folder,) = (tmp_path / "cache").iterdir()
    parts = folder / "parts.txt"
    first, rest = parts.read_text().split("\n", 1)
    number = int(first.split()[0])
    with (folder / "pixels").open("r+b") as file:
        file.seek(number * 64 * SIZE * SIZE + 5)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    parts.write_text(f"{first}\n{rest}77 zz\nnonsense\n9 12")  # and a line that was cut off
    seen = decoded(monkeypatch)
    again = decode()
    assert names[number * 64] in seen
    assert len(seen) < COUNT
    assert all((again[i] == cv2.imread(str(tmp_path / "data" / name), 0)).all() for i, name in enumerate(names))


def test_a_cache_that_was_gone_on_with_is_that_of_an_uninterrupted_decoding(
    tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faces/happy").mkdir(parents=True)
    (tmp_path / "data").rename(tmp_path / "faces/sad")
    (tmp_path / "faces/sad/000.png").rename(tmp_path / "faces/happy/000.png")

    def files(cache: Path) -> dict[str, bytes]:
        read_folder(tmp_path / "faces", cache, None, None)
        (folder,) = cache.iterdir()
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}

    killed(lambda: files(tmp_path / "cache"), tmp_path / "cache", 2, monkeypatch)
    seen = decoded(monkeypatch)
    again = files(tmp_path / "cache")
    assert 0 < len(seen) <= COUNT - 2 * 64
    assert again == files(tmp_path / "other")
    assert {"images.npy", "labels.npy", "meta.json"} <= again.keys()


def test_another_version_of_the_decoder_begins_anew(
    tmp_path: Path, decode: Callable[..., npt.NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(decode, tmp_path / "cache", 2, monkeypatch)
    seen = decoded(monkeypatch)
    monkeypatch.setattr(images, "FORMAT", images.FORMAT + 1)
    decode()
    assert len(seen) == COUNT


def test_a_broken_image_leaves_nothing(
    tmp_path: Path, decode: Callable[..., npt.NDArray[np.uint8]], names: list[str]
) -> None:
    (tmp_path / "data" / names[70]).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 of 400 images .*\n.*070\.png: the file is empty"):
        decode()
    assert not list((tmp_path / "cache").iterdir())


def test_without_locks_another_process_may_be_through_first(
    tmp_path: Path, decode: Callable[..., npt.NDArray[np.uint8]], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, first = How.decode, iter([True])

    def overtaken(how: How, path: Path, *args: object) -> npt.NDArray[np.uint8]:
        if next(first, False):
            (folder,) = (tmp_path / "cache").iterdir()
            shutil.rmtree(folder)
        return one(how, path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(How, "decode", overtaken)
    found = decode()
    assert all((found[i] == cv2.imread(str(tmp_path / "data" / name), 0)).all() for i, name in enumerate(names))


def test_other_files_begin_anew(
    tmp_path: Path, decode: Callable[..., npt.NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(decode, tmp_path / "cache", 2, monkeypatch)
    seen = decoded(monkeypatch)
    decode(source="others")
    assert len(seen) == COUNT


def test_what_nobody_goes_on_with_is_removed(
    tmp_path: Path, decode: Callable[..., npt.NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    killed(decode, cache, 1, monkeypatch)
    unfinished.remove_old(cache)
    (folder,) = cache.iterdir()
    week = time.time() - 8 * 24 * 3600
    for path in (*folder.iterdir(), folder):
        os.utime(path, (week, week))
    unfinished.remove_old(cache)
    assert not list(cache.iterdir())
