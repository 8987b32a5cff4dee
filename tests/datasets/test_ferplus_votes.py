"""The votes of FER+: how they become labels, and files of votes that cannot be used."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED
from fakes_ferplus import (
    IN_FILE,
    REAL,
    REAL_COUNTS,
    needs_shared,
    ordered,
    read,
    said,
    write,
)
from fakes_lab import votes

from fer.data.labels import EMOTIONS
from fer.datasets.ferplus_votes import distributions, read_votes
from fer.errors import DatasetError


@needs_shared
def test_published_counts_by_majority() -> None:
    real = read_votes(REAL)
    targets, kept = distributions(real.counts, "majority")
    assert len(real.counts) == 35887
    assert (~real.named).sum() == 173
    assert not kept[~real.named].any()
    for split, counts in REAL_COUNTS.items():
        labels = targets[kept & (real.splits == split)].argmax(1)
        assert [int((labels == EMOTIONS.index(name)).sum()) for name in IN_FILE] == counts
    assert [sum(counts) for counts in REAL_COUNTS.values()] == [25060, 3199, 3153]


@needs_shared
@pytest.mark.parametrize("mode", ["probability", "crossentropy"])
def test_published_counts_by_distribution(mode: str) -> None:
    real = read_votes(REAL)
    targets, kept = distributions(real.counts, mode)
    assert [int((kept & (real.splits == split)).sum()) for split in REAL_COUNTS] == [27956, 3505, 3505]
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(1), kept, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "counts", "expected"),
    [
        ("majority", votes(happy=6, sad=4), {"happy": 1.0}),
        ("majority", votes(happy=5, sad=5), None),  # not more than half
        ("majority", votes(happy=5, sad=3, fear=1, neutral=1), {"happy": 1.0}),  # of 8: single votes count as none
        ("majority", votes(unknown=6, happy=4), None),
        ("majority", votes(NF=6, happy=4), None),
        ("majority", votes(**dict.fromkeys(IN_FILE, 1), unknown=1, NF=1), None),
        ("crossentropy", votes(happy=8, sad=2), {"happy": 1.0}),  # three quarters are reached
        ("crossentropy", votes(happy=7, sad=3), {"happy": 0.7, "sad": 0.3}),
        ("crossentropy", votes(happy=6, sad=2, fear=2), {"happy": 0.6, "sad": 0.2, "fear": 0.2}),
        ("crossentropy", votes(happy=4, sad=2, fear=2, angry=2), None),  # three together after one: four
        ("crossentropy", votes(happy=4, sad=3, angry=2, neutral=1), {"happy": 0.571, "sad": 0.429}),  # 7 of 9
        ("crossentropy", votes(happy=4, sad=2, angry=2, unknown=2), {"happy": 0.5, "sad": 0.25, "angry": 0.25}),
        ("crossentropy", votes(happy=6, unknown=4), {"happy": 1.0}),
        ("crossentropy", votes(happy=5, unknown=5), None),  # half is not enough
        ("crossentropy", votes(happy=3, sad=3, unknown=4), None),
        ("crossentropy", votes(happy=4, unknown=3, sad=3), {"happy": 0.571, "sad": 0.429}),  # as frequent as unknown
        ("crossentropy", votes(happy=4, unknown=4, sad=2), None),  # unknown ends it before sad
        ("crossentropy", votes(happy=5, NF=3, sad=2), None),
        ("crossentropy", votes(unknown=4, NF=4, happy=2), None),
        # Three are enough. (Eighteen votes: with ten, three different numbers always have three quarters.)
        ("crossentropy", votes(happy=5, sad=4, fear=3, angry=2, neutral=2, surprise=2),
         {"happy": 0.417, "sad": 0.333, "fear": 0.25}),
        ("multi_target", votes(happy=4, sad=3, fear=3), {"happy": 0.4, "sad": 0.3, "fear": 0.3}),
        ("multi_target", votes(happy=6, sad=2, fear=2), {"happy": 1.0}),
        ("multi_target", votes(happy=4, sad=2, fear=2, angry=2), None),  # 40 % in all
        ("multi_target", votes(happy=4, unknown=3, sad=3), {"happy": 0.571, "sad": 0.429}),
        ("multi_target", votes(unknown=4, happy=3, sad=3), None),
    ],
)  # fmt: skip
def test_rules(mode: str, counts: list[int], expected: dict[str, float] | None) -> None:
    targets, kept = distributions(ordered([counts]), mode)
    assert said(targets[0]) == (expected or {})
    assert kept[0] == (expected is not None)


def test_probability_has_the_distribution_of_crossentropy() -> None:
    drawn = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), 500)
    for one, other in zip(distributions(drawn, "probability"), distributions(drawn, "crossentropy"), strict=True):
        np.testing.assert_array_equal(one, other)


def one_by_one(row: list[int]) -> dict[int, int]:
    """Take the most frequent classes of one image, as the rule is told; nothing if that gives no label."""
    left = {column: count for column, count in enumerate(row) if count > 1}
    total, taken = sum(left.values()), dict[int, int]()
    while left and len(taken) < 3 and sum(taken.values()) < 0.75 * total:
        most = max(left.values())
        together = [column for column, count in left.items() if count == most]
        for column in together:
            if column < 8:
                taken[column] = left[column]
            del left[column]
        if max(together) >= 8:
            break
    return taken if len(taken) <= 3 and sum(taken.values()) > 0.5 * total else {}


def test_most_frequent_classes_one_by_one() -> None:
    rng = np.random.default_rng(0)
    drawn = np.concatenate([rng.multinomial(10, rng.dirichlet(np.full(10, 0.4)), 1) for _ in range(3000)])
    targets, kept = distributions(drawn, "crossentropy")
    assert 500 < kept.sum() < 2900
    for row, target, keep in zip(drawn.tolist(), targets, kept, strict=True):
        expected = one_by_one(row)
        assert keep == bool(expected)
        found = {column: value for column, value in enumerate(target.tolist()) if value}
        assert found == pytest.approx({c: count / sum(expected.values()) for c, count in expected.items()})


def test_wrong_rows_are_all_named(tmp_path: Path) -> None:
    write(tmp_path / "data")
    path = tmp_path / "data/fer2013new.csv"
    lines = path.read_text().splitlines()
    lines[3] = "Training,fer0000002.png,1,2,3"
    lines[5] = lines[5].replace("Training", "Train")
    lines[6] = "Training,fer0000005.png,4,0,0,-1,3,2,0,0,0,0"
    lines[7] = "Training,fer0000006.png,8,0,0,0,3,0,0,0,0,0"
    path.write_text("\n".join(lines))
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "data")
    assert "4 of 63" in str(error.value)
    assert f"{path}:4: 5 columns, expected 12" in str(error.value)
    assert f"{path}:6: Usage 'Train' is none of Training, PublicTest, PrivateTest" in str(error.value)
    assert f"{path}:7: '-1' is not a number of votes" in str(error.value)
    assert f"{path}:8: 11 votes, but there are 10 raters" in str(error.value)


def test_not_a_file_of_votes(tmp_path: Path) -> None:
    write(tmp_path / "data")
    path = tmp_path / "data/fer2013new.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace("disgust,", ""), *lines[1:]]))
    with pytest.raises(DatasetError, match="no column disgust"):
        read(tmp_path / "data")
    path.write_text(lines[0])
    with pytest.raises(DatasetError, match="no rows of votes"):
        read(tmp_path / "data")
    path.write_text("")
    with pytest.raises(DatasetError, match="no column usage"):
        read(tmp_path / "data")


def test_broken_gzip(tmp_path: Path) -> None:
    write(tmp_path / "data", name="fer2013new.csv.gz")
    path = tmp_path / "data/fer2013new.csv.gz"
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], b"Usage,Image name"):
        path.write_bytes(broken)
        with pytest.raises(DatasetError, match=r"fer2013new\.csv\.gz cannot be read: .*Get it again"):
            read(tmp_path / "data")


@needs_shared
def test_complete_file_that_is_not_the_published_one(tmp_path: Path) -> None:
    lines = gzip.decompress(REAL.read_bytes()).decode().splitlines()
    changed = lines.index("Training,fer0000001.png,6,0,1,1,0,0,0,0,2,0")
    lines[changed] = "Training,fer0000001.png,0,6,1,1,0,0,0,0,2,0"
    (tmp_path / "fer2013new.csv").write_text("\n".join(lines))
    with pytest.raises(DatasetError) as error:
        read_votes(tmp_path / "fer2013new.csv")
    assert "is not the published file" in str(error.value)
    assert "train happy: 7,288, published 7,287" in str(error.value)
    assert "train neutral: 8,739, published 8,740" in str(error.value)
    assert "test" not in str(error.value).partition("train")[2]


@needs_shared
def test_the_first_real_rows(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "fer2013.csv").write_bytes(gzip.decompress((SHARED / "data/fer2013_head.csv.gz").read_bytes()))
    shutil.copy(REAL, root)
    samples = read(root)
    assert len(samples) == 1167
    assert samples.splits[[17, 23, 59]].tolist() == ["", "", ""]  # have no name
    counts = np.bincount(samples.labels[samples.splits == "train"], minlength=8)
    assert [int(counts[EMOTIONS.index(name)]) for name in IN_FILE] == [364, 275, 136, 135, 87, 2, 18, 5]
    assert EMOTIONS[samples.labels[1]] == "neutral"  # angry in FER2013
