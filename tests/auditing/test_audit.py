"""An audit finds what was planted: copies, contradictions, leaks, flat and dark images, wrong labels."""

import csv
import json
import subprocess
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from conftest import REPO, SHARED
from PIL import Image

from fer.auditing import appearance, copies, exclusions, suspect_labels
from fer.data import near_copies, quality
from fer.data.samples import Samples
from fer.errors import ConfigError, DatasetError, FERError

Images = npt.NDArray[np.uint8]
CLASSES = ("angry", "happy", "sad")


def pictures(labels: npt.NDArray[np.int64], seed: int, strength: float = 1.0) -> Images:
    """Return pictures, each independent of the others but for what its class has in common, uint8 (N, 48, 48)."""

    def noise(rng: np.random.Generator, cells: int) -> npt.NDArray[np.float32]:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        return cv2.resize(grid, (48, 48), interpolation=cv2.INTER_CUBIC)

    rng = np.random.default_rng(seed)
    images = []
    for label in labels:
        common = noise(np.random.default_rng(1000 + label), 6)
        images.append(128 + 25 * strength * common + sum(90 / np.sqrt(c) * 0.5 * noise(rng, c) for c in (3, 6, 12, 24)))
    return np.clip(np.array(images), 0, 255).astype(np.uint8)


