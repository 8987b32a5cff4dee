"""Class folders: splits, names, sizes, colours, and every way in which a file can be broken."""

import io
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import face, write_image, write_image_folder
from PIL import Image

from fer.data import images as images_module
from fer.data import pixels
from fer.data.images import decode_images
from fer.data.labels import BASIC
from fer.data.pixels import open_image, read_image
from fer.data.samples import Samples
from fer.data.squares import cut
from fer.datasets.folder import Folder, find_entries, read_folder
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError


def read(root: Path, image_size: int | None = None, channels: int | None = None, **options: object) -> Samples:
    return read_folder(root, root.parent / "cache", image_size, channels, **options)  # type: ignore[arg-type]


def by_id(samples: Samples) -> dict[str, np.ndarray]:
    return dict(zip(samples.ids.tolist(), samples.images, strict=True))


# Layout


def test_images_labels_splits(tmp_path: Path) -> None:
    written = write_image_folder(tmp_path / "data")
    for samples in (read(tmp_path / "data"), read(tmp_path / "data")):  # from the files, then from the cache
        assert samples.images.shape == (63, 48, 48)
        assert samples.images.dtype == np.uint8
        assert samples.labels.dtype == np.int64
        assert samples.classes == BASIC
        assert samples.ids.tolist() == sorted(written)
        for path, split, label, image in zip(samples.ids, samples.splits, samples.labels, samples.images, strict=True):
            assert path.split("/")[:2] == [split, BASIC[label]]
            np.testing.assert_array_equal(image, written[path])


@pytest.mark.parametrize(
    "names",
    [("Train", "Val", "Test"), ("training", "valid", "PrivateTest"), ("TRAIN", "Validation", "TEST"),
     ("train", "PublicTest", "test")],
)  # fmt: skip
def test_split_names(tmp_path: Path, names: tuple[str, str, str]) -> None:
    write_image_folder(tmp_path / "data", splits=names, per_class=1)
    samples = read(tmp_path / "data")
    expected = dict(zip(names, ("train", "val", "test"), strict=True))
    assert [expected[path.split("/")[0]] for path in samples.ids] == samples.splits.tolist()


def test_without_splits_all_is_training(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", splits=("",), classes=["sad", "happy"])
    samples = read(tmp_path / "data")
    assert samples.splits.tolist() == ["train"] * 6
    assert samples.ids[0] == "happy/0.png"


def test_class_names_and_order(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["Contempt", "Surprised", "ANGER", "happiness"], per_class=1)
    samples = read(tmp_path / "data")
    assert samples.classes == ("angry", "happy", "surprise", "contempt")
    named = {path: samples.classes[label] for path, label in zip(samples.ids, samples.labels, strict=True)}
    assert named["train/ANGER/0.png"] == "angry"
    assert named["test/Contempt/0.png"] == "contempt"


def test_numbers_need_a_map(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["1", "2"], per_class=1)
    with pytest.raises(LabelError, match=r"(?s)data: class '1' is a number.*data\.label_map=.*class '2' is a"):
        read(tmp_path / "data")
    samples = read(tmp_path / "data", label_map={"1": "surprise", "2": "fear"})
    assert samples.classes == ("fear", "surprise")
    assert samples.labels.tolist() == [1, 0] * 3
    again = read(tmp_path / "data", label_map={"1": "fear", "2": "surprise"})
    assert again.labels.tolist() == [0, 1] * 3  # not the first map's cache


def test_unknown_class(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "hapy"], per_class=1)
    with pytest.raises(LabelError, match=r"data: unknown emotion 'hapy'\. Did you mean 'happy'"):
        read(tmp_path / "data")


def test_unknown_classes_are_told_what_can_be_done(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["bored", "happy", "hapy", "pain"], per_class=1)
    with pytest.raises(LabelError) as error:
        read(tmp_path / "data")
    said = str(error.value)
    assert "unknown emotion 'bored'.\n" in said
    assert "unknown emotion 'hapy'. Did you mean 'happy'?\n" in said
    assert said.count("Known: angry, disgust") == 1
    assert "data.label_map={glad: happy}" in said
    assert "data.own_classes=true" in said


ODD = ["[b]", "$x_1$", "=cmd()", "two\nlines", "<i>"]


def test_classes_of_ones_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image_folder(tmp_path / "data", classes=["Bored", "happy", "confused", "Sadness"], per_class=1)
    samples = read(tmp_path / "data", own_classes=True)
    assert samples.classes == ("happy", "bored", "confused", "sadness")
    named = {path: samples.classes[label] for path, label in zip(samples.ids, samples.labels, strict=True)}
    assert named["train/Bored/0.png"] == "bored"
    assert named["val/happy/0.png"] == "happy"
    assert "keeps sadness. To score it as the emotion" in caplog.text
    mapped = read(tmp_path / "data", own_classes=True, label_map={"sadness": "sad", "BORED": "Tired"})
    assert mapped.classes == ("happy", "sad", "confused", "tired")
    write_image_folder(tmp_path / "odd", classes=ODD, per_class=1)
    assert read(tmp_path / "odd", own_classes=True).classes == tuple(sorted(ODD))
    write_image_folder(tmp_path / "numbers", classes=["1", "2"], per_class=1)
    with pytest.raises(LabelError, match="class '1' is a number"):
        read(tmp_path / "numbers", own_classes=True)


