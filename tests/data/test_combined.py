"""Several datasets as one: common classes, splits of each, one size and colour."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from fakes import write_fer2013_csv, write_image_folder

from fer.data.combined import Combined
from fer.data.fer2013 import FER2013
from fer.errors import ConfigError

OPTIONS = {"fer2013": {"root": "csv"}, "folder": {"root": "tree"}}


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_fer2013_csv(tmp_path / "csv" / "fer2013.csv", per_class=4)
    write_image_folder(
        tmp_path / "tree",
        splits=("train", "test"),
        per_class=6,
        classes=["happy", "contempt", "sad"],
        size=64,
        channels=3,
    )
    return tmp_path


def combined(**options: object) -> Combined:
    return Combined(["fer2013", "folder"], OPTIONS, cache_dir="cache", **options)  # type: ignore[arg-type]


def test_common_classes_sizes_and_splits(two: Path) -> None:
    data = combined(val_fraction=0.3)
    assert data.classes == ("happy", "sad")
    assert data.samples.images.shape[1:] == (64, 64, 3)
    count = {
        (name, split): sum(data.samples.ids[row].startswith(f"{name}/") for row in data.rows(split))
        for name in OPTIONS
        for split in ("train", "val", "test")
    }
    assert [count["fer2013", split] for split in ("train", "val", "test")] == [8, 8, 8]
    assert [count["folder", split] for split in ("train", "val", "test")] == [10, 2, 12]  # val is carved
    assert set(data.samples.attributes["dataset"].tolist()) == set(OPTIONS)
    assert len(set(data.samples.ids.tolist())) == len(data.samples)


def test_labels_are_matched_by_name(two: Path) -> None:
    data = combined()
    for sample, label in zip(data.samples.ids, data.samples.labels, strict=True):
        if sample.startswith("folder/"):
            assert sample.split("/")[2] == data.classes[label]


def test_grey_and_small_when_asked(two: Path) -> None:
    data = combined(channels=1, image_size=32)
    assert data.samples.images.shape[1:] == (32, 32)
    assert data.samples.images.std() > 10


def test_a_changed_dataset_is_read_again(two: Path) -> None:
    before = combined().samples.images.copy()
    write_fer2013_csv(two / "csv" / "fer2013.csv", per_class=4, seed=5)
    assert not np.array_equal(combined().samples.images, before)


def test_labels_that_a_part_makes_after_its_cache(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = combined().samples.labels
    read = FER2013.read  # FER+ gives FER2013's images the labels that its votes make
    monkeypatch.setattr(FER2013, "read", lambda self: replace(read(self), labels=read(self).labels[::-1].copy()))
    assert (combined().samples.labels != before).any()


@pytest.mark.parametrize(
    ("datasets", "options", "said"),
    [
        (["fer2013"], {}, "needs two or more"),
        (["fer2013", "fer2013"], {}, "needs two or more"),
        (["fer2013", "folder"], {"rafdb": {}}, "data.options.rafdb: is none of"),
        (["fer2013", "folder"], {**OPTIONS, "folder": {"root": "x", "rot": 1}}, "data.options.folder: .*'rot'"),
    ],
)
def test_errors(datasets: list[str], options: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Combined(datasets, options)


def test_unknown_names_are_found_before_torch(command: Run) -> None:
    done = command("data=combined", "data.datasets=[fer2013,rafbd]")
    assert done.returncode == 2
    assert "Did you mean 'rafdb'" in done.stderr


def test_trains_and_is_scored_by_dataset(
    two: Path, train_here: Callable[..., Path], run_here: Callable[..., Path]
) -> None:
    options = [f"+data.options.{name}.root={two / node['root']}" for name, node in OPTIONS.items()]
    run = train_here(
        "data=combined", "data.datasets=[fer2013,folder]", *options, "data.channels=1", "data.image_size=48",
        "data.batch_size=8", "data.num_workers=0", "model=simple_conv", "trainer.max_epochs=1", "transforms=none",
        "trainer.accelerator=cpu",
    )  # fmt: skip
    out = run_here("fer.test", f"ckpt={run}", "accelerator=cpu", "progress=false")
    slices = json.loads((out / "metrics.json").read_text())["slices"]["dataset"]
    assert {name: scores["n"] for name, scores in slices.items()} == {"fer2013": 8, "folder": 12}