def save(root: Path, name: str, image: Images, **options: int) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def samples(labels: list[int], splits: list[str] | None = None, images: Images | None = None) -> Samples:
    count = len(labels)
    return Samples(
        images=np.zeros((count, 48, 48), np.uint8) if images is None else images,
        labels=np.array(labels), splits=np.array(splits or ["train"] * count),
        ids=np.array([f"i{row}" for row in range(count)]), classes=CLASSES,
    )  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 240 images and what was planted among them."""
    root = tmp_path_factory.mktemp("planted")
    labels = np.arange(240) % 3
    images = pictures(labels, 0, strength=2)
    for row, image in enumerate(images):
        split = "test" if row >= 210 else "val" if row >= 180 else "train"
        # Every 20th training image has the label of another class.
        label = (labels[row] + 1) % 3 if split == "train" and row % 20 == 0 else labels[row]
        save(root, f"{split}/{CLASSES[label]}/{row:03}.png", image)
    save(root, f"train/{CLASSES[labels[1]]}/redundant_001.png", images[1])
    save(root, f"val/{CLASSES[labels[2]]}/leak_002.png", images[2])
    save(root, f"test/{CLASSES[labels[3]]}/mirror_003.png", images[3][:, ::-1])
    save(root, f"train/{CLASSES[(labels[4] + 1) % 3]}/conflict_004.jpg", images[4], quality=80)
    save(root, "train/sad/flat.png", np.full((48, 48), 128, np.uint8))
    save(root, "train/happy/black.png", np.random.default_rng(0).integers(0, 20, (48, 48), dtype=np.uint8))
    return root


@pytest.fixture(scope="module")
def audited(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder of an audit by the real command line, and what it printed."""
    import os
    import sys

    folder = tmp_path_factory.mktemp("audit")
    environment = {**os.environ, "FER_CACHE": str(folder / "cache"), "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "fer.audit", "data=folder", f"data.root={planted}", f"hydra.run.dir={folder / 'out'}"],
        cwd=folder, env={**environment, "COLUMNS": "200"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "out", done.stdout


def test_counts(audited: tuple[Path, str]) -> None:
    counts = json.loads((audited[0] / "audit.json").read_text())
    assert counts["images"] == 246
    assert sum(counts["classes"]["val"].values()) == 31
    assert counts["file_sizes"] == {"48x48": 246}
    assert (counts["looks"]["flat"], counts["looks"]["dark"], counts["looks"]["bright"]) == (1, 1, 0)
    exact, near = counts["copies"]["exact"], counts["copies"]["near"]
    assert (exact["groups"], exact["redundant"], exact["conflicting_groups"]) == (2, 2, 0)
    assert (near["groups"], near["redundant"], near["conflicting_groups"]) == (4, 4, 1)
    across = {(row["images_of"], row["copied_in"]): row["images"] for row in near["across_splits"]}
    assert across["val", "train"] == across["train", "val"] == 1
    assert across["test", "train"] == across["train", "test"] == 1
    assert across["val", "test"] == 0
    assert {row["images"] for row in exact["across_splits"] if "test" in (row["images_of"], row["copied_in"])} == {0}


def test_list_of_copies(audited: tuple[Path, str]) -> None:
    rows = rows_of(audited[0] / "copies.csv")
    assert len(rows) == 4
    by_name = {Path(name).stem: row for row in rows for name in (row["id_a"], row["id_b"]) if "_" in name}
    exact = {name: (row["exact"], row["mirrored"]) for name, row in by_name.items()}
    assert exact == {
        "redundant_001": ("1", "0"), "leak_002": ("1", "0"), "mirror_003": ("0", "1"), "conflict_004": ("0", "0")
    }  # fmt: skip
    assert by_name["conflict_004"]["label_a"] != by_name["conflict_004"]["label_b"]
    assert {by_name["leak_002"]["split_a"], by_name["leak_002"]["split_b"]} == {"train", "val"}
    assert float(by_name["leak_002"]["similarity"]) == 1
    assert 0.9 <= float(by_name["conflict_004"]["similarity"]) < 1


def test_what_is_left_out(audited: tuple[Path, str]) -> None:
    reasons = {row["id"]: row["reason"] for row in rows_of(audited[0] / "exclude.csv")}
    assert reasons == {
        "train/happy/redundant_001.png": "redundant",
        "train/sad/002.png": "copies_across_splits",
        "train/angry/003.png": "copies_across_splits",
        "train/sad/flat.png": "flat",
    }


def test_near_copies_with_other_labels_are_listed_not_left_out(audited: tuple[Path, str]) -> None:
    (row,) = rows_of(audited[0] / "near_conflicts.csv")
    assert {row["id_a"], row["id_b"]} == {"train/happy/004.png", "train/sad/conflict_004.jpg"}
    found = json.loads((audited[0] / "audit.json").read_text())["near_conflicts"]
    assert (found["pairs"], found["images"], found["pairs_of_one_subject"]) == (1, 2, 0)
    assert found["most_similar"][0]["id_a"] == row["id_a"]
    said = "2 images have a near copy with another label, in 1 pairs; they are not left out."
    assert said in audited[1]
    assert said in (audited[0] / "audit.html").read_text()


def test_subjects_decide_which_near_copies_contradict() -> None:
    from fer.data import near_copies

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


def test_wrong_labels_come_first(audited: tuple[Path, str]) -> None:
    counts = json.loads((audited[0] / "audit.json").read_text())["suspect_labels"]
    assert counts["accuracy"] > 0.7
    wrong = {f"{row:03}" for row in range(0, 180, 20)}
    listed = [Path(row["id"]).stem for row in rows_of(audited[0] / "suspect_labels.csv")]
    assert len(listed) == counts["suspects"]
    assert len(wrong & set(listed[: len(wrong)])) >= 6


def test_page(audited: tuple[Path, str], planted: Path) -> None:
    page = (audited[0] / "audit.html").read_text()
    assert page.count("data:image/png;base64,") >= 9
    assert 'src="http' not in page
    assert 'href="http' not in page
    summary = page.partition('id="s0"')[2].partition("</section>")[0]
    path = audited[0] / "exclude.csv"
    for text in (
        "Leak: 1 of 31 test images have a copy in train: scores on test are too good.",
        "Light: 1 flat, 1 dark images.",
        "Train without the 4 of 184 train images (2.2 %) in exclude.csv:",
        f"python -m fer.train data=folder data.root={planted} data.exclude={path}",
    ):  # fmt: skip
        assert text in summary, text
    assert "train/sad/002.png · train · sad" in page  # a caption is text
    for text in (
        "1 flat images", "1 other dark images", "No other bright images",
        "No groups of exact copies with different labels",
        "1 near copies with different labels, the most similar first",
        "2 groups of copies across splits", "out of fold", "246 images",
    ):  # fmt: skip
        assert text in page, text


def test_tables(audited: tuple[Path, str]) -> None:
    out = audited[1]
    for text in ("train cleaned", "groups of copies", "test images that have a copy in train", "conflicting labels",
                 "data.exclude=", "audit.html"):  # fmt: skip
        assert text in out, text


def test_training_leaves_out_what_the_audit_lists(audited: tuple[Path, str], planted: Path, tmp_path: Path) -> None:
    from fer.datasets.folder import Folder

    options = {"root": str(planted), "cache_dir": str(tmp_path)}
    whole, cleaned = Folder(**options), Folder(**options, exclude=str(audited[0] / "exclude.csv"))
    assert len(whole.rows("train")) - len(cleaned.rows("train")) == 4
    assert len(whole.rows("test")) == len(cleaned.rows("test"))
    assert len(list(planted.rglob("*.*"))) == 246  # nothing was deleted


def test_copies_in_another_dataset(run_here: Callable[..., Path], planted: Path, tmp_path: Path) -> None:
    labels = np.arange(30) % 3
    others = pictures(labels, 7)
    first = np.array(Image.open(planted / "train/happy/001.png"))
    for row, image in enumerate(others):
        save(tmp_path / "other", f"train/{CLASSES[labels[row]]}/{row:03}.png", cv2.resize(image, (64, 64)))
    save(tmp_path / "other", "train/sad/copy.png", cv2.resize(first, (64, 64), interpolation=cv2.INTER_CUBIC))
    run = run_here(
        "fer.audit", "data=folder", f"data.root={planted}", "against=folder", f"against.root={tmp_path / 'other'}",
        "suspect_labels=false", "exclude=[in_against]", "pictures=2",
    )  # fmt: skip
    counts = json.loads((run / "audit.json").read_text())
    assert counts["against"]["copies"]["splits"] == [
        {"images_of": "train", "copied_in": "train", "images": 2, "labelled_otherwise": 2}
    ]
    excluded = {row["id"]: row["reason"] for row in rows_of(run / "exclude.csv")}
    assert excluded == {"train/happy/001.png": "in_against", "train/happy/redundant_001.png": "in_against"}
    assert {row["id_b"] for row in rows_of(run / "copies_against.csv")} == {"train/sad/copy.png"}
    assert not (run / "suspect_labels.csv").exists()


def test_probabilities_of_a_run(run_here: Callable[..., Path], planted: Path, tmp_path: Path) -> None:
    ids = sorted(path.relative_to(planted).as_posix() for path in (planted / "val").rglob("*.png"))
    with (tmp_path / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "id", *(f"p_{name}" for name in CLASSES)])
        for name in ids:
            label = CLASSES.index(name.split("/")[1])
            said = (label + 1) % 3 if name == ids[5] else label
            writer.writerow(["val", name, *(0.9 if c == said else 0.05 for c in range(3))])
    run = run_here(
        "fer.audit", "data=folder", f"data.root={planted}", "copies=exact", "pictures=0", "exclude_from=[train,val]",
        f"probabilities={tmp_path / 'predictions.csv'}", "exclude=[suspect_labels]",
    )  # fmt: skip
    counts = json.loads((run / "audit.json").read_text())
    assert counts["copies"]["near"] is None
    assert (counts["suspect_labels"]["judged"], counts["suspect_labels"]["suspects"]) == (31, 1)
    assert [row["id"] for row in rows_of(run / "exclude.csv")] == [ids[5]]


def test_rule_of_mean_pixels(run_here: Callable[..., Path], planted: Path) -> None:
    run = run_here(
        "fer.audit", "data=folder", f"data.root={planted}", "copies=exact", "suspect_labels=false", "pictures=0",
        "exclude=[dark,bright]",
    )  # fmt: skip
    assert rows_of(run / "exclude.csv") == [{"id": "train/happy/black.png", "reason": "dark"}]
    counts = json.loads((run / "audit.json").read_text())
    assert counts["classes"]["train"]["happy"] - counts["exclude"]["after"]["train"]["happy"] == 1
    assert counts["classes"]["test"] == counts["exclude"]["after"]["test"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "data: which dataset?"),
        (["data=folder", "data.root=/nowhere"], "dataset 'folder' was not found"),
        (["data=synthetic", "against=synthetik"], "Did you mean 'synthetic'?"),
        (["data=synthetic", "against=folder", "against.rot=x"], "against.rot: there is no such key. Did you mean"),
        (["data=synthetic", "against.root=x"], "against.root: choose the data first: against=<one of"),
        (["data=synthetic", "exclude=[dork]"], "Did you mean 'dark'?"),
        (["data=synthetic", "exclude=dark"], "exclude=dark: must be a list of texts: exclude=[dark,...]"),
        (["data=synthetic", "copies=some"], "copies=some: must be one of exact, near"),
        (
            ["data=synthetic", "exclude=[flat,suspect_labels]", "suspect_labels=false"],
            "exclude: 'suspect_labels' leaves out nothing with suspect_labels=false. Say suspect_labels=true, or leave",
        ),
        (
            ["data=synthetic", "exclude=[near_redundant]", "copies=exact"],
            "exclude: 'near_redundant' leaves out nothing with copies=exact. Say copies=near, or leave",
        ),
        (["data=synthetic", "bright=2"], "bright=2: must be at least 0 and at most 1"),
    ],
)
def test_what_a_wrong_command_is_told(
    run_here: Callable[..., Path], capfd: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_here("fer.audit", *args)
    assert ended.value.code == 2
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(("args", "warned"), [((), False), (("exclude=[flat,in_against]",), True)])
def test_copies_in_a_dataset_that_was_not_named(
    run_here: Callable[..., Path], planted: Path, capfd: pytest.CaptureFixture[str], args: tuple[str, ...], warned: bool
) -> None:
    run_here("fer.audit", "data=folder", f"data.root={planted}", "copies=exact", "suspect_labels=false", *args)
    assert ("in_against leaves out nothing" in capfd.readouterr().out) == warned


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
    fold = suspect_labels.deal(groups, labels, 5, rng)
    assert len(set(fold[50:60].tolist())) == 1
    for label in range(1, 3):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_out_of_fold_probabilities_have_not_seen_the_sample(cache_dir: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    images = pictures(labels, 3, strength=0)  # of which nothing can be learned
    guessed = samples(labels.tolist(), images=images)
    p = suspect_labels.out_of_fold(guessed, np.arange(150), 5, 0, cache_dir)
    assert p.shape == (150, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-4)
    assert (p.argmax(axis=1) == labels).mean() < 0.5
    # A copy in another fold would give the label away; groups forbid it.
    twice = samples([*labels, *labels], images=np.concatenate([images, images]))
    groups = np.tile(np.arange(150), 2)
    for kept_together, low, high in ((groups, 0, 0.5), (rng.permutation(300), 0.6, 1)):
        p = suspect_labels.out_of_fold(twice, kept_together, 5, 0, cache_dir)
        assert low < (p.argmax(axis=1) == twice.labels).mean() < high


def test_too_few_samples_for_folds(cache_dir: Path) -> None:
    for few in (samples([1] * 50), samples([0, 1] * 4)):
        with pytest.raises(ConfigError, match="suspect_labels=false"):
            suspect_labels.out_of_fold(few, np.arange(len(few)), 5, 0, cache_dir)


def test_out_of_fold_takes_any_size_and_colours(cache_dir: Path) -> None:
    labels = np.arange(90) % 3
    colour = np.stack([cv2.resize(image, (60, 60)) for image in pictures(labels, 4, strength=2)])
    part = samples(labels.tolist(), images=np.repeat(colour[..., None], 3, axis=3))
    assert (suspect_labels.out_of_fold(part, np.arange(90), 3, 0, cache_dir).argmax(axis=1) == labels).mean() > 0.7


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
    data.setup("test")
    part = appearance.in_a_split(data.samples, data.cache_dir)
    exact = copies.find(part.images, False, 0.9).exact
    found = copies.summary(exact, copies.conflicting(exact, part.labels), part)
    assert (found["groups"], found["redundant"], found["conflicting_groups"]) == (1273, 1532, 47)
    across = {(row["images_of"], row["copied_in"]): row["images"] for row in found["across_splits"]}
    assert across["val", "train"] == 280


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
    monkeypatch.setattr(suspect_labels, "_LANDMARKS", 200)  # the kernel of 4,000 images is 3.2 MB
    monkeypatch.setattr(suspect_labels, "_FIRST", 512)
    few = samples((np.arange(4000) % 2).tolist(), images=images)
    assert peak_mb(lambda: suspect_labels.out_of_fold(few, np.arange(4000), 5, 0, cache_dir)) < 7
