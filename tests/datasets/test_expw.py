"""ExpW: codes, boxes, confidence, faces of one picture, and every way in which its files can be wrong."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes_web import write_expw

from fer.data.labels import BASIC
from fer.data.samples import Samples
from fer.datasets.expw import ExpW
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError

LIST = "data/label/label.lst"


def module(root: Path, **options: object) -> ExpW:
    return ExpW(str(root), cache_dir=str(root / "cache"), **{"image_size": 36, **options})


def read(root: Path, **options: object) -> Samples:
    return module(root, **options).read()


def edit(root: Path, line: int, change: Callable[[str], str]) -> None:
    lines = (root / LIST).read_text().splitlines()
    lines[line - 1] = change(lines[line - 1])
    (root / LIST).write_text("\n".join(lines) + "\n")


def test_labels_ids_subjects(tmp_path: Path) -> None:
    faces = write_expw(tmp_path)
    samples = read(tmp_path, min_confidence=0)
    assert samples.images.shape == (28, 36, 36, 3)
    assert samples.classes == BASIC
    assert samples.ids.tolist() == list(faces)
    assert [samples.classes[label] for label in samples.labels] == [emotion for emotion, _, _ in faces.values()]
    assert samples.subjects is not None
    assert samples.subjects.tolist() == [identity.split("#")[0] for identity in faces]
    assert set(samples.splits) == {"train"}


def test_crops_to_each_face(tmp_path: Path) -> None:
    faces = write_expw(tmp_path)
    samples = read(tmp_path)
    for identity, image in zip(samples.ids, samples.images, strict=True):
        if identity.endswith("#1"):
            np.testing.assert_array_equal(image, faces[identity][2])
    with pytest.raises(DatasetError, match=r"2 sizes, from 30x30 to 36x36"):
        read(tmp_path, image_size=None)


def test_confidence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    faces = write_expw(tmp_path)
    with caplog.at_level(logging.INFO):
        samples = read(tmp_path)
    assert samples.ids.tolist() == [identity for identity, face in faces.items() if face[1] >= 60]
    assert "2 of 28 faces were left out, their detector being less than 60 % sure of them" in caplog.text
    assert len(read(tmp_path, min_confidence=72.5)) == 2
    with pytest.raises(DatasetError, match=r"none of 28 faces has data\.min_confidence=99"):
        read(tmp_path, min_confidence=99)


@pytest.mark.parametrize("value", [-1, 101, "high"])
def test_wrong_confidence(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"data\.min_confidence={value}: must be a number from 0 to 100"):
        module(tmp_path, min_confidence=value)


def test_faces_of_one_picture_stay_on_one_side(tmp_path: Path) -> None:
    write_expw(tmp_path, pictures=28)
    samples = module(tmp_path, min_confidence=0, val_fraction=0.25, test_fraction=0.25).samples
    assert samples.subjects is not None
    sides = set(zip(samples.subjects.tolist(), samples.splits.tolist(), strict=True))
    assert len(sides) == 28
    assert {split for _, split in sides} == {"train", "val", "test"}


def test_root_may_be_the_inner_folder(tmp_path: Path) -> None:
    write_expw(tmp_path)
    inner = ExpW(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"), image_size=36).read()
    assert inner.ids.tolist() == read(tmp_path).ids.tolist()


def test_not_found(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"(?s)'expw'.*data/label/label\.lst.*image/origin.*mmlab"):
        read(tmp_path)


def test_label_out_of_range(tmp_path: Path) -> None:
    write_expw(tmp_path)
    for line in (3, 5):
        edit(tmp_path, line, lambda row: row[:-1] + "7")
    with pytest.raises(LabelError) as error:
        read(tmp_path)
    assert "2 of 28" in str(error.value)
    assert f"{tmp_path / LIST}:3: label '7' is none of 0 angry, 1 disgust" in str(error.value)
    assert f"{tmp_path / LIST}:5: label '7'" in str(error.value)


def test_wrong_rows_are_all_named(tmp_path: Path) -> None:
    write_expw(tmp_path)
    edit(tmp_path, 1, lambda row: row.replace(" 2 4 34 32 ", " 2 4 34 x "))
    edit(tmp_path, 2, lambda row: row.replace(" 9 45 81 45 ", " 9 81 45 45 "))
    edit(tmp_path, 4, lambda row: row.replace(" 1 ", " 0 ", 1))
    edit(tmp_path, 5, lambda row: row.replace("62.0", "620"))
    edit(tmp_path, 6, lambda row: "name.jpg 0 1 2")
    with pytest.raises(DatasetError) as error:
        read(tmp_path)
    message = str(error.value)
    assert "5 of 28" in message
    assert f"{LIST}:1: 'angry actor_0.png 0 2 4 34 x 60.0 0' has a wrong number; expected name face_id top" in message
    assert f"{LIST}:2: an empty box: top 9, left 81, right 45, bottom 45" in message
    assert f"{LIST}:4: face 0 of angry actor_1.png is listed before" in message
    assert f"{LIST}:5: confidence 620 is not from 0 to 100" in message
    assert f"{LIST}:6: 4 fields, expected 8: name face_id top left" in message


def test_absent_and_broken_pictures(tmp_path: Path) -> None:
    write_expw(tmp_path)
    picture = tmp_path / "data/image/origin/angry actor_3.png"
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"(?s)1 of 26 images.*angry actor_3\.png \(angry actor_3\.png#0\): "):
        read(tmp_path)
    picture.unlink()
    with pytest.raises(DatasetError, match=r"(?s)expw: 1 of 14 listed images are not in.*angry actor_3\.png"):
        read(tmp_path)
    shutil.rmtree(tmp_path / "data/image")
    with pytest.raises(DatasetError, match=r"image/origin is missing: unpack the pictures there"):
        read(tmp_path)


@pytest.mark.parametrize("stream", [False, True])
def test_each_face_of_a_broken_picture_is_left_out_by_itself(tmp_path: Path, stream: bool) -> None:
    faces = write_expw(tmp_path)
    name = "angry actor_2.png"
    (tmp_path / "data/image/origin" / name).write_bytes(b"no picture")
    options = {"exclude": str(tmp_path / "out.csv"), "stream": stream}
    (tmp_path / "out.csv").write_text(f"id\n{name}#0\n")
    with pytest.raises(DatasetError) as error:
        read(tmp_path, **options)
    assert "1 of 26 images" in str(error.value)
    assert f"{name} ({name}#1): not an image" in str(error.value)
    (tmp_path / "out.csv").write_text(f"id\n{name}#0\n{name}#1\n")
    samples = module(tmp_path, **options).samples
    kept = [identity for identity, face in faces.items() if face[1] >= 60 and not identity.startswith(name)]
    assert samples.ids[samples.splits != ""].tolist() == kept


def test_box_outside_its_picture(tmp_path: Path) -> None:
    write_expw(tmp_path)
    edit(tmp_path, 1, lambda row: row.replace(" 2 4 34 32 ", " 2 400 434 32 "))
    with pytest.raises(
        DatasetError, match=r"angry actor_0\.png \(.*\): its face's box \(400, 2, 434, 32\) lies outside"
    ):
        read(tmp_path)
