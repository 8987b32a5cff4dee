"""KDEF: what a file's name says, the middle of a portrait, angles, and folds of the seventy people."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fakes import face, write_image
from fakes_lab import KDEF_SUBJECTS, write_kdef
from folds import check_folds
from PIL import Image

from fer.data.labels import BASIC
from fer.data.samples import Samples
from fer.datasets.kdef import KDEF
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError


def make(root: Path, image_size: int | None = 56, **options: object) -> KDEF:
    return KDEF(str(root), cache_dir=str(root.parent / "cache"), image_size=image_size, **options)  # type: ignore[arg-type]


def read(root: Path, **options: object) -> Samples:
    return make(root, **options).read()  # type: ignore[arg-type]


def named(samples: Samples) -> dict[str, str]:
    return {path: BASIC[label] for path, label in zip(samples.ids.tolist(), samples.labels, strict=True)}


@pytest.mark.parametrize("base", ["KDEF_and_AKDEF/KDEF", "kdef_and_akdef/KDEF", "KDEF", "."])
def test_straight_portraits(tmp_path: Path, base: str) -> None:
    root = tmp_path / "data"
    written = {path.removeprefix("./"): emotion for path, emotion in write_kdef(root, base).items()}
    samples = read(root)
    assert samples.classes == BASIC
    assert named(samples) == {path: emotion for path, emotion in written.items() if path.endswith("S.JPG")}
    assert len(samples) == 70
    assert set(samples.splits.tolist()) == {"train"}
    assert samples.images.shape == (70, 56, 56, 3)


def test_subjects_and_attributes(tmp_path: Path) -> None:
    write_kdef(tmp_path / "data", angles=["S", "FL"])
    samples = read(tmp_path / "data", angles=["S", "FL"])
    assert samples.subjects is not None
    assert sorted(samples.attributes) == ["angle", "gender", "session"]
    columns = (samples.subjects, *(samples.attributes[name] for name in ("session", "gender", "angle")))
    for path, *found in zip(samples.ids.tolist(), *(column.tolist() for column in columns), strict=True):
        name = path.rpartition("/")[2]
        gender = {"F": "female", "M": "male"}[name[1]]
        assert found == [name[1:4], name[0], gender, name[6:].removesuffix(".JPG")]
    # The same woman in both sessions.
    assert Counter(samples.subjects.tolist()) == dict.fromkeys(KDEF_SUBJECTS, 2 * 7 * 2)


@pytest.mark.parametrize("angles", [["FL"], ["HL", "HR"], ["FL", "HL", "S", "HR", "FR"]])
def test_angles(tmp_path: Path, angles: list[str]) -> None:
    written = write_kdef(tmp_path / "data")
    samples = read(tmp_path / "data", angles=angles)
    expected = {path for path in written if any(path[:-4].endswith(angle) for angle in angles if angle != "S")}
    expected |= {path for path in written if "S" in angles and path[:-4].endswith("S")}
    assert set(samples.ids.tolist()) == expected
    assert set(samples.attributes["angle"].tolist()) == set(angles)


def test_the_middle_of_the_portrait(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_kdef(root, angles=["S"])
    samples = read(root)
    for path, image in zip(samples.ids, samples.images, strict=True):
        with Image.open(root / path) as portrait:
            assert portrait.size == (56, 76)
            np.testing.assert_array_equal(image, np.asarray(portrait)[10:66])


def test_flat_folder_of_squares(tmp_path: Path) -> None:
    root = tmp_path / "data"
    written = write_kdef(root, angles=["S"], square=True)
    samples = read(root, image_size=None)
    assert named(samples) == written
    assert samples.images.shape == (70, 24, 24, 3)
    with Image.open(root / "AF01ANS.JPG") as square:
        np.testing.assert_array_equal(samples.images[samples.ids.tolist().index("AF01ANS.JPG")], np.asarray(square))


@pytest.mark.parametrize("folds", [2, 5, "loso"])
def test_folds_keep_people_apart(tmp_path: Path, folds: int | str) -> None:
    write_kdef(tmp_path / "data", angles=["S"])
    check_folds(lambda **fold: make(tmp_path / "data", **fold), set(KDEF_SUBJECTS), folds)


def test_incomplete_names_and_averages_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    write_kdef(root, angles=["S"])
    image = face(0, np.random.default_rng(0), 76)
    for name in ("KDEF/AF01/AF01V.JPG", "KDEF/AM35/AM35H.JPG", "AKDEF/FAFS.JPG"):
        write_image(root / "KDEF_and_AKDEF" / name, image)
    assert len(read(root)) == 70
    assert "2 images are not named like AF01ANFL.JPG and were left out" in caplog.text
    assert "AF01/AF01V.JPG" in caplog.text
    assert "AM35/AM35H.JPG" in caplog.text


def test_copies_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_kdef(root, base="KDEF", angles=["S"])
    write_image(root / "KDEF/copies/af01ans.png", face(0, np.random.default_rng(0), 76))
    with pytest.raises(DatasetError, match=r"twice:\n.*copies/af01ans\.png: the same picture as AF01/AF01ANS\.JPG"):
        read(root)


def test_angles_that_are_not_there(tmp_path: Path) -> None:
    write_kdef(tmp_path / "data", angles=["HL", "S"])
    with pytest.raises(DatasetError, match=r"no picture from FR\. data\.angles can be: HL, S\."):
        read(tmp_path / "data", angles=["FR"])


@pytest.mark.parametrize("angles", [[], ["L"], ["S", "left"]])
def test_wrong_angles(angles: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"data\.angles=.*must be one or more of FL, HL, S, HR, FR"):
        KDEF("x", angles=angles)


def test_broken_image(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_kdef(root, base="KDEF", angles=["S"])
    (root / "KDEF/AF01/AF01ANS.JPG").write_bytes(b"<html>")
    with pytest.raises(DatasetError, match=r"KDEF/AF01/AF01ANS\.JPG: not an image"):
        read(root)


def test_not_found(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetNotFoundError) as error:
            read(root)
        assert "dataset 'kdef' was not found" in str(error.value)
        assert str(root / "KDEF_and_AKDEF/KDEF/AF01/AF01ANFL.JPG") in str(error.value)
        assert "https://kdef.se" in str(error.value)
