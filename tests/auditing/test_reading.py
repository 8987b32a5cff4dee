"""What a process of its own reads comes back whole, and so does what goes wrong in it."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer.auditing import reading
from fer.auditing.reading import Dataset
from fer.data.samples import Samples
from fer.errors import DatasetError, FERError


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Dataset]], Dataset]:
    """Return a function that lets another process read, by a function in place of a DataModule's reading."""

    def run(read: Callable[[], Dataset]) -> Dataset:
        monkeypatch.setattr(reading, "_read", lambda nodes, seed: {"data": read()})
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        return reading.read({}, 0)["data"]

    return run


def dataset(images: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", folder: Path) -> Dataset:
    names = np.array(["a", "b", "c"])
    samples = Samples(images, np.arange(3), np.array(["train", "val", "test"]), names, ("angry", "happy", "sad"))
    return Dataset("drawn", samples, folder, "pad", folder)


def test_images_come_as_a_map_of_their_file(apart: Callable[..., Dataset], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)

    def read() -> Dataset:
        (tmp_path / "pid").write_text(str(os.getpid()))
        return dataset(np.load(tmp_path / "images.npy", mmap_mode="r"), tmp_path)

    found = apart(read)
    assert int((tmp_path / "pid").read_text()) != os.getpid()
    assert isinstance(found.samples.images, np.memmap)
    assert Path(str(found.samples.images.filename)).name == "images.npy"
    assert (found.samples.images == pixels).all()


def test_images_in_memory_come_too(apart: Callable[..., Dataset], tmp_path: Path) -> None:
    pixels = np.full((3, 4, 4), 7, np.uint8)
    assert (apart(lambda: dataset(pixels, tmp_path)).samples.images == 7).all()


def test_an_error_is_raised_here(apart: Callable[..., Dataset]) -> None:
    def read() -> Dataset:
        raise DatasetError("row 3 is broken")

    with pytest.raises(FERError, match=r"^row 3 is broken$"):
        apart(read)


def test_an_end_from_outside_is_told(apart: Callable[..., Dataset]) -> None:
    def read() -> Dataset:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with pytest.raises(FERError, match="ended from outside"):
        apart(read)
