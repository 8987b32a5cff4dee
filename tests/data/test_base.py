"""Splits, class selection and loaders that every dataset shares."""

import logging
from typing import Any

import numpy as np
import pytest
import torch

from fer.data.base import FERDataModule
from fer.data.loading import ImageDataset
from fer.data.samples import Samples
from fer.data.sampling import Batch
from fer.errors import ConfigError, DatasetError

CLASSES = ("angry", "disgust", "happy")


class Drawn(FERDataModule):
    """Ninety images of three classes, ten of them exact copies of another of their class."""

    name = "drawn"

    def __init__(self, splits: tuple[str, ...] = ("train",), **loading: Any) -> None:
        super().__init__(**loading)
        self.splits = splits

    def read(self) -> Samples:
        images = np.random.default_rng(0).integers(0, 256, (90, 8, 8), dtype=np.uint8)
        images[45:55] = images[:10]
        labels = np.arange(90) % 3
        splits = np.array(self.splits)[np.arange(90) // 3 % len(self.splits)]
        return Samples(images, labels, splits, np.array([f"i{n:02d}" for n in range(90)]), CLASSES)


def test_missing_splits_are_carved_seeded_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        data = Drawn(val_fraction=0.2, test_fraction=0.1, seed=1)
        rows = {split: data.rows(split) for split in ("train", "val", "test")}
    assert sorted(np.concatenate(list(rows.values()))) == list(range(90))
    assert len(rows["val"]) == pytest.approx(18, abs=6)
    assert data.class_counts("val").all()
    assert "drawn has no val split" in caplog.text
    assert "drawn has no test split" in caplog.text
    again = Drawn(val_fraction=0.2, test_fraction=0.1, seed=1)
    assert np.array_equal(again.samples.splits, data.samples.splits)
    other = Drawn(val_fraction=0.2, test_fraction=0.1, seed=2)
    assert not np.array_equal(other.samples.splits, data.samples.splits)


def test_runs_of_other_seeds_can_share_carved_splits() -> None:
    one, two = (Drawn(seed=seed, split_seed=1) for seed in (1, 2))
    assert np.array_equal(one.samples.splits, two.samples.splits)
    assert np.array_equal(one.samples.splits, Drawn(seed=1).samples.splits)  # without it the seed decides
    first, second = (next(iter(data.train_batches())).indices for data in (one, two))
    assert not np.array_equal(first, second)  # the order stays the seed's


def test_exact_copies_stay_on_one_side() -> None:
    for seed in range(5):
        splits = Drawn(seed=seed, val_fraction=0.3, test_fraction=0.3).samples.splits
        assert np.array_equal(splits[:10], splits[45:55])


def test_official_splits_are_left_alone_and_no_test_is_said(caplog: pytest.LogCaptureFixture) -> None:
    data = Drawn(splits=("train", "val"), test_fraction=0)
    assert len(data.rows("val")) == 45
    assert len(data.rows("test")) == 0
    assert "drawn has no test split, and data.test_fraction=0 carves none" in caplog.text
    assert len(Drawn(splits=("train", "val", "test")).rows("train")) == 30


def test_subset_of_classes_in_the_order_asked_for() -> None:
    data = Drawn(classes=["happiness", "Angry"])
    assert data.classes == ("happy", "angry")
    samples = data.samples
    for split in ("train", "val", "test"):
        for row in data.rows(split):
            assert samples.classes[samples.labels[row]] == CLASSES[row % 3]
    assert sum(len(data.rows(split)) for split in ("train", "val", "test")) == 60


@pytest.mark.parametrize(
    ("classes", "message"),
    [(["happy", "sad"], "drawn has no 'sad'. It has: angry"), (["happy", "happy"], "two or more different classes")],
)
def test_wrong_classes(classes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _ = Drawn(classes=classes).samples


def test_empty_split_and_empty_class() -> None:
    with pytest.raises(DatasetError, match="the val split is empty"):
        _ = Drawn(val_fraction=0).samples

    class NoHappyInVal(Drawn):
        def read(self) -> Samples:
            s = super().read()
            splits = np.where((s.splits == "val") & (s.labels == 2), "train", s.splits)
            return Samples(s.images, s.labels, splits, s.ids, s.classes)

    with pytest.raises(DatasetError, match="the val split has no image of happy"):
        _ = NoHappyInVal(splits=("train", "val")).samples


def test_loaders_give_every_image_with_its_own_label_and_row() -> None:
    data = Drawn(splits=("train", "val", "test"), batch_size=7)
    for split in ("val", "test"):
        batches = list(data.eval_dataloader(split))
        rows = torch.cat([b["row"] for b in batches]).numpy()
        assert np.array_equal(rows, data.rows(split))
        assert np.array_equal(torch.cat([b["image"] for b in batches]).numpy(), data.samples.images[rows])
        assert np.array_equal(torch.cat([b["label"] for b in batches]).numpy(), data.samples.labels[rows])
    mixed = torch.cat([b["row"] for b in data.val_dataloader()]).numpy()
    assert sorted(mixed) == data.rows("val").tolist()
    assert mixed[:7].max() > data.rows("val")[6], "the first batches stand for the whole"
    for batch in data.train_dataloader():
        assert np.array_equal(batch["image"].numpy(), data.samples.images[batch["row"].numpy()])


def test_features_come_with_their_rows_and_cost_nothing_where_there_are_none() -> None:
    data = Drawn(splits=("train", "val", ""))  # a third of the images are in no split
    features = data.rows("all").astype(np.float32)[:, None]
    rows = data.rows("val")
    batch = Batch(np.array([2, 0]), (0, 0, 0, 0))
    assert ImageDataset(data.samples, rows, features=features).__getitems__(batch)["features"].tolist() == [
        [rows[2]],
        [rows[0]],
    ]
    assert "places" not in vars(ImageDataset(data.samples, rows))


def test_weighted_sampler_balances_classes() -> None:
    class Rare(Drawn):
        def read(self) -> Samples:
            s = super().read()
            labels = np.where((s.labels == 2) & (np.arange(90) % 4 != 0), 0, s.labels)
            return Samples(s.images, labels, s.splits, s.ids, s.classes)

    data = Rare(splits=("train", "val", "test"), sampler="weighted", batch_size=10)
    drawn = np.zeros(3)
    batches = data.train_batches()
    for epoch in range(40):
        batches.set_epoch(epoch)
        for batch in batches:
            drawn += np.bincount(data.samples.labels[data.rows("train")[batch.indices]], minlength=3)
    assert (drawn / drawn.sum()) == pytest.approx([1 / 3] * 3, abs=0.05)


def test_one_class_alone_is_nothing_to_train_on() -> None:
    class OneClass(Drawn):
        def read(self) -> Samples:
            s = super().read()
            return Samples(s.images, np.zeros_like(s.labels), s.splits, s.ids, ("happy",))

    with pytest.raises(DatasetError, match=r"one class alone \(happy\)"):
        OneClass().setup("fit")
    OneClass().use_own_splits()  # to score a model on happy faces is fine
