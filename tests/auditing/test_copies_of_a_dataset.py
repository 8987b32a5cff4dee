"""What copies mean for a dataset: groups, conflicts, splits, and what is left out because of them."""

import subprocess
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED
from fakes_audit import pictures, samples

from fer.auditing import appearance, copies, exclusions
from fer.config.option_rules import rule
from fer.data import near_copies


def test_summary_of_groups() -> None:
    groups = np.array([0, 1, 0, 0, 4, 4, 6])
    part = samples([0, 1, 0, 2, 1, 1, 2], ["train", "train", "train", "val", "val", "test", "test"])
    found = copies.summary(groups, copies.conflicting(groups, part.labels), part)
    assert (found["groups"], found["redundant"], found["largest"]) == (2, 3, 3)
    assert (found["conflicting_groups"], found["conflicting_images"]) == (1, 3)
    across = {(row["images_of"], row["copied_in"]): row["images"] for row in found["across_splits"]}
    assert across["train", "val"] == 2
    assert across["val", "train"] == across["val", "test"] == across["test", "val"] == 1
    assert across["train", "test"] == across["test", "train"] == 0


def test_redundant_images_are_counted_in_each_split() -> None:
    groups = np.array([0, 0, 0, 0, 4])
    splits = np.array(["val", "train", "train", "val", "test"])
    assert copies.redundant(groups, splits).tolist() == [False, False, True, True, False]


def test_redundant_images_are_exact_copies_unless_asked_otherwise() -> None:
    nothing = np.zeros(3, np.bool_)
    looks = appearance.Looks(np.zeros(3), np.zeros(3), nothing, nothing, nothing, nothing, {}, [])
    pairs = copies.find(pictures(np.zeros(2, int), 0), False, 1).pairs
    found = copies.Copies(pairs, exact=np.array([0, 0, 2]), groups=np.array([0, 0, 0]))
    reasons = exclusions.reasons(samples([0, 0, 0]), looks, found, None, None)
    assert rule("exclude").items == tuple(reasons)
    assert reasons["redundant"].tolist() == [False, True, False]
    assert reasons["near_redundant"].tolist() == [False, True, True]


def test_the_later_split_is_kept() -> None:
    part = samples([0] * 5, ["train", "val", "val", "test", "train"])
    groups = np.array([0, 0, 2, 2, 4])
    nothing = np.zeros(5, np.bool_)
    looks = appearance.Looks(np.zeros(5), np.zeros(5), nothing, nothing, nothing, nothing, {}, [])
    found = exclusions.reasons(
        part, looks, copies.Copies(copies.find(part.images[:0], False, 1).pairs, groups, groups), None, None
    )
    assert found["copies_across_splits"].tolist() == [True, False, True, False, False]
    chosen = exclusions.choose(found, part.splits, ["copies_across_splits"], ["train"])
    assert np.flatnonzero(chosen.rows).tolist() == [0]


def test_exact_copies_across_datasets() -> None:
    images, others = pictures(np.zeros(4, int), 1), pictures(np.zeros(5, int), 2)
    others[3] = images[1]
    found = copies.find_across(images, others, False, 0.9)
    assert (found.first.tolist(), found.second.tolist(), found.exact.tolist()) == ([1], [3], [True])
    assert len(copies.find_across(images, others[:, :32, :32], False, 0.9).first) == 0


def test_exact_copies_across_datasets_are_found_without_the_images_in_memory() -> None:
    images = np.zeros((3000, 64, 64), np.uint8)
    tracemalloc.start()
    try:
        assert len(copies.find_across(images, images, False, 0.9).first) == 3000
        assert tracemalloc.get_traced_memory()[1] < 0.1 * images.nbytes
    finally:
        tracemalloc.stop()


def test_subjects_decide_which_near_copies_contradict() -> None:

    first, second = np.array([0, 0, 2, 4]), np.array([1, 2, 3, 5])
    exact = np.array([True, False, False, False])
    pairs = near_copies.Pairs(first, second, np.full(4, 0.9, np.float32), ~np.ones(4, bool), exact)
    found = copies.Copies(pairs, exact=np.array([0, 0, 2, 3, 4, 5]), groups=np.array([0, 0, 0, 0, 4, 4]))
    part = samples([0, 0, 1, 2, 0, 1])
    assert copies.near_conflicting(found, part).tolist() == [True] * 6  # 1 as the exact copy of 0
    known = replace(part, subjects=np.array(["a", "a", "a", "a", "b", "c"]))
    assert copies.near_conflicting(found, known).tolist() == [False] * 4 + [True] * 2
    assert copies.of_one_subject(pairs, known) == 2
    nothing = np.zeros(6, np.bool_)
    looks = appearance.Looks(np.zeros(6), np.zeros(6), nothing, nothing, nothing, nothing, {}, [])
    assert not exclusions.reasons(part, looks, found, None, None)["conflicting_labels"].any()
    other = exclusions.reasons(replace(part, labels=np.array([0, 1, 1, 2, 0, 1])), looks, found, None, None)
    assert other["conflicting_labels"].tolist() == [True, True] + [False] * 4


def test_outliers_of_each_class() -> None:
    values = np.concatenate([np.linspace(0.2, 0.3, 20), np.linspace(0.7, 0.8, 20), [0.75, 0.25, 0.9]])
    labels = np.array([0] * 20 + [1] * 20 + [0, 1, 1])
    assert np.flatnonzero(appearance.box_outliers(values, labels)).tolist() == [40, 41, 42]


def test_excluded_samples_are_not_audited(tmp_path: Path) -> None:
    whole = samples([0, 1, 2], ["train", "", "val"], pictures(np.arange(3), 0))
    whole = replace(whole, subjects=np.array(["a", "b", "c"]))
    part = appearance.in_a_split(whole, tmp_path)
    assert part.ids.tolist() == ["i0", "i2"]
    assert part.labels.tolist() == [0, 2]
    assert part.subjects is not None
    assert part.subjects.tolist() == ["a", "c"]
    assert (part.images == whole.images[[0, 2]]).all()
    assert isinstance(part.images, np.memmap), "memory may not hold the images"


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the real images are not here")
def test_known_answers_on_fer2013(tmp_path: Path) -> None:
    from fer.datasets.fer2013 import FER2013

    subprocess.run(["tar", "-xf", SHARED / "data" / "fer2013.tar.xz", "-C", tmp_path], check=True)
    data = FER2013(root=str(tmp_path / "fer2013"), cache_dir=str(tmp_path / "cache"))
    data.use_own_splits()
    part = appearance.in_a_split(data.samples, data.cache_dir)
    exact = copies.find(part.images, False, 0.9).exact
    found = copies.summary(exact, copies.conflicting(exact, part.labels), part)
    assert (found["groups"], found["redundant"], found["conflicting_groups"]) == (1273, 1532, 47)
    across = {(row["images_of"], row["copied_in"]): row["images"] for row in found["across_splits"]}
    assert across["val", "train"] == 280
