"""SFEW 2.0: classes, official splits, films, and every way in which its files can be wrong."""

import logging
import shutil
from pathlib import Path

import pytest
from fakes import write_image_folder
from fakes_shards import pack, shards
from fakes_web import SFEW as CLASSES
from fakes_web import write_sfew

from fer.data.labels import BASIC
from fer.data.samples import Samples
from fer.datasets.combined import Combined
from fer.datasets.sfew import SFEW
from fer.errors import DatasetError, DatasetNotFoundError, LabelError

TRAIN, VAL = "Train/Train_Aligned_Faces", "Val/Val_Aligned_Faces_new/Val_Aligned_Faces"


def module(root: Path, **options: object) -> SFEW:
    return SFEW(str(root), cache_dir=str(root / "cache"), **{"image_size": 40, **options})


def read(root: Path, **options: object) -> Samples:
    return module(root, **options).read()


def test_labels_splits_films(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    films = write_sfew(tmp_path)
    with caplog.at_level(logging.INFO):
        samples = read(tmp_path)
    assert samples.images.shape == (56, 40, 40, 3)
    assert samples.classes == BASIC
    assert samples.subjects is not None
    assert set(samples.ids) == set(films)
    for path, label, split, subject in zip(samples.ids, samples.labels, samples.splits, samples.subjects, strict=True):
        assert Path(path).parent.name.lower() == samples.classes[label]
        assert split == {"Train": "train", "Val": "test"}[path.split("/")[0]]
        assert subject == f"{path.split('/')[0]}/{films[path]}"
    assert "Val is the split 'test'" in caplog.text
    assert "Test_Aligned_Faces has no labels and is left out" in caplog.text


def test_val_is_carved_by_film_out_of_train(tmp_path: Path) -> None:
    films = write_sfew(tmp_path)  # film 0 is in Train and in Val, which is no reason to refuse the official splits
    samples = module(tmp_path, val_fraction=0.34).samples
    assert samples.subjects is not None
    sides = {(films[path], split) for path, split in zip(samples.ids, samples.splits, strict=True) if "Train" in path}
    assert len(sides) == 6
    assert sorted(split for _, split in sides) == ["train"] * 4 + ["val"] * 2
    assert all(path.startswith("Val/") for path in samples.ids[samples.splits == "test"])


def test_a_fold_shares_no_film(tmp_path: Path) -> None:
    films = write_sfew(tmp_path)  # film 0 is in Train and in Val
    for frame in (
        f"{TRAIN}/Angry/Film_1_Part_000000001_00000001.png",
        f"{VAL}/Sad/Film_90_Part_000000090_00000001.png",
    ):
        path = tmp_path / frame
        path.rename(path.with_name("unnamed.png"))
        films[frame.rpartition("/")[0] + "/unnamed.png"] = "unnamed"
    for fold in range(4):
        samples = module(tmp_path, fold=fold, folds=4).samples
        tested = {films[path] for path in samples.ids[samples.splits == "test"]}
        assert tested
        assert not tested & {films[path] for path in samples.ids[samples.splits != "test"]}


def test_a_fold_of_several_datasets_shares_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    films = write_sfew(tmp_path / "sfew")
    write_image_folder(tmp_path / "tree", size=40, channels=3)
    options = {"sfew": {"root": "sfew", "image_size": 40}, "folder": {"root": "tree"}}
    for fold in range(3):
        samples = Combined(["sfew", "folder"], options, cache_dir="cache", fold=fold, folds=3).samples
        sides: dict[str, set[bool]] = {}
        for name, split in zip(samples.ids, samples.splits, strict=True):
            if name.startswith("sfew/"):
                sides.setdefault(films[name.removeprefix("sfew/")], set()).add(split == "test")
        assert all(len(side) == 1 for side in sides.values())


def test_a_fold_of_packed_films_shares_none(tmp_path: Path) -> None:
    films = write_sfew(tmp_path / "sfew")  # film 0 is in Train and in Val
    root = pack(module(tmp_path / "sfew"), tmp_path / "packed")
    for fold in range(3):
        samples = shards(root, fold=fold, folds=3).samples
        tested = {films[path] for path in samples.ids[samples.splits == "test"]}
        assert tested
        assert not tested & {films[path] for path in samples.ids[samples.splits != "test"]}


def test_other_place_and_case(tmp_path: Path) -> None:
    write_sfew(tmp_path)
    (tmp_path / VAL).rename(tmp_path / "Val/Val_Aligned_Faces")
    (tmp_path / "Val/Val_Aligned_Faces_new").rmdir()
    (tmp_path / "Train").rename(tmp_path / "train")
    samples = read(tmp_path)
    assert {path.rpartition("/")[0].rpartition("/")[0] for path in samples.ids} == {
        "train/Train_Aligned_Faces", "Val/Val_Aligned_Faces",
    }  # fmt: skip
    assert (samples.splits == "train").sum() == 42


def test_frames_of_unknown_films_stay_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_sfew(tmp_path)
    for name in CLASSES:
        (tmp_path / TRAIN / name / "Film_1_Part_000000001_00000001.png").rename(tmp_path / TRAIN / name / f"{name}.png")
    samples = read(tmp_path)
    assert samples.subjects is not None
    assert (samples.subjects == "Train/").sum() == 7
    assert "the names of 7 frames (such as Angry/Angry.png) do not say of which film" in caplog.text


def test_faces_are_not_square(tmp_path: Path) -> None:
    write_sfew(tmp_path)
    with pytest.raises(
        DatasetError, match=r"images of 40x50 pixels, but a network takes squares.*\n?.*data\.image_size"
    ):
        read(tmp_path, image_size=None)


def test_not_found(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"(?s)'sfew'.*Train_Aligned_Faces.*Val_Aligned_Faces_new.*anu\.edu"):
        read(tmp_path)


def test_absent_and_empty_parts(tmp_path: Path) -> None:
    write_sfew(tmp_path)
    shutil.rmtree(tmp_path / TRAIN / "Fear")
    (tmp_path / TRAIN / "Fear").mkdir()
    with pytest.raises(DatasetError, match=r"Train_Aligned_Faces/Fear holds no images"):
        read(tmp_path)
    shutil.rmtree(tmp_path / TRAIN)
    (tmp_path / TRAIN).mkdir()
    with pytest.raises(DatasetError, match=r"Train_Aligned_Faces holds no class folders"):
        read(tmp_path)
    (tmp_path / TRAIN).rmdir()
    with pytest.raises(DatasetError, match=r"Train/Train_Aligned_Faces is missing"):
        read(tmp_path)


def test_unknown_class(tmp_path: Path) -> None:
    write_sfew(tmp_path)
    (tmp_path / TRAIN / "Surprise").rename(tmp_path / TRAIN / "Surprize")
    with pytest.raises(LabelError, match=r"Train_Aligned_Faces: unknown emotion 'Surprize'\. Did you mean 'surprise'"):
        read(tmp_path)


def test_broken_image(tmp_path: Path) -> None:
    write_sfew(tmp_path)
    path = tmp_path / TRAIN / "Sad/Film_1_Part_000000001_00000001.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"(?s)1 of 56 images.*Sad/Film_1_Part_000000001_00000001\.png: "):
        read(tmp_path)
