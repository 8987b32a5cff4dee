"""Folds of subjects, carving by subject, exclusion lists, and selection on the test split."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer.data.base import FERDataModule
from fer.data.samples import Samples
from fer.errors import ConfigError, DatasetError

CLASSES = ("angry", "happy", "sad")
PEOPLE = 12


class People(FERDataModule):
    """Twelve people with three pictures of each of three emotions."""

    name = "people"

    def __init__(self, known: bool = True, splits: str = "", **loading: Any) -> None:
        super().__init__(**loading)
        self.known, self.splits = known, splits

    def read(self) -> Samples:
        count = PEOPLE * 9
        images = np.random.default_rng(0).integers(0, 256, (count, 8, 8), dtype=np.uint8)
        subjects = np.array([f"S{n:02d}" for n in range(PEOPLE)])[np.arange(count) // 9]
        splits = np.array(self.splits.split(","))[np.arange(count) % 2] if self.splits else np.full(count, "train")
        ids = np.array([f"{subject}/{n}" for n, subject in enumerate(subjects)])
        return Samples(images, np.arange(count) % 3, splits, ids, CLASSES, subjects=subjects if self.known else None)


def people(data: FERDataModule, split: str) -> set[str]:
    assert data.samples.subjects is not None
    return set(data.samples.subjects[data.rows(split)].tolist())


@pytest.mark.parametrize("folds", [4, "loso"])
def test_folds_share_no_subject_and_test_everyone_once(folds: int | str) -> None:
    count = PEOPLE if folds == "loso" else int(folds)
    tested: list[str] = []
    for fold in range(count):
        data = People(fold=fold, folds=folds, val_fraction=0.2, seed=fold)
        train, val, test = (people(data, split) for split in ("train", "val", "test"))
        assert train
        assert val
        assert not (train & val)
        assert not (train & test)
        assert not (val & test)
        assert len(train) + len(val) + len(test) == PEOPLE
        tested += sorted(test)
    assert sorted(tested) == [f"S{n:02d}" for n in range(PEOPLE)]


def test_a_fold_is_the_same_people_whatever_the_seed() -> None:
    assert people(People(fold=1, folds=4, seed=0), "test") == people(People(fold=1, folds=4, seed=9), "test")


@pytest.mark.parametrize("few", [2000, 5])
def test_carving_keeps_subjects_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("fer.data.splits._FEW_SUBJECTS", few)
    with caplog.at_level(logging.INFO):
        data = People(val_fraction=0.2, test_fraction=0.2)
        train, val, test = (people(data, split) for split in ("train", "val", "test"))
    assert not (train & val)
    assert not (train & test)
    assert not (val & test)
    assert len(val) in (2, 3)
    assert len(test) in (2, 3)
    assert "of the subjects" in caplog.text


def test_shared_subjects_are_refused() -> None:
    with pytest.raises(DatasetError, match="12 subjects stand in more than one split"):
        People(splits="train,val", test_fraction=0).setup("fit")
    with pytest.raises(DatasetError, match="S00"):
        People(splits="train,test").setup("test")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fold": 0, "known": False}, "does not say who is in its pictures"),
        ({"fold": 4, "folds": 4}, "must be from 0 to 3"),
        ({"fold": 0, "folds": 13}, "has 12 subjects"),
        ({"fold": 12, "folds": "loso"}, "must be from 0 to 11"),
    ],
)
def test_impossible_folds(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        People(**options).setup("fit")


def test_exclusion(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listed = tmp_path / "exclude.csv"
    listed.write_text("id,reason\nS00/0,dark\nS00/1,copy\nnobody,flat\n")
    with caplog.at_level(logging.INFO):
        data = People(exclude=str(listed))
        everywhere = np.concatenate([data.rows(split) for split in ("train", "val", "test")])
    assert set(data.samples.ids[everywhere].tolist()) == set(data.samples.ids.tolist()) - {"S00/0", "S00/1"}
    assert "2 images are left out" in caplog.text
    assert "1 of its 3 ids are no samples" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"), [(None, "no such file"), ("name\na\n", "no column 'id'"), ("id\nx/y\n", "none of its 1 ids")]
)
def test_wrong_exclusion_lists(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "exclude.csv").write_text(text)
    with pytest.raises(ConfigError, match=said):
        People(exclude=str(tmp_path / "exclude.csv")).setup("fit")


def test_selection_on_test(caplog: pytest.LogCaptureFixture) -> None:
    data = People(known=False, splits="train,test", select_on_test=True)
    data.setup("fit")
    assert "no val split" not in caplog.text  # none is wanted
    assert np.array_equal(data.rows("val"), np.arange(1, PEOPLE * 9, 2))
    assert len(data.rows("train")) == PEOPLE * 9 // 2  # nothing is carved for a validation split
    assert len(data.rows("test")) == 0
    with pytest.raises(ConfigError, match="no test split to choose on"):
        People(known=False, select_on_test=True, test_fraction=0).setup("fit")


def test_votes_are_handed_on_and_drawn() -> None:
    from fer.data.base import ImageDataset
    from fer.data.sampling import Batch

    images = np.zeros((2, 8, 8), dtype=np.uint8)
    votes = np.array([[0.25, 0.75, 0], [0, 0, 1]], dtype=np.float32)
    samples = Samples(images, np.array([1, 2]), np.array(["train"] * 2), np.array(["a", "b"]), CLASSES, targets=votes)
    rows = np.arange(2)
    plain = ImageDataset(samples, rows).__getitems__(Batch(rows, (0, 0, 0, 0)))
    assert np.array_equal(plain["target"], votes)
    drawing = ImageDataset(samples, rows, draw_targets=True)
    drawn = np.array([drawing.__getitems__(Batch(rows, (0, epoch, 0, 0)))["target"].numpy() for epoch in range(400)])
    assert (drawn.sum(2) == 1).all()
    assert drawn.mean(0) == pytest.approx(votes, abs=0.07)
    again = drawing.__getitems__(Batch(rows, (0, 3, 0, 0)))["target"].numpy()
    assert np.array_equal(drawn[3], again)
