"""A folder of faces holds those of its photographs and no others, whatever became of the photographs meanwhile."""

import csv
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes_photos import photograph
from PIL import Image

from fer.cropping.cutting import crop_names
from fer.cropping.photos import Photo
from fer.datasets.folder import Folder
from fer.files import run_lock

Here = Callable[..., Path]


def put(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph([(60, 40, 150)], seed=seed)[0]).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, place in enumerate(("happy/anna_1", "sad/anna_2", "sad/bo_1", "angry/bo_2")):
        put(tmp_path / "photos" / f"{place}.png", number)
    return tmp_path / "photos"


def cut(run_here: Here, *options: str) -> Path:
    run_here("fer.faces", "source=photos", "to=faces", "image_size=48", *options, name=None)
    return Path("faces").resolve()


def crops(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def listed(folder: Path) -> list[str]:
    with (folder / "manifest.csv").open(newline="") as file:
        return sorted(row["file"] for row in csv.DictReader(file) if row["file"])


def refused(run_here: Here, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cut(run_here, *options)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_faces_of_moved_deleted_and_faceless_photographs_are_removed(
    photos: Path, run_here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cut(run_here, "subjects=prefix")
    (folder / "sad" / "mine.png").write_bytes((folder / "sad" / "bo_1.png").read_bytes())
    (photos / "happy" / "anna_1.png").rename(photos / "sad" / "anna_1.png")
    put(photos / "happy" / "cy_1.png", 7)
    (photos / "angry" / "bo_2.png").unlink()
    put(photos / "angry" / "deep" / "cy_2.png", 8)
    Image.fromarray(np.full((90, 90, 3), 99, np.uint8)).save(photos / "sad" / "bo_1.png")
    cut(run_here, "subjects=prefix")
    assert listed(folder) == ["angry/deep/cy_2.png", "happy/cy_1.png", "sad/anna_1.png", "sad/anna_2.png"]
    assert crops(folder) == sorted([*listed(folder), "sad/mine.png"]), "what no manifest listed stays"
    assert "removed whose photographs are gone, or show none any more: 3" in capsys.readouterr().out
    (folder / "sad" / "mine.png").unlink()
    (photos / "angry" / "deep" / "cy_2.png").unlink()
    (photos / "angry" / "deep").rmdir()
    (photos / "angry").rmdir()
    put(photos / "happy" / "anna_3.png", 9)
    put(photos / "sad" / "cy_3.png", 10)
    cut(run_here, "subjects=prefix")
    assert not (folder / "angry").exists(), "a training refuses classes without images"
    subjects = Folder(str(folder), cache_dir=str(folder.parent / "cache")).samples.subjects
    assert subjects is not None
    assert set(subjects) == {"anna", "cy"}


def test_nothing_outside_of_the_folder_is_removed(photos: Path, run_here: Here) -> None:
    folder = cut(run_here)
    outside = photos.parent / "mine.png"
    outside.write_bytes(b"mine")
    text = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(text.replace("happy/anna_1.png,", "../mine.png,", 1))
    cut(run_here)
    assert outside.read_bytes() == b"mine"


def test_another_source_is_refused(photos: Path, run_here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cut(run_here)
    before = crops(folder)
    put(photos.parent / "others" / "happy" / "x.png")
    said = refused(run_here, capsys, "source=others")
    assert f"to=faces: holds the faces of source={photos.resolve()}" in said
    assert "Choose another folder: to=..." in said
    settings = json.loads((folder / "faces.json").read_text())
    del settings["source"]  # as an earlier version left it
    (folder / "faces.json").write_text(json.dumps(settings))
    assert "to=faces: holds the faces of other photographs" in refused(run_here, capsys, "source=others")
    assert crops(folder) == before
    cut(run_here)
    assert json.loads((folder / "faces.json").read_text())["source"] == str(photos.resolve())


def test_a_folder_in_which_another_command_is_at_work_is_refused(
    photos: Path, run_here: Here, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos.parent / "faces").mkdir()
    monkeypatch.setattr(run_lock.hold, "__defaults__", (0.2, "output_dir"))
    handle = os.open(photos.parent / "faces", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    said = refused(run_here, capsys)
    assert f"to={photos.parent.resolve() / 'faces'}: another command is at work in it. Choose another." in said
    os.close(handle)
    assert len(crops(cut(run_here))) == 4


def test_repeated_stems_stay_in_their_folder_and_overwrite_nothing(tmp_path: Path, run_here: Here) -> None:
    for place in ("mr.happy/x.jpg", "mr.happy/x.png", "h/a.jpg", "h/a.png", "h/a-jpg.bmp"):
        put(tmp_path / "photos" / place)
    folder = cut(run_here)
    expected = ["h/a-jpg-2.png", "h/a-jpg.png", "h/a-png.png", "mr.happy/x-jpg.png", "mr.happy/x-png.png"]
    assert crops(folder) == listed(folder) == expected


def test_a_new_photograph_takes_no_crop_of_one_that_was_cut_before(tmp_path: Path, run_here: Here) -> None:
    for name in ("a.jpg", "a.png"):
        put(tmp_path / "photos" / "h" / name)
    folder = cut(run_here)
    (tmp_path / "photos" / "h" / "a.png").unlink()
    put(tmp_path / "photos" / "h" / "a-jpg.bmp", 1)
    cut(run_here)
    assert crops(folder) == listed(folder) == ["h/a-jpg-2.png", "h/a-jpg.png"]


def test_names_do_not_follow_from_what_was_done_before() -> None:
    photos = [Photo(f"h/{name}", "h") for name in ("a-jpg.bmp", "a.jpg", "a.png", "b.png")]
    whole = crop_names(photos, photos, [])
    done = [photo.path for photo in photos[:2]]
    rest = crop_names(photos, photos[2:], [whole[path] for path in done])
    assert {path: whole[path] for path in rest} == rest
