"""data.refine: training labels are mixed with an audit's probabilities, by the samples' ids; nothing else changes."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from fakes import write_image_folder

from fer.data.labels import BASIC
from fer.datasets.folder import Folder
from fer.errors import ConfigError
from fer.files.csv_table import write_csv

Here = Callable[..., Path]


def write_probabilities(path: Path, rows: dict[str, list[float]]) -> Path:
    classes = list(reversed(BASIC))  # columns in another order than the labels
    write_csv(path, ["id", *(f"p_{name}" for name in classes)], [[name, *reversed(p)] for name, p in rows.items()])
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_image_folder(tmp_path / "data", per_class=2)
    return tmp_path / "data"


def test_labels_are_mixed_by_id(root: Path, tmp_path: Path, cache_dir: Path) -> None:
    p = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.0]
    file = write_probabilities(tmp_path / "probabilities.csv", {"train/happy/000.png": p})
    plain = Folder(str(root), cache_dir=str(cache_dir))
    ids = plain.samples.ids.tolist()
    known = next(one for one in ids if one.startswith("train/happy"))
    file = write_probabilities(tmp_path / "probabilities.csv", {known: p})
    data = Folder(str(root), cache_dir=str(cache_dir), refine=str(file), refine_weight=0.8)
    data.setup("fit")
    row, happy = ids.index(known), BASIC.index("happy")
    assert data.samples.targets[row] == pytest.approx([0.8 * one + 0.2 * (i == happy) for i, one in enumerate(p)])
    others = np.delete(np.arange(len(ids)), row)
    assert (data.samples.targets[others] == np.eye(7)[data.samples.labels[others]]).all()
    assert (data.samples.labels == plain.samples.labels).all()
    batch = next(iter(data.train_dataloader()))
    assert batch["target"].shape == (len(batch["label"]), 7)
    tested = Folder(str(root), cache_dir=str(cache_dir), refine="gone")  # a test needs no audit
    tested.setup("test")
    assert tested.samples.targets is None


def test_rows_that_say_nothing_of_the_chosen_classes(root: Path, tmp_path: Path, cache_dir: Path) -> None:
    ids = Folder(str(root), cache_dir=str(cache_dir)).samples.ids.tolist()
    sad, happy, other = (
        next(one for one in ids if one.startswith(f"train/{name}")) for name in ("sad", "happy", "fear")
    )
    angry = [float(name == "angry") for name in BASIC]
    file = write_probabilities(tmp_path / "p.csv", {other: angry, happy: [0.25] * 7, sad: angry, "gone": [9.0] * 7})
    data = Folder(
        str(root), cache_dir=str(cache_dir), refine=str(file), refine_weight=1, classes=["happy", "sad", "surprise"]
    )
    data.setup("fit")
    found = dict(zip(data.samples.ids.tolist(), data.samples.targets.tolist(), strict=True))
    assert found[sad] == [0, 1, 0], "it keeps its label"
    assert found[happy] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"val/happy": 1}, "the audit's classifiers were fitted to 1 images that are val in this run"),
        ({"test/happy": 1}, "images that are test in this run"),
        ({"elsewhere": 1}, "none of its 1 ids is a training image of folder"),
        ({"train/happy": 2}, "are not all numbers from 0 to 1."),
    ],
)
def test_what_is_refused(root: Path, tmp_path: Path, cache_dir: Path, rows: dict[str, float], said: str) -> None:
    ids = Folder(str(root), cache_dir=str(cache_dir)).samples.ids.tolist()
    named = {next((one for one in ids if one.startswith(start)), start): [value] * 7 for start, value in rows.items()}
    file = write_probabilities(tmp_path / "p.csv", named)
    with pytest.raises(ConfigError) as error:
        Folder(str(root), cache_dir=str(cache_dir), refine=str(file)).setup("fit")
    assert said in str(error.value)


def test_training_scores_go_by_the_labels(train_here: Here, root: Path, tmp_path: Path, cache_dir: Path) -> None:
    samples = Folder(str(root), cache_dir=str(cache_dir)).samples
    happy = [float(name == "happy") for name in samples.classes]
    train = samples.ids[samples.splits == "train"].tolist()
    file = write_probabilities(tmp_path / "p.csv", {one: happy for one in train})
    recipe = [option for option in TINY if "num_samples" not in option]
    run = train_here(*recipe, "data=folder", f"data.root={root}", f"data.refine={file}", "data.refine_weight=1.0")
    with (run / "history.csv").open() as history:
        last = [row for row in csv.DictReader(history)][-1]
    assert float(last["train/accuracy"]) < 0.4, "every target says happy, and one label in seven"


def test_an_audit_then_a_training(train_here: Here, run_here: Here, tmp_path: Path) -> None:
    root = tmp_path / "faces"
    write_image_folder(root, per_class=12)
    audit = run_here("fer.audit", "data=folder", f"data.root={root}", "refine=true", "folds=2", name="audit")
    with (audit / "probabilities.csv").open() as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"train"}
    recipe = [option for option in TINY if "num_samples" not in option]
    run = train_here(*recipe, "data=folder", f"data.root={root}", f"data.refine={audit}", "data.refine_weight=0.9",
                     "trainer.max_epochs=1")  # fmt: skip
    assert json.loads((run / "metrics.json").read_text())["val"]["n"] == 84
    with (run / "refined_labels.csv").open() as file:
        for row in csv.DictReader(file):
            assert row["id"].startswith(f"train/{row['label']}")
            assert row["refined"] != row["label"]
