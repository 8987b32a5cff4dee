"""Batches are a pure function of seed and epoch, shared by processes without loss or repetition."""

import numpy as np
import pytest

from fer.data.sampling import EvalBatches, TrainBatches


def rows(batches: TrainBatches | EvalBatches) -> list[list[int]]:
    return [batch.indices.tolist() for batch in batches]


def test_each_sample_at_most_once_and_only_whole_batches() -> None:
    drawn = rows(TrainBatches(103, 10, seed=0))
    assert [len(batch) for batch in drawn] == [10] * 10
    assert len({row for batch in drawn for row in batch}) == 100


def test_same_seed_same_batches_other_epoch_other_batches() -> None:
    first, again, other = (TrainBatches(64, 8, seed=3) for _ in range(3))
    other.set_epoch(1)
    assert rows(first) == rows(again) != rows(other)
    assert rows(first) != rows(TrainBatches(64, 8, seed=4))


def test_two_processes_see_the_batches_of_one() -> None:
    whole = rows(TrainBatches(100, 10, seed=1))
    halves = [rows(TrainBatches(100, 10, seed=1, rank=rank, world_size=2)) for rank in range(2)]
    for number, batch in enumerate(whole):
        assert sorted(halves[0][number] + halves[1][number]) == sorted(batch)
        assert len(halves[0][number]) == len(halves[1][number])


def test_resumed_in_mid_epoch_goes_on_with_the_next_batch() -> None:
    whole = TrainBatches(64, 8, seed=0, epoch=2)
    resumed = TrainBatches(64, 8, seed=0, epoch=2, start=3)
    assert rows(resumed) == rows(whole)[3:]
    assert [b.seed for b in resumed] == [b.seed for b in whole][3:]
    assert len(resumed) == len(whole)  # Lightning counts the epoch's batches, not what is left of them
    for batches in (whole, resumed):
        batches.set_epoch(3)
    assert rows(resumed) == rows(whole)


def test_fewer_samples_than_a_batch_make_one_batch() -> None:
    assert [len(batch) for batch in rows(TrainBatches(5, 8, seed=0))] == [5]
    assert [len(batch) for batch in rows(TrainBatches(5, 8, seed=0, rank=1, world_size=2))] == [2]


def test_weighted_draws_classes_equally_often() -> None:
    labels = np.array([0] * 900 + [1] * 100)
    weights = 1 / np.bincount(labels)[labels]
    drawn = np.concatenate([labels[batch] for batch in rows(TrainBatches(1000, 100, seed=0, weights=weights))])
    assert drawn.mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("size", [7, 64, 65, 101])
def test_evaluation_sees_each_sample_once_in_equally_many_batches(size: int, world_size: int) -> None:
    parts = [rows(EvalBatches(size, 16, rank, world_size)) for rank in range(world_size)]
    assert sorted(row for part in parts for batch in part for row in batch) == list(range(size))
    assert len({len(part) for part in parts}) == 1
    assert all(batch for part in parts for batch in part)
    assert max(len(batch) for part in parts for batch in part) <= 16


def test_a_mixed_evaluation_order_is_always_the_same_and_stands_for_the_split() -> None:
    first, second = (rows(EvalBatches(100, 10, mixed=True)) for _ in range(2))
    assert first == second
    assert sorted(row for batch in first for row in batch) == list(range(100))
    assert len({row // 20 for row in first[0]}) > 2, "of five classes in order, the first batch has several"


def test_the_same_batches_in_every_epoch() -> None:
    batches = TrainBatches(100, 10, seed=3, same=True)
    before = rows(batches)
    batches.set_epoch(5)
    assert rows(batches) == before
