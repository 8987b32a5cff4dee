"""Folds of subjects, carving by subject, exclusion lists, and selection on the test split."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import composed

from fer.data import splits
from fer.data.base import FERDataModule
from fer.data.samples import Samples
from fer.errors import ConfigError, DatasetError

CLASSES = ("angry", "happy", "sad")
PEOPLE = 12


CARVED = {  # by how many subjects are few, and by seed: the people of val and test, as they were before
    200: {0: ("1 7", "6 11"), 1: ("1 2", "7 8"), 2: ("3 9", "0 11")},
    5: {0: ("7", "6 9 11"), 1: ("1 2 5 11", "7"), 2: ("3 7 9", "0 2 4 6 11")},
}
FOLDS = ("8 9 11", "1 3 4", "0 2 10", "5 6 7")


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


def named(numbers: str) -> set[str]:
    return {f"S{int(number):02d}" for number in numbers.split()}


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


@pytest.mark.parametrize("few", [200, 5])
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
    assert val
    assert test
    assert "of the subjects" in caplog.text


@pytest.mark.parametrize(
    ("val", "test", "got"), [(0.3, 0.3, (4, 4)), (0.4, 0.1, (5, 1)), (0.1, 0.4, (1, 5)), (0.1, 0.65, (1, 8))]
)
def test_carved_shares_of_subjects_are_those_asked_for(
    val: float, test: float, got: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        data = People(val_fraction=val, test_fraction=test)
        assert (len(people(data, "val")), len(people(data, "test"))) == got
    assert f"of {got[0]} of 12 subjects, were set aside for it ({100 * got[0] / 12:.1f} %" in caplog.text


@pytest.mark.parametrize(("val", "test"), [(0.6, 0.4), (0.9, 0.9)])
def test_shares_that_leave_nothing_to_train_on_are_refused(val: float, test: float) -> None:
    with pytest.raises(ConfigError, match=f"data.val_fraction={val} and data.test_fraction={test} leave no image"):
        People(val_fraction=val, test_fraction=test).setup("fit")
    People(known=False, splits="train,test", val_fraction=val, test_fraction=test).setup("fit")  # it has a test split


class Grows(FERDataModule):
    """Numbered images of three classes, every tenth an exact copy of its predecessor, named in another order."""

    name = "grows"

    def __init__(self, numbers: Sequence[int], **loading: Any) -> None:
        super().__init__(**loading)
        self.numbers = np.array(numbers)

    def read(self) -> Samples:
        drawn = np.random.default_rng(0).integers(0, 256, (1000, 4, 4), dtype=np.uint8)
        drawn[9::10] = drawn[8::10]
        ids = np.array([f"i{number * 7919 % 1000:03d}" for number in self.numbers])
        labels = self.numbers // 10 % 3
        return Samples(drawn[self.numbers], labels, np.full(len(ids), "train"), ids, CLASSES)


def sides(data: FERDataModule) -> dict[str, str]:
    return {str(data.samples.ids[row]): str(data.samples.splits[row]) for row in data.rows("all")}


def test_an_image_stays_on_its_side_whatever_else_is_chosen_left_out_or_added(tmp_path: Path) -> None:
    whole = sides(Grows(range(1000)))
    assert len(set(whole.values())) == 3
    listed = tmp_path / "x.csv"
    out = sorted(whole)[::3]
    listed.write_text("id\n" + "\n".join(out))
    for other in (
        Grows(range(1000), classes=["sad", "happy", "angry"]),
        Grows(range(1000), classes=["sad", "angry"]),
        Grows(range(1000), exclude=str(listed)),
        Grows([*range(600, 1000), *range(0, 400)]),  # other images, in another order
    ):
        there = sides(other)
        assert 400 < len(there) <= 1000
        assert there == {name: whole[name] for name in there}
    on_test = sides(Grows(range(1000), select_on_test=True))
    assert {name for name, side in on_test.items() if side == "val"} == {n for n, s in whole.items() if s == "test"}
    assert sides(Grows(range(1000), seed=1)) != whole


@pytest.mark.parametrize("seed", range(8))
def test_carved_shares_are_near_and_no_class_is_left_out(seed: int) -> None:
    data = Grows(range(1000), seed=seed)
    assert [len(data.rows(split)) for split in ("val", "test")] == pytest.approx([100, 100], abs=40)
    few = Grows([*range(0, 400), 405, 415, 425], classes=CLASSES, seed=seed)
    tiny = Grows([0, 1, 2, 10, 11, 12, 20, 21, 22], seed=seed)
    for small in (few, tiny):
        assert all(small.class_counts(split).all() for split in ("train", "val", "test"))


class Shared(People):
    """People, some of whom have another's picture under their own name, or all a black one."""

    def __init__(self, copies: Sequence[tuple[int, int]] = (), black: bool = False, **loading: Any) -> None:
        super().__init__(**loading)
        self.copies, self.black = copies, black

    def read(self) -> Samples:
        samples = super().read()
        for one, other in self.copies:
            samples.images[9 * other] = samples.images[9 * one + 4]
        if self.black:
            samples.images[::9] = 0
        return samples


