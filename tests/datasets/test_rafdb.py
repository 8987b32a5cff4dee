"""RAF-DB: both forms, codes, attributes, counts, and every way in which its files can be wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes_web import write_rafdb, write_rafdb_kaggle

from fer.data.labels import BASIC
from fer.data.samples import Samples
from fer.datasets.rafdb import RAFDB
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError

LIST = "basic/EmoLabel/list_patition_label.txt"


def module(root: Path, **options: object) -> RAFDB:
    return RAFDB(str(root), cache_dir=str(root.parent / "cache"), **options)


def read(root: Path, **options: object) -> Samples:
    return module(root, **options).read()


def stem(path: str) -> str:
    return Path(path).stem.removesuffix("_aligned")


def edit(root: Path, old: str, new: str) -> None:
    text = (root / LIST).read_text()
    assert old in text
    (root / LIST).write_text(text.replace(old, new))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    write_rafdb(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    write_rafdb_kaggle(tmp_path / "data")
    return tmp_path / "data"


# Both forms


@pytest.mark.parametrize("write", [write_rafdb, write_rafdb_kaggle])
def test_labels_splits_images(tmp_path: Path, write) -> None:
    emotions = write(tmp_path / "data")
    samples = read(tmp_path / "data")
    assert samples.images.shape == (28, 100, 100, 3)
    assert samples.classes == BASIC
    assert samples.subjects is None
    assert {stem(i): samples.classes[n] for i, n in zip(samples.ids, samples.labels, strict=True)} == emotions
    assert [stem(path).split("_")[0] for path in samples.ids] == samples.splits.tolist()


def test_forms_hold_equal_images(tmp_path: Path) -> None:
    write_rafdb_kaggle(tmp_path / "kaggle")
    samples = read(tmp_path / "kaggle")
    (tmp_path / "basic/EmoLabel").mkdir(parents=True)
    (tmp_path / "basic/Image/aligned").mkdir(parents=True)
    for image in (tmp_path / "kaggle/DATASET").rglob("*.jpg"):
        shutil.copy(image, tmp_path / "basic/Image/aligned")
    lines = [f"{stem(path)}.jpg {path.split('/')[1]}\n" for path in samples.ids]
    (tmp_path / LIST).write_text("".join(lines))
    again = read(tmp_path)
    np.testing.assert_array_equal(again.images, samples.images)
    np.testing.assert_array_equal(again.labels, samples.labels)
    np.testing.assert_array_equal(again.splits, samples.splits)


def test_val_is_carved_out_of_train(official: Path) -> None:
    data = module(official, val_fraction=0.5)
    assert [int((data.samples.splits == split).sum()) for split in ("train", "val", "test")] == [7, 7, 14]
    assert all("test_" in path for path in data.samples.ids[data.samples.splits == "test"])


def test_other_counts_are_said(official: Path, caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    read(official)
    assert "has 14 of the official 12,271 train images" in caplog.text
    assert "has 14 of the official 3,068 test images" in caplog.text
    caplog.clear()
    monkeypatch.setattr("fer.datasets.rafdb.COUNTS", {"train": 14, "test": 14})
    read(official)
    assert "official" not in caplog.text


def test_not_found(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"(?s)'rafdb'.*list_patition_label.*DATASET.*whdeng\.cn"):
        read(tmp_path)


# Official


@pytest.mark.parametrize("folder", ["data", "data/basic"])
def test_root_and_ids(official: Path, folder: str) -> None:
    samples = RAFDB(str(official.parent / folder), cache_dir=str(official.parent / "cache")).read()
    assert samples.ids[0] == "Image/aligned/train_00001_aligned.jpg"


def test_original_pictures_need_a_size(official: Path) -> None:
    with pytest.raises(DatasetError, match=r"28 sizes, from 60x60 to 87x87.*\n?.*data\.image_size="):
        read(official, aligned=False)
    samples = read(official, aligned=False, image_size=64)
    assert samples.images.shape == (28, 64, 64, 3)
    assert samples.ids[0] == "Image/original/train_00001.jpg"


def test_attributes(official: Path) -> None:
    samples = read(official)
    assert samples.attributes["gender"].tolist()[:4] == ["male", "female", "unsure", "male"]
    assert samples.attributes["race"].tolist()[:3] == ["Caucasian", "African-American", "Asian"]
    assert samples.attributes["age"].tolist()[:6] == ["0-3", "4-19", "20-39", "40-69", "70+", "0-3"]


def test_some_attributes_or_none(official: Path, caplog: pytest.LogCaptureFixture) -> None:
    (official / "basic/Annotation/manual/train_00002_manu_attri.txt").unlink()
    samples = read(official)
    assert samples.attributes["gender"].tolist()[:3] == ["male", "", "unsure"]
    assert "1 images have no attributes; the first missing file is train_00002_manu_attri.txt" in caplog.text
    shutil.rmtree(official / "basic/Annotation")
    assert read(official).attributes == {}


def test_wrong_attributes_are_all_named(official: Path) -> None:
    folder = official / "basic/Annotation/manual"
    (folder / "train_00001_manu_attri.txt").write_text("1 2\n1\n0\n3\n")
    text = (folder / "test_0003_manu_attri.txt").read_text().splitlines()
    (folder / "test_0003_manu_attri.txt").write_text("\n".join([*text[:7], "5"]))
    with pytest.raises(DatasetError) as error:
        read(official)
    assert "2 of 28 labels" in str(error.value)
    assert "train_00001_manu_attri.txt: 4 lines, expected 5 landmarks, gender, race and age" in str(error.value)
    assert "test_0003_manu_attri.txt: age '5' is none of 0 0-3, 1 4-19" in str(error.value)


def test_label_out_of_range(official: Path) -> None:
    edit(official, "train_00002.jpg 2", "train_00002.jpg 8")
    edit(official, "test_0001.jpg 1", "test_0001.jpg 0")
    with pytest.raises(LabelError) as error:
        read(official)
    assert "2 of 28" in str(error.value)
    assert f"{official / LIST}:2: label '8' is none of 1 surprise, 2 fear" in str(error.value)
    assert f"{official / LIST}:15: label '0'" in str(error.value)


def test_wrong_rows_are_all_named(official: Path) -> None:
    edit(official, "train_00002.jpg 2", "val_00002.jpg 2")
    edit(official, "train_00004.jpg 4", "train_00004.jpg")
    edit(official, "test_0002.jpg", "test_0001.jpg")
    edit(official, "test_0003.jpg 3", "test_0003.jpg 9")
    with pytest.raises(DatasetError) as error:
        read(official)
    assert "4 of 28" in str(error.value)
    assert f"{LIST}:2: 'val_00002.jpg 2' is not '<name> <label>'" in str(error.value)
    assert f"{LIST}:4: 'train_00004.jpg' is not" in str(error.value)
    assert f"{LIST}:16: 'test_0001.jpg' is listed before" in str(error.value)
    assert f"{LIST}:17: label '9'" in str(error.value)


def test_absent_images(official: Path) -> None:
    for name in ("train_00003", "test_0001"):
        (official / f"basic/Image/aligned/{name}_aligned.jpg").unlink()
    with pytest.raises(DatasetError, match=r"(?s)rafdb: 2 of 28 listed images are not in.*test_0001_aligned\.jpg"):
        read(official)
    shutil.rmtree(official / "basic/Image/aligned")
    with pytest.raises(DatasetError, match=r"aligned is missing: unpack Image/aligned\.zip"):
        read(official)


def test_broken_image(official: Path) -> None:
    path = official / "basic/Image/aligned/train_00003_aligned.jpg"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"(?s)1 of 28 images.*train_00003_aligned\.jpg: "):
        read(official)


# Kaggle


def test_kaggle_root_and_ids(kaggle: Path) -> None:
    assert read(kaggle).ids[-1] == "train/7/train_00014_aligned.jpg"
    samples = RAFDB(str(kaggle / "DATASET"), cache_dir=str(kaggle.parent / "cache")).read()
    assert samples.ids[-1] == "train/7/train_00014_aligned.jpg"


@pytest.mark.parametrize("folder", ["data", "data/DATASET"])
def test_folders_and_csv_must_agree(kaggle: Path, folder: str) -> None:
    path = kaggle / "train_labels.csv"
    text = path.read_text().replace("train_00001_aligned.jpg,1", "train_00001_aligned.jpg,3")
    path.write_text(text.replace("train_00002", "train_99999"))
    with pytest.raises(DatasetError) as error:
        RAFDB(str(kaggle.parent / folder), cache_dir=str(kaggle.parent / "cache")).read()
    message = str(error.value)
    assert "train/1/train_00001_aligned.jpg (surprise) is labelled 3 (disgust) in train_labels.csv" in message
    assert "train/2/train_00002_aligned.jpg is not listed in train_labels.csv" in message
    assert "train_99999_aligned.jpg of train_labels.csv is in no folder" in message


def test_csv_files_are_optional(tmp_path: Path) -> None:
    write_rafdb_kaggle(tmp_path / "data", csv_files=False)
    assert len(read(tmp_path / "data")) == 28


def test_csv_files_of_another_folder_are_not_read(kaggle: Path) -> None:
    faces = (kaggle / "DATASET").rename(kaggle / "faces")
    (kaggle / "train_labels.csv").write_text("image,label\nother.jpg,1\n")
    assert len(RAFDB(str(faces), cache_dir=str(kaggle.parent / "cache")).read()) == 28
    (kaggle / "train_labels.csv").rename(faces / "train_labels.csv")
    with pytest.raises(DatasetError, match=r"other\.jpg of train_labels\.csv is in no folder"):
        RAFDB(str(faces), cache_dir=str(kaggle.parent / "cache")).read()


def test_wrong_csv(kaggle: Path) -> None:
    path = kaggle / "test_labels.csv"
    text = path.read_text()
    path.write_text(text.replace("test_0001_aligned.jpg,1", "test_0001_aligned.jpg,8"))
    with pytest.raises(LabelError, match=r"test_labels\.csv:2: label '8' is none of"):
        read(kaggle)
    path.write_text(text.replace("test_0001_aligned.jpg,1", "test_0001_aligned.jpg"))
    with pytest.raises(DatasetError, match=r"test_labels\.csv:2: 1 fields, expected 2"):
        read(kaggle)
    path.write_text(text.replace("image,label", "name,class"))
    with pytest.raises(DatasetError, match=r"test_labels\.csv:1: no column image and no column label"):
        read(kaggle)


def test_foreign_and_empty_class_folders(kaggle: Path) -> None:
    (kaggle / "DATASET/train/.ipynb_checkpoints").mkdir()
    shutil.rmtree(kaggle / "DATASET/train/4")
    (kaggle / "DATASET/train/4").mkdir()
    with pytest.raises(DatasetError, match=r"train/4 holds no images"):
        read(kaggle)
    (kaggle / "DATASET/train/0").mkdir()
    with pytest.raises(LabelError, match=r"(?s)1 surprise, 2 fear.*train/0\n.*data=folder"):
        read(kaggle)


def test_kaggle_has_no_original_pictures(kaggle: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.aligned=false: .*DATASET holds aligned faces only"):
        read(kaggle, aligned=False)
