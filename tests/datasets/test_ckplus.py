"""CK+: which frames of a sequence have which label, folds of subjects, and the forms that know no subjects."""

from pathlib import Path

import numpy as np
import pytest
from fakes import write_image
from fakes_lab import write_ck48, write_ckplus
from folds import check_folds
from PIL import Image

from fer.data.labels import EMOTIONS
from fer.data.samples import Samples
from fer.datasets.ckplus import CKPlus
from fer.errors import ConfigError, DatasetError, DatasetNotFoundError, LabelError

SEVEN = ("angry", "disgust", "fear", "happy", "sad", "surprise", "contempt")
SUBJECTS = {"S005", "S012", "S019", "S026", "S033"}


def make(root: Path, image_size: int | None = 48, **options: object) -> CKPlus:
    return CKPlus(str(root), cache_dir=str(root.parent / "cache"), image_size=image_size, **options)  # type: ignore[arg-type]


def read(root: Path, **options: object) -> Samples:
    return make(root, **options).read()  # type: ignore[arg-type]


def named(samples: Samples) -> dict[str, str]:
    return {path: samples.classes[label] for path, label in zip(samples.ids.tolist(), samples.labels, strict=True)}


def frames(labelled: dict[str, str], numbers: tuple[int, ...]) -> dict[str, str]:
    """Return the emotion of the labelled sequences' frames, by path."""
    return {
        f"cohn-kanade-images/{folder}/{folder.replace('/', '_')}_{number:08}.png": emotion
        for folder, emotion in labelled.items()
        for number in numbers
    }


# The original form


def test_last_frames(tmp_path: Path) -> None:
    root = tmp_path / "data"
    labelled = write_ckplus(root)
    samples = read(root)
    assert samples.classes == SEVEN
    assert named(samples) == frames(labelled, (4, 5, 6))  # the unlabelled sequences are left out
    assert set(samples.splits.tolist()) == {"train"}
    assert samples.images.shape == (105, 48, 48, 3)  # some are in colour
    assert samples.subjects is not None
    for path, subject in zip(samples.ids.tolist(), samples.subjects.tolist(), strict=True):
        assert path.split("/")[1] == subject
    assert set(samples.subjects.tolist()) == SUBJECTS
    assert named(read(root, last_frames=1)) == frames(labelled, (6,))


def test_first_frame_is_neutral(tmp_path: Path) -> None:
    root = tmp_path / "data"
    labelled = write_ckplus(root, subjects=2)
    samples = read(root, neutral=True, last_frames=2)
    assert samples.classes == EMOTIONS
    neutral = dict.fromkeys(frames(labelled, (1,)), "neutral")
    assert named(samples) == {**frames(labelled, (5, 6)), **neutral}


def test_the_middle_of_the_picture(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ckplus(root, subjects=1)
    samples = read(root, image_size=49, channels=1)
    assert samples.images.shape == (21, 49, 49)
    for path, image in zip(samples.ids, samples.images, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(root / path))[:, 7:56])


def test_frames_after_the_labelled_one(tmp_path: Path) -> None:
    root = tmp_path / "data"
    labelled = write_ckplus(root, subjects=1)
    for path in frames(labelled, (6,)):
        Image.open(root / path).save(root / path.replace("06.png", "07.png"))
    assert named(read(root)) == frames(labelled, (4, 5, 6))