@pytest.mark.parametrize("few", [200, 5])
@pytest.mark.parametrize("black", [False, True])
def test_subjects_without_a_shared_image_keep_their_place(
    monkeypatch: pytest.MonkeyPatch, few: int, black: bool
) -> None:
    """The splits are those of the releases before, to the subject."""
    monkeypatch.setattr("fer.data.splits._FEW_SUBJECTS", few)
    for seed, before in CARVED[few].items():
        data = Shared(black=black, val_fraction=0.2, test_fraction=0.2, seed=seed)
        assert (people(data, "val"), people(data, "test")) == tuple(map(named, before))
    for fold, tested in enumerate(FOLDS):
        assert people(Shared(black=black, fold=fold, folds=4), "test") == named(tested)


@pytest.mark.parametrize("few", [200, 5])
def test_subjects_that_share_an_image_stay_on_one_side(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr("fer.data.splits._FEW_SUBJECTS", few)
    for seed in range(8):
        options: dict[str, Any] = {"val_fraction": 0.3, "test_fraction": 0.3, "seed": seed}
        data = Shared([(0, 7), (7, 3), (5, 10)], **options)
        apart = dict(zip(*(values.tolist() for values in (data.samples.subjects, data.samples.splits)), strict=True))
        assert apart["S00"] == apart["S07"] == apart["S03"]
        assert apart["S05"] == apart["S10"]
    for fold in range(4):
        tested = people(Shared([(0, 7), (7, 3)], fold=fold, folds=4), "test")
        assert len(tested & {"S00", "S03", "S07"}) in (0, 3)


def test_subjects_that_share_an_image_have_the_place_of_the_first() -> None:
    rows = np.arange(PEOPLE * 9)
    whole, shared = (splits._Pool.of(Shared(copies).read(), rows, 3) for copies in ([], [(0, 7), (7, 3), (5, 10)]))
    first = np.array([{3: 0, 7: 0, 10: 5}.get(person, person) for person in range(PEOPLE)])
    assert np.array_equal(shared.place[shared.unit[::9]], whole.place[whole.unit[::9]][first])


def test_folds_are_the_same_people_with_fewer_classes() -> None:
    for fold in range(4):
        some = People(fold=fold, folds=4, classes=["sad", "angry"])
        assert people(some, "test") == people(People(fold=fold, folds=4), "test")


def test_loso_is_a_word_that_folds_takes() -> None:
    assert composed("data=jaffe", "data.fold=0", "data.folds=loso")["data"]["folds"] == "loso"
    with pytest.raises(ConfigError, match=r"data\.folds=lose: must be a whole number or loso"):
        composed("data=jaffe", "data.folds=lose")
    with pytest.raises(ConfigError, match=r"data\.folds=lose: must be a whole number, or loso"):
        People(fold=0, folds="lose")


def test_one_class_alone_is_refused_in_a_sentence() -> None:
    class Happy(People):
        def read(self) -> Samples:
            samples = super().read()
            return replace(samples, labels=samples.labels * 0, classes=("happy",))

    with pytest.raises(DatasetError, match=r"has one class alone \(happy\)"):
        Happy().setup("fit")


def test_shared_subjects_are_refused() -> None:
    with pytest.raises(DatasetError, match="12 subjects stand in more than one split"):
        People(splits="train,val", test_fraction=0).setup("fit")
    with pytest.raises(DatasetError, match="S00"):
        People(splits="train,test").use_own_splits()


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


class FewEach(People):
    """Of each person one picture, so that a class has five at most."""

    def read(self) -> Samples:
        samples = super().read()
        return replace(samples, splits=np.where(np.isin(np.arange(PEOPLE * 9), EACH), "train", ""))


EACH = [9 * person + min(person // 5, 2) for person in range(PEOPLE)]


def test_more_folds_than_images_of_a_class() -> None:
    with pytest.raises(ConfigError, match=r"data\.folds=10: people has 12 subjects, and 5 images of its largest class; "
                                          r"choose from 2 to 5, or loso\."):  # fmt: skip
        FewEach(fold=0).setup("fit")
    with pytest.warns(UserWarning, match="least populated class"):
        assert people(FewEach(fold=4, folds=5, val_fraction=0.3), "test")


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
    from fer.data.loading import ImageDataset
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
