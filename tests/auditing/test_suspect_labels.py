"""Labels that look wrong, and the probabilities by which they are found."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes_audit import pictures, samples

from fer.auditing import out_of_fold, suspect_labels
from fer.data import near_copies, quality
from fer.data.samples import Samples
from fer.errors import ConfigError, DatasetError, FERError


def test_confident_learning_as_published() -> None:
    # Two classes. Thresholds: class 0 mean of (0.9, 0.7, 0.2) = 0.6, class 1 mean of (0.8, 0.6, 0.1) = 0.5.
    p = np.array([0.9, 0.7, 0.2, 0.2, 0.4, 0.9, 0.55], dtype=np.float32)
    p = np.stack([p, 1 - p], axis=1)
    p[6] = np.nan
    found = suspect_labels.find(p, np.array([0, 0, 0, 1, 1, 1, 0]))
    np.testing.assert_allclose(found.thresholds, [0.6, 0.5], rtol=1e-5)
    assert found.joint.tolist() == [[2, 1], [1, 2]]
    assert found.rows.tolist() == [5, 2]  # margins -0.8 and -0.6
    assert found.likely.tolist() == [0, 1]
    np.testing.assert_allclose(found.margin, [-0.8, -0.6], rtol=1e-5)
    assert found.judged.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.accuracy == pytest.approx(4 / 6)


def test_a_label_is_not_suspect_where_no_class_reaches_its_threshold() -> None:
    p = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.3, 0.4, 0.3], [0.05, 0.05, 0.9]], dtype=np.float32)
    found = suspect_labels.find(p, np.array([0, 1, 0, 2]))
    assert len(found.rows) == 0
    assert found.joint.sum() == 3


def test_copies_share_a_fold_and_classes_are_spread() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [100, 20, 30])
    groups = np.arange(150)
    groups[50:60] = 50
    fold = out_of_fold.deal(groups, labels, 5, rng)
    assert len(set(fold[50:60].tolist())) == 1
    for label in range(1, 3):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_out_of_fold_probabilities_have_not_seen_the_sample(cache_dir: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    images = pictures(labels, 3, strength=0)  # of which nothing can be learned
    guessed = samples(labels.tolist(), images=images)
    p = out_of_fold.out_of_fold(guessed, np.arange(150), 5, 0, cache_dir)
    assert p.shape == (150, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-4)
    assert (p.argmax(axis=1) == labels).mean() < 0.5
    # A copy in another fold would give the label away; groups forbid it.
    twice = samples([*labels, *labels], images=np.concatenate([images, images]))
    groups = np.tile(np.arange(150), 2)
    for kept_together, low, high in ((groups, 0, 0.5), (rng.permutation(300), 0.6, 1)):
        p = out_of_fold.out_of_fold(twice, kept_together, 5, 0, cache_dir)
        assert low < (p.argmax(axis=1) == twice.labels).mean() < high


def test_too_few_samples_for_folds(cache_dir: Path) -> None:
    for few in (samples([1] * 50), samples([0, 1] * 4)):
        with pytest.raises(ConfigError, match="suspect_labels=false"):
            out_of_fold.out_of_fold(few, np.arange(len(few)), 5, 0, cache_dir)


def test_out_of_fold_takes_any_size_and_colours(cache_dir: Path) -> None:
    labels = np.arange(90) % 3
    colour = np.stack([cv2.resize(image, (60, 60)) for image in pictures(labels, 4, strength=2)])
    part = samples(labels.tolist(), images=np.repeat(colour[..., None], 3, axis=3))
    assert (out_of_fold.out_of_fold(part, np.arange(90), 3, 0, cache_dir).argmax(axis=1) == labels).mean() > 0.7


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("id,p_angry\n", ConfigError, "has no column p_happy, p_sad"),
        ("id,p_angry,p_happy,p_sad\ni0,0.2,x,0.1\n", DatasetError, ":2: p_angry, p_happy, p_sad are not all numbers"),
        ("id,p_angry,p_happy,p_sad\ni0,0.2,7,0.1\n", DatasetError, "from 0 to 1"),
        ("id,p_angry,p_happy,p_sad\nother,0.2,0.7,0.1\n", ConfigError, "none of its ids"),
    ],
)
def test_probabilities_that_cannot_be_used(tmp_path: Path, text: str, error: type[FERError], said: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(error, match=said):
        suspect_labels.read_probabilities(tmp_path / "p.csv", samples([0, 1]))
    with pytest.raises(ConfigError, match="no such file"):
        suspect_labels.read_probabilities(tmp_path / "absent.csv", samples([0, 1]))


def test_a_model_does_not_judge_what_it_was_fitted_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = ["i0,0.2,0.7,0.1,1", "i1,0.3,0.3,0.4,0"]
    (tmp_path / "p.csv").write_text("\n".join(["id,p_angry,p_happy,p_sad,in_training", *rows]) + "\n")
    found = suspect_labels.read_probabilities(tmp_path / "p.csv", samples([0, 1]))
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == pytest.approx([0.3, 0.3, 0.4])
    assert "1 images were in its model's training" in caplog.text
    with pytest.raises(ConfigError, match="fitted to all images"):
        suspect_labels.read_probabilities(tmp_path / "p.csv", samples([0]))


def peak_mb(run: Callable[[], object]) -> float:
    """Return the most memory that a call holds at once."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_what_is_looked_at(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4000, 8, 8), dtype=np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    assert peak_mb(lambda: near_copies.near_pairs(images)) < 18  # of which 4 are their cosines
    assert peak_mb(lambda: quality.contrast(np.zeros((20_000, 48, 48), np.uint8))) < 100  # 46 MB of them the images
    monkeypatch.setattr(out_of_fold, "_LANDMARKS", 200)  # the kernel of 4,000 images is 3.2 MB
    monkeypatch.setattr(out_of_fold, "_FIRST", 512)
    few = samples((np.arange(4000) % 2).tolist(), images=images)
    assert peak_mb(lambda: out_of_fold.out_of_fold(few, np.arange(4000), 5, 0, cache_dir)) < 7


def test_a_class_that_all_stands_in_one_fold(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (41, 48, 48), dtype=np.uint8)
    ids, splits = np.array([f"train/{n}.png" for n in range(41)]), np.full(41, "train")
    one_alone = Samples(images, np.array([0] * 40 + [1]), splits, ids, ("happy", "sad"))
    with pytest.raises(ConfigError, match="without one of the folds a single class is left"):
        out_of_fold.out_of_fold(one_alone, np.arange(41), 4, 0, tmp_path)