def test_folders_of_the_archives_in_any_case(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ckplus(root, subjects=1)
    for archive, folder in (("Extended-Cohn-Kanade-Images", "cohn-kanade-images"), ("Emotion_labels", "Emotion")):
        (root / archive).mkdir()
        (root / folder).rename(root / archive / folder)
    assert read(root).ids[0] == "Extended-Cohn-Kanade-Images/cohn-kanade-images/S005/001/S005_001_00000004.png"


@pytest.mark.parametrize("folds", [3, 5, "loso"])
def test_folds_keep_people_apart(tmp_path: Path, folds: int | str) -> None:
    root = tmp_path / "data"
    write_ckplus(root, frames=4)
    check_folds(lambda **fold: make(root, **fold), SUBJECTS, folds)


def test_splits_that_are_carved_keep_people_apart(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ckplus(root, frames=4)
    data = make(root, val_fraction=0.2, test_fraction=0.2)
    subjects = data.samples.subjects
    assert subjects is not None
    people = [set(subjects[data.rows(split)].tolist()) for split in ("train", "val", "test")]
    assert list(map(len, people)) == [3, 1, 1]
    assert set.union(*people) == SUBJECTS


def test_wrong_labels_are_all_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ckplus(root, subjects=1)
    labels = sorted(root.glob("Emotion/*/*/*.txt"))
    for label, text in zip(labels, ["8.0000000e+00", "1.5000000e+00", "happy", ""], strict=False):
        label.write_text(text)
    labels[5].with_name("S005_006_00000005_emotion.txt").write_text("1.0")
    with pytest.raises(LabelError) as error:
        read(root)
    message = str(error.value)
    assert "5 labels" in message
    assert f"{labels[0]}: '8.0000000e+00' is not a code from 0 to 7" in message
    assert f"{labels[1]}: '1.5000000e+00' is not" in message
    assert f"{labels[2]}: 'happy' is not" in message
    assert f"{labels[3]}: '' is not" in message
    assert "has another label too, S005_006_00000005_emotion.txt" in message
    assert "2 contempt, 3 disgust" in message


def test_absent_frames(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ckplus(root, subjects=1)
    images = root / "cohn-kanade-images/S005"
    (images / "001/S005_001_00000006.png").unlink()
    for number in range(1, 5):
        (images / f"002/S005_002_{number:08}.png").unlink()
    for file in (images / "003").iterdir():
        file.unlink()
    (images / "003").rmdir()
    with pytest.raises(DatasetError) as error:
        read(root)
    assert "3 labelled sequences" in str(error.value)
    assert f"{images / '001'}: the labelled frame S005_001_00000006 is not there" in str(error.value)
    assert f"{images / '002'}: 2 frames, but 3 are asked for" in str(error.value)
    assert f"{images / '003'}: the labelled frame" in str(error.value)


def test_as_many_frames_as_are_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "data"
    labelled = write_ckplus(root, subjects=1, frames=3)
    assert len(read(root)) == 21
    with pytest.raises(DatasetError, match="3 frames, but 4 are asked for"):
        read(root, neutral=True)
    assert len(read(root, neutral=True, last_frames=2)) == 3 * len(labelled)


def test_pictures_of_two_sizes_need_a_size(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ckplus(root, subjects=1)
    path = root / "cohn-kanade-images/S005/001/S005_001_00000006.png"
    write_image(path, np.asarray(Image.open(path))[:48])  # 640x480 among 640x490
    with pytest.raises(DatasetError, match=r"2 sizes, from 48x48 to 49x49.*data\.image_size"):
        read(root, image_size=None)
    assert read(root).images.shape[1:] == (48, 48)


def test_broken_image(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ckplus(root, subjects=1)
    (root / "cohn-kanade-images/S005/001/S005_001_00000005.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"S005_001_00000005\.png: the file is empty"):
        read(root)


@pytest.mark.parametrize("missing", ["cohn-kanade-images", "Emotion"])
def test_half_of_the_original(tmp_path: Path, missing: str) -> None:
    root = tmp_path / "data"
    write_ckplus(root, subjects=1)
    (root / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetNotFoundError) as error:
        read(root)
    assert "there is only" in str(error.value)
    assert str(root / missing) in str(error.value)


def test_no_labels_at_all(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ckplus(root, subjects=1)
    for label in root.glob("Emotion/*/*/*.txt"):
        label.unlink()
    with pytest.raises(DatasetError, match=r"Emotion holds no labels.*_emotion\.txt"):
        read(root)


# CK+48


@pytest.mark.parametrize("base", ["CK+48", "ck+48", ""])
def test_cut_faces(tmp_path: Path, base: str) -> None:
    root = tmp_path / "data"
    written = write_ck48(root, base=base)
    samples = read(root, image_size=None)
    assert samples.classes == SEVEN
    assert named(samples) == written
    assert samples.images.shape == (105, 48, 48)
    assert set(samples.splits.tolist()) == {"train"}
    assert samples.subjects is not None
    for path, subject in zip(samples.ids.tolist(), samples.subjects.tolist(), strict=True):
        assert path.rpartition("/")[2].startswith(f"{subject}_")
    assert set(samples.subjects.tolist()) == SUBJECTS
    peaks = {path: emotion for path, emotion in written.items() if path.endswith("12.png")}
    assert named(read(root, last_frames=1)) == peaks


@pytest.mark.parametrize("folds", [4, "loso"])
def test_folds_of_cut_faces(tmp_path: Path, folds: int | str) -> None:
    write_ck48(tmp_path / "data")
    check_folds(lambda **fold: make(tmp_path / "data", **fold), SUBJECTS, folds)


def test_cut_faces_have_no_other_frames(tmp_path: Path) -> None:
    write_ck48(tmp_path / "data", subjects=1)
    for options in ({"neutral": True}, {"last_frames": 4}):
        with pytest.raises(ConfigError, match=r"is CK\+48, which has the last 3 frames .* no neutral one"):
            read(tmp_path / "data", **options)


def test_cut_faces_without_subjects(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ck48(root, subjects=1)
    (root / "CK+48/anger/S005_001_00000010.png").rename(root / "CK+48/anger/17.png")
    with pytest.raises(DatasetError, match=r"(?s)1 file names in .*do not say the subject.*anger/17\.png"):
        read(root)


def test_empty_class_folder(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_ck48(root, subjects=1)
    (root / "CK+48/neutral").mkdir()
    with pytest.raises(DatasetError, match="neutral holds no images"):
        read(root)


# What is refused


@pytest.mark.parametrize("name", ["ckextended.csv", "CK_data.h5"])
def test_forms_without_subjects(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text("emotion,pixels,Usage\n7,0 0,Training\n")
    with pytest.raises(DatasetError, match=rf"{name} does not say who .*no split of it keeps people apart"):
        read(tmp_path / "data")


def test_not_found(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetNotFoundError) as error:
            read(root)
        assert "dataset 'ckplus' was not found" in str(error.value)
        assert str(root / "CK+48") in str(error.value)
        assert "data.root=" in str(error.value)


def test_wrong_last_frames() -> None:
    with pytest.raises(ConfigError, match=r"data\.last_frames=0: must be 1 or more"):
        CKPlus("x", last_frames=0)
