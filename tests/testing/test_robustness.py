"""fer.test corruptions=...: the same numbers on any number of workers, in a table, a file and pictures."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

from fer.data.corruptions import Corruption
from fer.datasets.synthetic import Synthetic
from fer.scores.metrics import Corrupted

Here = Callable[..., Path]
CPU = ("accelerator=cpu", "progress=false", "mistakes=0", "resamples=50")


def test_a_loader_gives_each_way_after_the_other() -> None:
    ways = [Corruption("noise", 1), Corruption("dark", 5)]
    faces = Synthetic(num_samples=70, seed=0, batch_size=16)  # no multiple of a way's images: a batch has two ways
    rows = faces.rows("test")
    expected = [way(faces.samples.images[rows], faces.samples.ids[rows].tolist()) for way in ways]
    for workers, size in ((0, 5), (2, 16)):
        faces.num_workers, faces.batch_size = workers, size
        batches = list(faces.eval_dataloader("test", ways))
        assert np.array_equal(np.concatenate([batch["image"] for batch in batches]), np.concatenate(expected))
        assert np.array_equal(np.concatenate([batch["row"] for batch in batches]), np.tile(rows, 2))
    assert sum(len(batch["row"]) for batch in faces.eval_dataloader("test")) == len(rows)


def test_the_mean_and_its_interval() -> None:
    right = np.zeros((2, 5, 40), bool)
    right[0, :, :20] = True
    table = Corrupted(right)
    assert table.mean_corruption_accuracy() == 0.25
    low, high = table.mean_corruption_accuracy_95(2000, 0)
    # Of 40 images, half are right in half of their forms: a standard error of 0.25 / sqrt(40) = 0.04.
    assert (low, high) == (pytest.approx(0.25 - 0.077, abs=0.015), pytest.approx(0.25 + 0.077, abs=0.015))


def test_a_test_of_corrupted_images(train_here: Here, run_here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_here(*TINY, "trainer.max_epochs=1")
    plain = json.loads((run_here("fer.test", f"ckpt={run}", *CPU, name="plain") / "metrics.json").read_text())
    capsys.readouterr()
    out = run_here("fer.test", f"ckpt={run}", "corruptions=[rotation,dark,dark]", *CPU)
    found, said = json.loads((out / "metrics.json").read_text()), capsys.readouterr().out
    assert found["test"] == plain["test"]
    assert "corruptions" not in plain
    worse = found["corruptions"]
    assert list(worse["accuracy"]) == ["dark", "rotation"]
    assert worse["mean_corruption_accuracy"] == pytest.approx(np.mean(list(worse["accuracy"].values())))
    low, high = worse["mean_corruption_accuracy_95"]
    assert low <= worse["mean_corruption_accuracy"] <= high
    assert f"mean corruption accuracy {worse['mean_corruption_accuracy']:.3f}" in said
    assert "corruptions: dark is done (1/2" in said
    for name in ("corruptions.png", "corruptions_example.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG"), name

    for wrong, hint in (
        ("corruptions=[blurr]", "Did you mean 'blur'?"),
        ("corruptions=[]", "needs at least one"),
        ("corruptions=blur", "corruptions=[blur,...]"),
        (("corruptions=true", "frame=match"), "frame=match: does not go with corruptions"),
    ):
        with pytest.raises(SystemExit):
            run_here("fer.test", f"ckpt={run}", *([wrong] if isinstance(wrong, str) else wrong), *CPU, name="wrong")
        assert hint in capsys.readouterr().err
