"""Images that a csv file labels: columns, splits, subjects, and rows that are left out or refused."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from fakes import Pixels, face, write_image

from fer.data.samples import Samples
from fer.datasets.csv_labels import CsvLabels
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError

_CODES = {"angry": 0, "happy": 3, "sad": 4}


def read(root: Path, **options: object) -> Samples:
    return CsvLabels(str(root), cache_dir=str(root.parent / "cache"), **options).read()  # type: ignore[arg-type]


def write(root: Path, *rows: str, images: str = ".", file: str = "labels.csv") -> dict[str, Pixels]:
    """Write a csv file, and an image of 32x32 for each path in its rows that has none yet."""
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text("\n".join(rows) + "\n")
    written = {}
    for number, row in enumerate(rows[1:]):
        for name in (field for field in row.split(",") if field.endswith(".png")):
            written[name] = face(number % 7, np.random.default_rng(number), 32)
            write_image(root / images / name, written[name])
    return written


def test_labels_splits_subjects_and_images(tmp_path: Path) -> None:
    written = write(
        tmp_path / "data", "Split,subject,IMAGE,label", "train,KA,a/1.png,Happiness", "PublicTest,KL,2.png,AN",
        "test,KM,a/3.png,happy", "Training,KA,4.png,sad",
    )  # fmt: skip
    for samples in (read(tmp_path / "data"), read(tmp_path / "data")):  # from the files, then from the cache
        assert samples.classes == ("angry", "happy", "sad")
        assert samples.subjects is not None
        found = zip(samples.ids, samples.splits, samples.labels, samples.subjects, strict=True)
        assert {id_: (split, samples.classes[label], subject) for id_, split, label, subject in found} == {
            "a/1.png": ("train", "happy", "KA"), "2.png": ("val", "angry", "KL"),
            "a/3.png": ("test", "happy", "KM"), "4.png": ("train", "sad", "KA"),
        }  # fmt: skip
        for id_, image in zip(samples.ids, samples.images, strict=True):
            np.testing.assert_array_equal(image, written[id_])


def test_muxspace_layout(tmp_path: Path) -> None:
    rows = ["628,b.png,anger", "628,a.png,HAPPINESS", "dwdii,c.png,contempt"]
    write(tmp_path / "data", "user.id,image,emotion", *rows, images="images", file="data/legend.csv")
    samples = read(tmp_path / "data", file="data/legend.csv", images="images")
    assert samples.classes == ("angry", "happy", "contempt")
    assert dict(zip(samples.ids.tolist(), samples.labels.tolist(), strict=True)) == {
        "images/a.png": 1, "images/b.png": 0, "images/c.png": 2,
    }  # fmt: skip
    assert set(samples.splits.tolist()) == {"train"}
    assert samples.subjects is None  # user.id is who labelled the image


def test_a_corrected_label_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "data", "image,label", "1.png,happy", "2.png,sad")
    assert read(tmp_path / "data").labels.tolist() == [0, 1]
    (tmp_path / "data/labels.csv").write_text("image,label\n1.png,sad\n2.png,happy\n")
    assert read(tmp_path / "data").labels.tolist() == [1, 0]


def test_numbers_and_other_words(tmp_path: Path) -> None:
    write(tmp_path / "data", "image,code,label", "1.png,0,glad", "2.png,1,bored", "3.png,2,happy")
    with pytest.raises(LabelError, match=r"(?s)class '0' is a number.*data\.label_map"):
        read(tmp_path / "data", label_column="code")
    mapped = read(tmp_path / "data", label_column="code", label_map={0: "sad", 1: "angry", 2: None})
    assert (mapped.classes, mapped.ids.tolist(), mapped.labels.tolist()) == (
        ("angry", "sad"),
        ["1.png", "2.png"],
        [1, 0],
    )
    own = read(tmp_path / "data", own_classes=True)
    assert own.classes == ("happy", "bored", "glad")
    with pytest.raises(LabelError, match=r"(?s)bored.*glad"):
        read(tmp_path / "data")


def test_equal_rows_count_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "data", "image,label", "1.png,happy", "1.png,Happy", "2.png,sad")
    assert read(tmp_path / "data").ids.tolist() == ["1.png", "2.png"]
    assert "lists 1 images more than once" in caplog.text


def test_two_spellings_of_a_path_are_one_image(tmp_path: Path) -> None:
    write(tmp_path / "data", "image,label,split", "a/1.png,happy,train", "2.png,sad,train")
    rows = (tmp_path / "data/labels.csv").read_text()
    (tmp_path / "data/labels.csv").write_text(rows + "./a//1.png,happy,train\n")
    assert sorted(read(tmp_path / "data").ids.tolist()) == ["2.png", "a/1.png"]
    (tmp_path / "data/labels.csv").write_text(rows + "a/./1.png,sad,test\n")
    with pytest.raises(DatasetError, match=r"labels\.csv:4: a/1\.png is listed before, and otherwise: happy, train"):
        read(tmp_path / "data")


def test_wrong_rows_are_all_named(tmp_path: Path) -> None:
    write(
        tmp_path / "data", "image,label,split", "1.png,happy,train", "1.png,sad,train", "2.png,,train", "3.png,sad,dev",
        "4.png,sad", "../5.png,sad,train", ",sad,train", "C:\\faces\\6.png,sad,train",
    )  # fmt: skip
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "data")
    said = str(error.value)
    assert "7 of 8 labels cannot be read" in said
    for line, why in {
        3: "1.png is listed before, and otherwise: happy, train", 4: "2.png has no label",
        5: "the split 'dev' is none of train,", 6: "2 fields, expected 3", 7: "../5.png must be relative",
        8: "no image", 9: "C:/faces/6.png must be relative",
    }.items():  # fmt: skip
        assert f"labels.csv:{line}: {why}" in said


def test_columns_that_are_missing_or_twofold(tmp_path: Path) -> None:
    write(tmp_path / "data", "image,label,emotion", "1.png,happy,sad")
    with pytest.raises(ConfigError, match=r"labels\.csv:1: is the label in column label or emotion\? Say data\.lab"):
        read(tmp_path / "data")
    assert read(tmp_path / "data", label_column="Emotion").classes == ("sad",)
    with pytest.raises(DatasetError, match="no column mood; found: image,label,emotion"):
        read(tmp_path / "data", label_column="mood")
    write(tmp_path / "data", "picture,label", "1.png,happy")
    with pytest.raises(DatasetError, match=r"no column image or path .*found: picture, label.*data\.image_column="):
        read(tmp_path / "data")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"(?s)data/labels\.csv.*data\.file"):
        read(tmp_path / "data")
    write(tmp_path / "data", "image,label")
    with pytest.raises(DatasetError, match=r"labels\.csv lists no images"):
        read(tmp_path / "data")
    write(tmp_path / "data", "image,label", "1.png,happy", "2.jpg,sad")
    with pytest.raises(DatasetError, match=r"(?s)1 of 2 listed images are not in .*2\.jpg"):
        read(tmp_path / "data")
    (tmp_path / "data/2.jpg").write_text("no picture")
    with pytest.raises(DatasetError, match=r"2\.jpg"):
        read(tmp_path / "data")


def test_training_keeps_persons_apart(train_here: Callable[..., Path], tmp_path: Path) -> None:
    rows = [f"{name}{n}.png,{name},p{n % 5}" for name in _CODES for n in range(20)]
    write(tmp_path / "data", "image,label,person", *rows)
    tiny = [option for option in TINY if not option.startswith("data.num_samples")]
    folder = train_here("data=csv", f"data.root={tmp_path}/data", *tiny)
    subjects: dict[str, set[int]] = {"val": set(), "test": set()}
    with (folder / "predictions.csv").open() as file:
        for row in csv.DictReader(file):
            subjects[row["split"]].add(int(re.sub(r"\D", "", row["id"])) % 5)
    assert subjects["val"]
    assert subjects["test"]
    assert not subjects["val"] & subjects["test"]


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    write(tmp_path / "data", "image,label,Label", "1.png,happy,sad", "2.png,sad,sad")
    with pytest.raises(DatasetError, match="more than one column label"):
        read(tmp_path / "data")