def test_own_classes_are_trained_on_tested_and_meet_others_by_name(
    tmp_path: Path, train_here: Callable[..., Path], run_here: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_image_folder(tmp_path / "own", classes=["Bored", "happy", "Pain", "sad"], per_class=4)
    own = ("data=folder", "data.own_classes=true", f"data.root={tmp_path / 'own'}")
    small = ("model=fully_connected", "transforms=none", "trainer.max_epochs=1", "data.num_workers=0",
             "trainer.accelerator=cpu")  # fmt: skip
    with pytest.raises(SystemExit):
        train_here(*own, *small, "monitor=val/f1/bord")
    assert "monitor=val/f1/bord: folder has no such class" in capsys.readouterr().err
    run = train_here(*own, *small, "monitor=val/f1/bored", "data.classes=[Pain,bored,happy]", name="trained")
    assert set(json.loads((run / "metrics.json").read_text())["test"]["per_class"]) == {"pain", "bored", "happy"}
    test = ("fer.test", f"ckpt={run}", "accelerator=cpu", "progress=false")
    out = run_here(*test, *own, "+merge.pain=bored", name="itself")
    space = json.loads((out / "metrics.json").read_text())["label_space"]
    assert space["common"] == ["bored", "happy"]
    assert space["dropped_from_dataset"] == ["sad"]
    out = run_here(*test, "data=folder", f"data.root={tmp_path / 'own'}", "data.own_classes=true", name="again")
    assert json.loads((out / "metrics.json").read_text())["label_space"]["common"] == ["pain", "bored", "happy"]


def test_deeper_folders_and_other_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    write_image_folder(root, classes=["happy", "sad"], per_class=1)
    write_image(root / "train/happy/S005/001/a.PNG", face(3, np.random.default_rng(0)))
    (root / "train/happy/S005/notes.txt").touch()
    (root / "train/happy/Thumbs.db").touch()
    (root / "train/happy/.hidden.png").touch()
    (root / "train/.ipynb_checkpoints").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "extra").mkdir()
    with caplog.at_level(logging.INFO):
        samples = read(root)
    assert len(samples) == 7
    assert "train/happy/S005/001/a.PNG" in samples.ids
    assert "2 files are not images and were skipped" in caplog.text
    assert "not named after a split were left out: extra" in caplog.text


def test_not_found(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetNotFoundError) as error:
            read(root, name="mine")
        assert "'mine' was not found" in str(error.value)
        assert str(root / "train") in str(error.value)
        assert "data.root=" in str(error.value)


def test_empty_folders_are_all_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_image_folder(root, splits=["train"], classes=["happy", "sad"], per_class=1)
    (root / "val").mkdir()
    (root / "test/happy").mkdir(parents=True)
    (root / "train/fear").mkdir()
    with pytest.raises(DatasetError) as error:
        read(root)
    assert f"{root / 'val'} holds no class folders" in str(error.value)
    assert f"{root / 'test/happy'} holds no images" in str(error.value)
    assert f"{root / 'train/fear'} holds no images" in str(error.value)


