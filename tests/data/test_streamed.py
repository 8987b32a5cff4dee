"""data.stream=true: the same samples as from the cache, of which nothing decoded is kept."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import face, write_image_folder
from fakes_shards import labelled, pack, plain, png, same, shards
from fakes_web import write_expw
from PIL import Image

from fer.data import first_reading, images
from fer.data.base import FERDataModule
from fer.data.fingerprints import fingerprints, hashes
from fer.data.quality import flat
from fer.data.streamed import How, Streamed
from fer.datasets.combined import Combined
from fer.datasets.expw import ExpW
from fer.datasets.fer2013 import FER2013
from fer.datasets.folder import Folder
from fer.datasets.shards import Shards
from fer.errors import ConfigError, DatasetError, StreamError


def grey(root: Path) -> None:
    write_image_folder(root, per_class=2)


def grey_as_rgb(root: Path) -> None:
    grey(root)
    for path in sorted(root.rglob("*.png"))[::2]:
        Image.open(path).convert("RGB").save(path)


def oblong_and_coloured(root: Path) -> None:
    grey(root)
    for number, path in enumerate(sorted(root.rglob("*.png"))[::3]):
        Image.fromarray(face(number % 7, np.random.default_rng(number), 96, 3)[:70]).save(path)


@pytest.mark.parametrize("form", ["folder", "shards"])
@pytest.mark.parametrize(
    ("write", "options"),
    [
        (grey, {}),
        (grey_as_rgb, {}),
        (oblong_and_coloured, {"image_size": 32, "fit": "crop"}),
        (oblong_and_coloured, {"image_size": 64, "channels": 1}),
        (grey, {"channels": 3}),
    ],
)
def test_samples_are_those_of_the_cache(
    tmp_path: Path, write: Callable[[Path], None], options: dict[str, object], form: str
) -> None:
    write(tmp_path / "data")
    flat_one = next((tmp_path / "data").rglob("*.png"))
    Image.new("L", (48, 48), 90).save(flat_one)

    def data(stream: bool) -> FERDataModule:
        kind: type[FERDataModule] = Folder if form == "folder" else Shards
        root = tmp_path / ("data" if form == "folder" else "packed")
        found = kind(str(root), cache_dir=str(tmp_path / f"cache{stream}"), stream=stream, seed=3, **options)  # type: ignore[arg-type, call-arg]
        found.setup("fit")  # carves a split, by equal pixels
        return found

    if form == "shards":
        pack(Folder(str(tmp_path / "data"), **options), tmp_path / "packed")  # type: ignore[arg-type]
    expected = data(stream=False).samples
    for _ in ("read", "opened again"):
        streamed = data(stream=True).samples
        assert isinstance(streamed.images, Streamed)
        same(streamed, expected)
        np.testing.assert_array_equal(fingerprints(streamed.images), fingerprints(expected.images))
        np.testing.assert_array_equal(hashes(streamed.images), hashes(expected.images))
        np.testing.assert_array_equal(flat(streamed.images), flat(expected.images))
        assert flat(streamed.images).sum() == 1
    assert not list((tmp_path / "cacheTrue").rglob("images.npy"))
    pixels, array = streamed.images, expected.images
    assert (pixels.shape, pixels.ndim, pixels.dtype, len(pixels)) == (array.shape, array.ndim, array.dtype, len(array))
    for key in (0, -1, np.int64(2), [3, 1, 1], slice(None, None, 5), np.arange(len(array)) % 3 == 0, np.array([-2])):
        np.testing.assert_array_equal(pixels[key], array[key])
    with pytest.raises(IndexError):
        pixels[len(array)]


def test_faces_of_larger_pictures_and_broken_ones_that_are_left_out(tmp_path: Path) -> None:
    write_expw(tmp_path / "expw")
    options = {"cache_dir": str(tmp_path / "cache"), "image_size": 24, "min_confidence": 0}
    expected = ExpW(str(tmp_path / "expw"), **options).read()
    same(ExpW(str(tmp_path / "expw"), stream=True, **options).read(), expected)
    root = plain(tmp_path / "others", {"train-0.tar": {**labelled(), "bad.png": b"no image", "bad.cls": b"sad"}})
    with pytest.raises(DatasetError, match=r"1 of 5 images in .*\n.*train-0.tar/bad.png: not an im"):
        shards(root, stream=True).read()
    (tmp_path / "out.csv").write_text("id\ntrain/bad\n")
    one, two = (shards(root, exclude=str(tmp_path / "out.csv"), stream=stream) for stream in (True, False))
    for data in (one, two):
        data.use_own_splits()
    same(one.samples, two.samples)


def test_a_first_reading_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_image_folder(tmp_path / "data", per_class=16)
    monkeypatch.setattr(first_reading, "MANY", 100)
    monkeypatch.setattr(images, "MANY", 100)
    seen: list[object] = []
    one = How.decode

    def stopped(how: How, path: Path, box: None) -> object:
        if len(seen) == 200:
            raise KeyboardInterrupt
        seen.append(path)
        return one(how, path, box)

    def data() -> Folder:
        return Folder(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"), stream=True)

    monkeypatch.setattr(How, "decode", stopped)
    monkeypatch.setattr("fer.data.blocks.usable_cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        data().read()
    monkeypatch.setattr(How, "decode", one)
    with caplog.at_level(logging.INFO):
        again = data().read()
    assert "192 of 336 images were decoded before; going on." in caplog.text
    assert "reading images once: 144 images in 0:0" in caplog.text
    expected = Folder(str(tmp_path / "data"), cache_dir=str(tmp_path / "other")).read()
    same(again, expected)
    np.testing.assert_array_equal(fingerprints(again.images), fingerprints(expected.images))
    assert [path.name[:6] for path in (tmp_path / "cache").iterdir()] == ["folder"]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("other", r"train-0.tar/002.png is no longer the image that it was when the dataset was first read"),
        (
            "cut",
            r"train-0.tar/002.png cannot be read any more \(cut off .* ends before its member 002.png does\)\)",
        ),
        ("gone", r"train-0.tar/00\d.png cannot be read any more \(no such file or directory\)"),
    ],
)
def test_shards_that_change_during_the_training(tmp_path: Path, harm: str, said: str, workers: int) -> None:
    before = {**labelled(), "002.png": png(2, 2) + b"\0" * 600}  # of a size that another can have
    root = plain(tmp_path / "others", {"train-0.tar": before})
    data = shards(root, stream=True, num_workers=workers, batch_size=1)
    data.use_own_splits()
    tar = root / "train-0.tar"
    assert len(list(data.eval_dataloader("train"))) == 4
    if harm == "other":
        content = tar.read_bytes()
        other = png(5, 9)
        tar.write_bytes(content.replace(before["002.png"], other.ljust(len(before["002.png"]), b"\0")))
    elif harm == "cut":
        tar.write_bytes(tar.read_bytes()[: tar.read_bytes().index(before["002.png"]) + 20])
    else:
        shutil.rmtree(root)
    with pytest.raises(StreamError, match=rf"^\S*others: {said}\. Put the files back") as raised:
        list(data.eval_dataloader("train"))
    assert "Traceback" not in str(raised.value)


def test_a_program_ends_though_its_loader_failed(tmp_path: Path) -> None:
    root = plain(tmp_path / "others", {"train-0.tar": labelled()})
    program = f"""
import shutil
from fer.datasets.shards import Shards
data = Shards({str(root)!r}, cache_dir={str(tmp_path / "cache")!r}, stream=True, num_workers=1, batch_size=1)
data.use_own_splits()
batches = iter(data.eval_dataloader("train"))
next(batches)
batches.circle = batches, next  # as a traceback that is kept does
shutil.rmtree({str(root)!r})
del batches
print("done")
"""
    ended = subprocess.run([sys.executable, "-c", program], timeout=120, capture_output=True, text=True, check=True)
    assert ended.stdout == "done\n"


def test_datasets_that_do_not_stream(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^data.stream=true: fer2013 is always decoded"):
        FER2013(str(tmp_path), stream=True).setup("fit")
    given = {"folder": {"root": str(tmp_path), "stream": True}, "synthetic": {}}
    with pytest.raises(ConfigError, match=r"^data.options.folder.stream=true: combined keeps"):
        Combined(datasets=["folder", "synthetic"], options=given)
