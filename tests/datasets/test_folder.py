"""Class folders: splits, names, and what is left out or refused."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import face, write_image, write_image_folder
from fakes_tree import by_id, read

from fer.data import pixels
from fer.data.labels import BASIC
from fer.data.pixels import open_image, read_image
from fer.datasets.folder import Folder, find_entries
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError


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


def test_images_that_nobody_reads_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image_folder(tmp_path / "data", classes=["happy", "sad"], per_class=1)
    for place in ("loose.png", "train/other.PNG"):
        shutil.copy(tmp_path / "data/train/sad/0.png", tmp_path / "data" / place)
    assert len(read(tmp_path / "data")) == 6
    assert "data: 1 images that are in no class folder were left out (such as loose.png)" in caplog.text
    assert "data/train: 1 images that are in no class folder were left out (such as other.PNG)" in caplog.text


def test_splits_below_the_classes_are_refused(tmp_path: Path) -> None:
    for split in ("train", "Test"):
        write_image_folder(tmp_path / "data", splits=(f"happy/{split}", f"sad/{split}"), classes=["a"], per_class=1)
    with pytest.raises(DatasetError, match=r"happy holds folders named after splits: Test, train\. They"):
        read(tmp_path / "data")


def test_faces_of_one_photograph_stay_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image_folder(tmp_path / "data", splits=("",), classes=["happy", "sad"], per_class=6)
    files = sorted(str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").glob("*/*.png"))
    rows = [f"{file},{file.split('/')[0]}/{number // 2}.jpg," for number, file in enumerate(files)]
    (tmp_path / "data/manifest.csv").write_text("\n".join(["\ufefffile,source,subject", *rows]) + "\n")
    samples = read(tmp_path / "data")
    assert samples.subjects is not None
    assert len(set(samples.subjects)) == 6
    (tmp_path / "data/manifest.csv").write_text("image,label\na.png,happy\n")  # somebody else's
    with caplog.at_level(logging.INFO):
        assert read(tmp_path / "data").subjects is None
    assert "manifest.csv is none of fer.faces" in caplog.text