def test_changed_files_are_read_again(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_image_folder(root, classes=["happy", "sad"], per_class=1)
    read(root)
    write_image(root / "train/happy/1.png", face(3, np.random.default_rng(9)))
    assert len(read(root)) == 7
    (root / "train/happy/1.png").unlink()
    assert len(read(root)) == 6


def test_two_datasets_with_equal_names_sizes_and_times(tmp_path: Path) -> None:
    for number in (0, 1):
        written = write_image_folder(tmp_path / f"{number}", extension="bmp", classes=["happy", "sad"], seed=number)
        for path in written:
            os.utime(tmp_path / f"{number}" / path, (315532800, 315532800))
        for path, image in by_id(read(tmp_path / f"{number}")).items():
            np.testing.assert_array_equal(image, written[path])


def test_a_file_name_that_is_no_utf8(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"], per_class=1)
    (tmp_path / "data/val/sad/0.png").rename(tmp_path / "data/val/sad" / os.fsdecode(b"caf\xe9.png"))
    assert r"val/sad/caf\xe9.png" in read(tmp_path / "data").ids


def test_entries_are_found_without_opening_them(tmp_path: Path) -> None:
    (tmp_path / "train/Happiness").mkdir(parents=True)
    (tmp_path / "train/Happiness/a.jpg").touch()
    assert [entry[:3] for entry in find_entries(tmp_path)] == [("train/Happiness/a.jpg", "train", "happy")]


# Folders and files as people have them


def test_a_link_to_a_folder_above(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"], per_class=1)
    (tmp_path / "data/train/happy/more").mkdir()
    for target in (tmp_path / "data/train/happy", tmp_path):
        (tmp_path / "data/train/happy/more/loop").symlink_to(target)
        with pytest.raises(DatasetError, match="happy/more/loop is a link to a folder that it is in"):
            read(tmp_path / "data")
        (tmp_path / "data/train/happy/more/loop").unlink()


def test_a_linked_dataset_is_read(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "real", classes=["happy", "sad"], per_class=1)
    (tmp_path / "data").symlink_to(tmp_path / "real")
    (tmp_path / "real/train/happy/more").symlink_to(tmp_path / "real/train/sad")
    assert len(read(tmp_path / "data")) == 7


def test_folders_that_are_too_deep(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"], per_class=1)
    (tmp_path / "data/train/happy" / "/".join(["d"] * 300)).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"train/happy/d.*more than 64 nested folders"):
        read(tmp_path / "data")


def test_a_folder_and_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"], per_class=1)
    scandir, opened = os.scandir, open_image

    def refuse(path: Path) -> object:
        if str(path).rstrip("/").endswith(("val/sad", "test/sad/0.png")):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path) if Path(path).is_file() else scandir(path)

    monkeypatch.setattr(pixels, "open_image", refuse)
    with pytest.raises(DatasetError, match=r"test/sad/0\.png: permission denied"):
        read(tmp_path / "data")
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"val/sad/? cannot be read: permission denied"):
        read(tmp_path / "data")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"], per_class=1)
    os.mkfifo(tmp_path / "data/train/happy/pipe.png")
    with pytest.raises(DatasetError, match=r"happy/pipe\.png is no file, but a pipe or device"):
        read(tmp_path / "data")
    with pytest.raises(ValueError, match="not a file"):
        read_image(tmp_path / "data/train/happy/pipe.png")


def test_what_is_skipped_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image_folder(tmp_path / "data", splits=("",), classes=["happy", "sad"], per_class=1)
    for name in ("a.HEIC", "b.heic", "notes.txt"):
        (tmp_path / "data/sad" / name).touch()
    read(tmp_path / "data")
    assert "3 files are not images and were skipped: 2 .heic, 1 .txt. Pictures among them" in caplog.text
    (tmp_path / "data/sad/0.png").unlink()
    with pytest.raises(DatasetError, match=r"sad holds no images that are read, but files 2 \.heic, 1 \.txt"):
        read(tmp_path / "data")


def test_class_folders_that_are_left_out(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad", "Ahegao"], per_class=1)
    with pytest.raises(LabelError, match=r"(?s)'Ahegao'.*data\.label_map=\{its name: null\}"):
        read(tmp_path / "data")
    assert len(read(tmp_path / "data", label_map={"ahegao": None})) == 6
    assert len(read(tmp_path / "data", wanted=["happy", "sad"])) == 6
    assert read(tmp_path / "data", label_map={"sad": None}, wanted=["happy"]).classes == ("happy",)


def test_a_misspelt_key_of_the_label_map(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"], per_class=1)
    with pytest.raises(ConfigError, match=r"data\.label_map: .* no class folder 'happi'\. Did you mean 'happy'"):
        read(tmp_path / "data", label_map={"happi": "sad"})
    assert len(read(tmp_path / "data", label_map={"contempt": "sad"})) == 6


def test_two_folders_of_one_split(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", splits=("train", "val", "validation"), classes=["happy", "sad"], per_class=1)
    with pytest.raises(DatasetError, match=r"2 folders for the split 'val': val, validation\."):
        read(tmp_path / "data")


def test_a_broken_image_that_is_excluded(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"], per_class=2)
    (tmp_path / "data/train/sad/0.png").write_bytes(b"")
    csv = tmp_path / "out.csv"
    csv.write_bytes(b"\xef\xbb\xbfid,reason\r\ntrain/sad/0.png,broken\r\n")  # a spreadsheet's

    def make(exclude: Path | None) -> Folder:
        return Folder(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"), exclude=exclude and str(exclude))

    for _ in range(2):
        assert [make(csv).class_counts("train").tolist()] == [[2, 1]]
    with pytest.raises(DatasetError, match=r"1 of 12 images .*\n.*train/sad/0\.png: the file is empty"):
        make(None).setup("fit")


# Size


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


# Colour


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


# Formats


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
    Image.fromarray(smooth).save(tmp_path / "turned.png", exif=exif)
    monkeypatch.setattr(pixels, "_LARGE", 100_000)
    for name, shape in (
        ("a.png", (100, 150)),
        ("a.jpg", (150, 225)),
        ("turned.png", (150, 100)),
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


# Broken files


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
    monkeypatch.setattr(images_module, "usable_cores", lambda: 4)
    written = write_image_folder(tmp_path / "data", per_class=40, size=12)
    decoded = decode_images(tmp_path / "data", list(written), 12, 1, tmp_path / "cache")
    np.testing.assert_array_equal(decoded, np.stack(list(written.values())))
