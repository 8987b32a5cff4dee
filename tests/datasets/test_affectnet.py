"""AffectNet: every form, its codes and splits, what is left out, and every way in which its files can be wrong."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import write_image_folder
from fakes_web import (
    AFFECTNET,
    HEADER,
    write_affectnet_csv,
    write_affectnet_labels_csv,
    write_affectnet_npy,
    write_affectnet_yolo,
)

from fer.data.labels import EMOTIONS
from fer.data.samples import Samples
from fer.datasets.affectnet import AffectNet
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError

TRAINING = "Manually_Annotated_file_lists/training.csv"
VALIDATION = "Manually_Annotated_file_lists/validation.csv"


def module(root: Path, **options: object) -> AffectNet:
    return AffectNet(str(root), cache_dir=str(root.parent / "cache"), **options)


def read(root: Path, **options: object) -> Samples:
    return module(root, **options).read()


def named(samples: Samples) -> dict[str, str]:
    return {i: samples.classes[label] for i, label in zip(samples.ids.tolist(), samples.labels, strict=True)}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


# csv


@pytest.mark.parametrize("header", [True, False])
def test_csv_labels_splits_and_what_is_left_out(root: Path, header: bool, caplog: pytest.LogCaptureFixture) -> None:
    faces = write_affectnet_csv(root, header=header)
    with caplog.at_level(logging.INFO):
        samples = read(root, image_size=40)
    assert samples.images.shape == (32, 40, 40, 3)
    assert samples.classes == EMOTIONS
    assert named(samples) == {path: e for path, (e, _) in faces.items() if path.startswith("Manually")}
    assert ["train" if "/training" in path else "test" for path in samples.ids] == samples.splits.tolist()
    assert "12 of 44 images were left out: 4 No-Face, 4 None, 4 Uncertain" in caplog.text
    assert "its validation set is the split 'test'" in caplog.text


def test_csv_crops_to_the_face(root: Path) -> None:
    faces = write_affectnet_csv(root)
    samples = read(root, image_size=48)
    for path, image in zip(samples.ids, samples.images, strict=True):
        _, expected = faces[path]
        if len(expected) == 48:
            np.testing.assert_array_equal(image, expected)
    assert any(len(faces[path][1]) == 48 for path in samples.ids)
    with pytest.raises(DatasetError, match=r"9 sizes, from 40x40 to 48x48"):
        read(root)


def test_csv_columns_are_found_by_name(root: Path) -> None:
    faces = write_affectnet_csv(root)
    for path in (TRAINING, VALIDATION):
        table = [line.split(",") for line in (root / path).read_text().splitlines()]
        (root / path).write_text("".join(",".join(reversed(row)) + "\n" for row in table))
    assert named(read(root, image_size=40)) == {p: e for p, (e, _) in faces.items() if p.startswith("Manually")}
    edit(root / TRAINING, "face_x", "left")
    with pytest.raises(DatasetError, match=r"training\.csv:1: no column face_x; found: arousal,valence"):
        read(root, image_size=40)


def test_automatic_images_are_for_training(root: Path) -> None:
    faces = write_affectnet_csv(root)
    samples = read(root, image_size=40, automatic=True)
    assert named(samples) == {path: emotion for path, (emotion, _) in faces.items()}
    automatic = np.char.startswith(samples.ids, "Automatically")
    assert automatic.sum() == 16
    assert set(samples.splits[automatic]) == {"train"}
    (root / "Automatically_Annotated_file_lists").rename(root / "Automatically_annotated_file_list")
    assert len(read(root, image_size=40, automatic=True)) == 48
    shutil.rmtree(root / "Automatically_annotated_file_list")
    with pytest.raises(DatasetError, match=r"automatically_annotated\.csv is missing"):
        read(root, image_size=40, automatic=True)


def test_val_is_carved_out_of_train_and_seven_classes(root: Path) -> None:
    write_affectnet_csv(root, per_class=4)
    data = module(root, image_size=40, val_fraction=0.25, classes=AFFECTNET[:7])
    assert data.classes == AFFECTNET[:7]
    assert (data.class_counts("train") + data.class_counts("val")).tolist() == [4] * 7
    assert data.class_counts("train").all()
    assert data.class_counts("val").all()
    assert data.class_counts("test").tolist() == [4] * 7
    assert all("validation" in path for path in data.samples.ids[data.rows("test")])


def test_csv_label_out_of_range(root: Path) -> None:
    write_affectnet_csv(root)
    edit(root / TRAINING, "1.5;2.5;3.5,1,", "1.5;2.5;3.5,11,")
    with pytest.raises(LabelError) as error:
        read(root, image_size=40)
    assert "2 of 22" in str(error.value)
    assert f"{root / TRAINING}:3: label '11' is none of 0 neutral, 1 happy" in str(error.value)
    assert f"{root / TRAINING}:14: label '11'" in str(error.value)


def test_csv_wrong_rows_are_all_named(root: Path) -> None:
    write_affectnet_csv(root)
    lines = (root / TRAINING).read_text().splitlines()
    lines[1] = lines[1].replace(",40,40,", ",40,0,")
    lines[2] = lines[2].replace(",41,41,", ",NaN,41,")
    lines[3] = lines[3].rpartition(",")[0]
    lines[9] = lines[9].replace(",48,48,", ",NULL,NULL,")  # no expression, no box, no problem
    (root / TRAINING).write_text("\n".join(lines) + "\n")
    with pytest.raises(DatasetError) as error:
        read(root, image_size=40)
    assert "3 of 22" in str(error.value)
    assert f"{root / TRAINING}:2: the face's box has the size 40x0" in str(error.value)
    assert f"{root / TRAINING}:3: the face's box '4,10,NaN,41' is not four whole numbers" in str(error.value)
    assert f"{root / TRAINING}:4: 8 fields, expected 9" in str(error.value)


def test_box_outside_its_picture(root: Path) -> None:
    write_affectnet_csv(root)
    edit(root / TRAINING, "training0.png,3,9,", "training0.png,300,9,")
    with pytest.raises(DatasetError, match=r"0/training0\.png: its face's box .* lies outside the image"):
        read(root, image_size=40)


def test_faces_of_a_repeated_picture(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_affectnet_csv(root)
    with (root / TRAINING).open("a") as file:
        file.write("0/training0.png,3,9,40,40,1;2,1,0,0\n")
    samples = read(root, image_size=40)
    path = "Manually_Annotated_Images/0/training0.png"
    assert {i: e for i, e in named(samples).items() if "training0" in i} == {path: "neutral", f"{path}#2": "happy"}
    assert f"1 pictures are listed more than once, {path} for one" in caplog.text


def test_csv_absent_parts(root: Path) -> None:
    write_affectnet_csv(root)
    (root / "Manually_Annotated_Images/0/training0.png").unlink()
    with pytest.raises(DatasetError, match=r"(?s)affectnet: 1 of 32 listed images are not in.*0/training0\.png"):
        read(root, image_size=40)
    shutil.rmtree(root / "Manually_Annotated_Images")
    with pytest.raises(DatasetError, match=r"Manually_Annotated_Images is missing"):
        read(root, image_size=40)
    (root / TRAINING).write_text("")
    (root / "Manually_Annotated_Images").mkdir()
    with pytest.raises(DatasetError, match=r"training\.csv is empty"):
        read(root, image_size=40)
    (root / VALIDATION).unlink()
    (root / TRAINING).write_text(f"{HEADER}\n")
    with pytest.raises(DatasetError, match=r"validation\.csv is missing"):
        read(root, image_size=40)


def test_broken_image(root: Path) -> None:
    write_affectnet_csv(root)
    (root / "Manually_Annotated_Images/0/training0.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"(?s)1 of 32 images.*0/training0\.png: the file is empty"):
        read(root, image_size=40)


# npy


@pytest.mark.parametrize("below", ["", "AffectNet"])
def test_npy(root: Path, below: str, caplog: pytest.LogCaptureFixture) -> None:
    emotions = write_affectnet_npy(root / below)
    with caplog.at_level(logging.INFO):
        samples = read(root)
    assert samples.images.shape == (32, 64, 64, 3)
    assert named(samples) == emotions
    splits = {"train_set": "train", "val_set": "test"}
    assert [splits[path.split("/")[0]] for path in samples.ids] == samples.splits.tolist()
    assert "its validation set is the split 'test'" in caplog.text


def test_npy_wrong_annotations_are_all_named(root: Path) -> None:
    write_affectnet_npy(root)
    folder = root / "train_set/annotations"
    np.save(folder / "0_exp.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(folder / "1_exp.npy", np.array(0.5))
    np.save(folder / "2_exp.npy", np.array(["1", "2"]))
    (folder / "3_exp.npy").write_bytes(b"")
    np.save(folder / "4_exp.npy", np.array("12"))
    with pytest.raises(DatasetError) as error:
        read(root)
    message = str(error.value)
    assert "5 of 16" in message
    assert f"{folder / '0_exp.npy'}: Object arrays cannot be loaded" in message
    assert f"{folder / '1_exp.npy'}: holds float64 of shape (), expected one string or integer" in message
    assert f"{folder / '2_exp.npy'}: holds <U1 of shape (2,)" in message
    assert f"{folder / '3_exp.npy'}: " in message
    assert f"{folder / '4_exp.npy'}: label '12' is none of 0 neutral" in message


def test_npy_label_out_of_range(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_affectnet_npy(root)
    np.save(root / "val_set/annotations/0_exp.npy", np.array(-1))
    with pytest.raises(LabelError, match=r"val_set/annotations/0_exp\.npy: label '-1' is none of"):
        read(root)
    np.save(root / "val_set/annotations/0_exp.npy", np.array([10]))
    with caplog.at_level(logging.INFO):
        assert len(read(root)) == 31
    assert "1 of 32 images were left out: 1 No-Face" in caplog.text


def test_npy_images_and_annotations_must_match(root: Path) -> None:
    write_affectnet_npy(root)
    (root / "train_set/images/3.jpg").unlink()
    (root / "train_set/annotations/4_exp.npy").unlink()
    with pytest.raises(DatasetError) as error:
        read(root)
    assert "2 images or labels have no counterpart" in str(error.value)
    assert f"{root / 'train_set/images/4.jpg'} has no 4_exp.npy" in str(error.value)
    assert f"{root / 'train_set/annotations/3_exp.npy'} has no image" in str(error.value)
    shutil.rmtree(root / "train_set/annotations")
    with pytest.raises(DatasetError, match=r"train_set/annotations is missing"):
        read(root)
    for image in (root / "train_set/images").iterdir():
        image.unlink()
    (root / "train_set/annotations").mkdir()
    with pytest.raises(DatasetError, match=r"train_set/images holds no images"):
        read(root)


# Kaggle


def test_labels_csv_overrules_folders(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    emotions = write_affectnet_labels_csv(root)
    samples = read(root, image_size=112)
    assert samples.images.shape == (16, 96, 96, 3)
    assert named(samples) == emotions
    assert set(samples.splits) == {"train"}
    assert "labels 1 of 16 images otherwise than their folder does, such as anger/image0000000.jpg" in caplog.text
    assert "its uploader's splits or labels" in caplog.text


def test_wrong_labels_csv(root: Path) -> None:
    write_affectnet_labels_csv(root)
    edit(root / "labels.csv", "contempt,0.87", "contemp,0.87")
    with pytest.raises(LabelError, match=r"(?s)2 of 16.*labels\.csv:4: unknown emotion 'contemp'.*Did you mean"):
        read(root)
    write_affectnet_labels_csv(root)
    edit(root / "labels.csv", "anger/image0000001", "anger/image0000000")
    edit(root / "labels.csv", "sad/image0000001.jpg,", "sad/image0000001.jpg")
    with pytest.raises(DatasetError) as error:
        read(root)
    assert "labels.csv:3: anger/image0000000.jpg is listed before" in str(error.value)
    assert "labels.csv:15: 3 fields, expected 4" in str(error.value)
    (root / "labels.csv").write_text(",pth,label,relFCs\n")
    with pytest.raises(DatasetError, match=r"labels\.csv lists no images"):
        read(root)
    (root / "labels.csv").write_text(",path,label,relFCs\n")
    with pytest.raises(DatasetError, match=r"labels\.csv:1: no column pth"):
        read(root)


@pytest.mark.parametrize("folder", ["data", "data/YOLO_format"])
def test_yolo(root: Path, folder: str, caplog: pytest.LogCaptureFixture) -> None:
    emotions = write_affectnet_yolo(root)
    samples = AffectNet(str(root.parent / folder), cache_dir=str(root.parent / "cache")).read()
    assert named(samples) == emotions
    splits = {"train": "train", "valid": "val", "test": "test"}
    assert [splits[path.split("/")[0]] for path in samples.ids] == samples.splits.tolist()
    assert "no published score is comparable" in caplog.text


def test_wrong_yolo_labels(root: Path) -> None:
    write_affectnet_yolo(root)
    folder = root / "YOLO_format/valid/labels"
    (folder / "ffhq_0.txt").write_text("8 0.5 0.5 1 1\n")
    with pytest.raises(LabelError, match=r"ffhq_0\.txt: label '8' is none of 0 angry, 1 contempt"):
        read(root)
    (folder / "ffhq_1.txt").write_text("1 0.5 0.5 1 1\n2 0.5 0.5 1 1\n")
    (folder / "ffhq_2.txt").write_text("")
    with pytest.raises(DatasetError) as error:
        read(root)
    assert f"{folder / 'ffhq_1.txt'}: 2 rows, expected one: class, x, y, width, height" in str(error.value)
    assert f"{folder / 'ffhq_2.txt'}: 0 rows" in str(error.value)
    (folder / "ffhq_3.txt").unlink()
    with pytest.raises(DatasetError, match=r"ffhq_3\.png has no ffhq_3\.txt"):
        read(root)


def test_mixed_case_folders(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["Anger", "disgust", "Fear", "happy", "Sad", "surprise", "neutral", "Contempt"]
    write_image_folder(root, ["Train", "Test"], names, per_class=1, channels=3)
    samples = read(root)
    assert samples.classes == EMOTIONS
    assert {path.split("/")[1]: emotion for path, emotion in named(samples).items()} == dict(
        zip(names, EMOTIONS, strict=True)
    )
    assert set(samples.splits) == {"train", "test"}
    assert "no published score is comparable" in caplog.text


def test_numbered_folders_need_a_map(root: Path) -> None:
    write_image_folder(root / "AffectNet", classes=[str(code) for code in range(8)], per_class=1)
    with pytest.raises(LabelError, match=r"class '7' is a number.*data\.label_map="):
        read(root)
    samples = read(root, label_map=dict(enumerate(AFFECTNET)))
    assert named(samples)["train/0/0.png"] == "neutral"
    assert named(samples)["val/6/0.png"] == "angry"


def test_empty_class_folder(root: Path) -> None:
    write_image_folder(root, ["Train", "Test"], ["happy", "sad"], per_class=1)
    (root / "Train/fear").mkdir()
    with pytest.raises(DatasetError, match=r"Train/fear holds no images"):
        read(root)


# Options and forms


def test_options_of_other_forms_are_refused(root: Path) -> None:
    write_affectnet_npy(root)
    with pytest.raises(ConfigError, match=r"data\.automatic=true: .* is the npy form"):
        read(root, automatic=True)
    with pytest.raises(ConfigError, match=r"data\.label_map: the npy form in"):
        read(root, label_map={"0": "neutral"})


def test_not_found(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetNotFoundError, match=r"(?s)'affectnet'.*train_set.*mohammadmahoor\.com"):
            read(place)
