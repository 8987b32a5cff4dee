"""JAFFE: labels and subjects from file names, folds of subjects, and names that say neither."""

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from fakes import face, write_image
from fakes_lab import JAFFE_SUBJECTS, write_jaffe
from folds import check_folds

from fer.data.labels import BASIC
from fer.data.samples import Samples
from fer.datasets.jaffe import JAFFE
from fer.errors import DatasetError, DatasetNotFoundError


def make(root: Path, **options: object) -> JAFFE:
    return JAFFE(str(root), cache_dir=str(root.parent / "cache"), **options)  # type: ignore[arg-type]


def read(root: Path) -> Samples:
    return make(root).read()


@pytest.mark.parametrize("extension", ["tiff", "jpg", "bmp", "png", "TIFF"])
def test_labels_and_subjects(tmp_path: Path, extension: str) -> None:
    root = tmp_path / "data"
    names = write_jaffe(root, extension)
    samples = read(root)
    assert samples.classes == BASIC
    assert samples.images.shape == (70, 32, 32)
    assert set(samples.splits.tolist()) == {"train"}
    assert samples.subjects is not None
    rows = zip(samples.ids.tolist(), samples.subjects.tolist(), samples.labels, strict=True)
    assert {path: (subject, BASIC[label]) for path, subject, label in rows} == names


def test_any_depth_and_case(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_jaffe(root / "jaffedbase/jaffe", per_class=1)
    (root / "jaffedbase/jaffe/README").touch()
    write_image(root / "more/ka.an9.99.tiff", face(0, np.random.default_rng(9), 32))
    samples = read(root)
    assert samples.subjects is not None
    found = dict(zip(samples.ids.tolist(), samples.subjects.tolist(), strict=True))
    assert len(found) == 36
    assert found["more/ka.an9.99.tiff"] == "KA"
    assert found["jaffedbase/jaffe/KL.HA1.11.tiff"] == "KL"


@pytest.mark.parametrize("folds", [2, 5, "loso"])
def test_folds_keep_people_apart(tmp_path: Path, folds: int | str) -> None:
    write_jaffe(tmp_path / "data")
    check_folds(lambda **fold: make(tmp_path / "data", **fold), set(JAFFE_SUBJECTS), folds)


def test_names_that_say_nothing_are_all_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_jaffe(root, per_class=1)
    image = face(0, np.random.default_rng(0), 32)
    for name in ("KA.AN1.tiff", "mean.png", "KA.XX1.39.tiff", "copy/KA.AN1.1.bmp"):
        write_image(root / name, image)
    with pytest.raises(DatasetError) as error:
        read(root)
    message = str(error.value)
    assert "4 of 39 images" in message
    assert "KA.AN1.tiff: its name is not like KA.AN1.39" in message
    assert "mean.png: its name" in message
    assert "KA.XX1.39.tiff: its expression 'XX' is none of AN, DI" in message
    assert "copy/KA.AN1.1.bmp: the same picture as KA.AN1.1.tiff" in message


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # before PIL's error
def test_broken_image(tmp_path: Path) -> None:
    write_jaffe(tmp_path / "data", per_class=1)
    path = tmp_path / "data/KA.AN1.1.tiff"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"1 of 35 images[^$]*KA\.AN1\.1\.tiff: "):
        read(tmp_path / "data")


def test_not_found(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetNotFoundError) as error:
            read(root)
        assert "dataset 'jaffe' was not found" in str(error.value)
        assert str(root / "KA.AN1.39.tiff") in str(error.value)
        assert "zenodo.org" in str(error.value)


def test_a_sweep_over_folds_ends_in_mean_and_deviation(command: Run, tmp_path: Path) -> None:
    write_jaffe(tmp_path / "data")
    done = command(
        "-m", "data=jaffe", f"data.root={tmp_path / 'data'}", "data.folds=3", "data.fold=range(3)", "model=simple_conv",
        "data.num_workers=0", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu",
        "transforms=none", "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    values = [
        json.loads((tmp_path / "sweep" / str(n) / "metrics.json").read_text())["test"]["accuracy"] for n in range(3)
    ]
    assert "mean and standard deviation over data.fold" in done.stdout
    assert f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" in done.stdout
