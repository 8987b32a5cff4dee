"""An audit finds what was planted: copies, contradictions, leaks, flat and dark images, wrong labels."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import REPO
from fakes_audit import CLASSES, Images, pictures
from PIL import Image

from fer.framing.framing import Framing


def save(root: Path, name: str, image: Images, **options: int) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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
    # At its end, what `python -m fer.audit` has imported.
    module = (
        "import atexit, runpy, sys; atexit.register(lambda: print('heavy:', {'torch', 'sklearn'} & set(sys.modules)));"
        "runpy.run_module('fer.audit', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", module, "data=folder", f"data.root={planted}", f"hydra.run.dir={folder / 'out'}"],
        cwd=folder, env={**environment, "COLUMNS": "200"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "out", done.stdout


def test_torch_is_gone_with_the_process_that_reads(audited: tuple[Path, str]) -> None:
    assert audited[1].splitlines()[-1] == "heavy: {'sklearn'}", "its imports take more memory than 36,000 images"


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


def test_what_was_left_out_before_stays_left_out(
    run_here: Callable[..., Path], planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text("id\ntrain/happy/001.png\nval/sad/182.png\n")
    run = run_here(
        "fer.audit", "data=folder", f"data.root={planted}", "copies=exact", "suspect_labels=false", "pictures=0",
        "exclude=[dark]", f"data.exclude={tmp_path / 'mine.csv'}",
    )  # fmt: skip
    assert rows_of(run / "exclude.csv") == [
        {"id": "train/happy/black.png", "reason": "dark"},
        {"id": "train/happy/001.png", "reason": "excluded_before"},
        {"id": "val/sad/182.png", "reason": "excluded_before"},
    ]
    assert json.loads((run / "audit.json").read_text())["exclude"]["images"] == 1
    assert "mine.csv" not in capsys.readouterr().out.partition("python -m fer.train")[2]


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


def test_how_faces_stand_is_shown(run_here: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    out = run_here(
        "fer.audit", "data=synthetic", "data.num_samples=70", "copies=exact", "suspect_labels=false", "pictures=0",
        "framing=true",
    )  # fmt: skip
    framing = json.loads((out / "audit.json").read_text())["framing"]
    assert framing["eye_distance"] == pytest.approx(0.38, abs=0.05)
    assert f"Faces: {Framing.from_dict(framing)}." in capsys.readouterr().out
    assert "Faces: eyes" in (out / "audit.html").read_text()
