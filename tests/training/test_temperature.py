"""A training fits a temperature, keeps it with its best checkpoint, and tests and predictions use it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY

import fer
from fer.datasets.synthetic import Synthetic
from fer.files.run_folder import checkpoint_mark
from fer.scores import calibration
from fer.training.checkpoint_content import load_checkpoint

Here = Callable[..., Path]


def test_from_training_to_test_and_prediction(train_here: Here, run_here: Here, tmp_path: Path) -> None:
    run = train_here(*TINY, "trainer.max_epochs=3", "tta=flip")  # the temperature is of answers without it
    checkpoint, metrics = load_checkpoint(run), json.loads((run / "metrics.json").read_text())
    kept = checkpoint["calibration"]
    assert kept == metrics["calibration"]
    assert metrics["checkpoint_mark"] == checkpoint_mark(run), "of the file with the temperature"
    assert {"optimizer_states", "loops", "seen_images"} <= set(checkpoint), "nothing else is lost"
    assert kept["split"] == "val"
    assert kept["nll_calibrated"] <= kept["nll"]

    out = run_here("fer.test", f"ckpt={run}", "split=val", "resamples=0", "accelerator=cpu", "progress=false")
    tested = json.loads((out / "metrics.json").read_text())
    with (out / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file)]
    classes = checkpoint["hyper_parameters"]["classes"]
    p = np.array([[float(row[f"p_{name}"]) for name in classes] for row in rows], np.float32)
    labels = np.array([classes.index(row["label"]) for row in rows])
    assert kept["images"] == len(rows)
    assert kept["temperature"] == pytest.approx(calibration.fit(p, labels), rel=0.01)
    assert tested["calibration"]["temperature"] == kept["temperature"]
    assert tested["calibration"]["ece_calibrated"] == pytest.approx(kept["ece_calibrated"], abs=1e-6)
    assert tested["test"]["ece"] == pytest.approx(kept["ece"], abs=1e-6), "the scores are of the network as it is"
    assert metrics["val"]["ece"] != pytest.approx(kept["ece"], abs=1e-6), "of two views"
    assert (out / "coverage.png").stat().st_size > 10_000

    image = Synthetic(num_samples=280).samples.images[0]
    calm, raw = (fer.load(run, "none", device="cpu", calibrate=on).predict(image)[0] for on in (True, False))
    with torch.no_grad():
        expected = calibration.calibrated(np.array([list(raw.probabilities.values())], np.float32), kept["temperature"])
    assert list(calm.probabilities.values()) == pytest.approx(expected[0].tolist(), abs=1e-6)
    assert calm.emotion == raw.emotion
