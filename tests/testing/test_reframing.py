"""Images of another dataset are cut so that faces stand as in the training images, and scored both ways."""

import json

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image

from fer.data.labels import BASIC
from fer.datasets.synthetic_faces import generate
from fer.framing import measure
from fer.testing.reframing import reframe

CPU = ("accelerator=cpu", "progress=false", "mistakes=0", "resamples=10")


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(measure, "installed", lambda: False)


def small_faces(count):
    """Drawn faces at 0.6 of the side, left and low; the last two are walls."""
    drawn, labels = generate(count, 0)
    images = np.full((count, 96, 96), 110, np.uint8)
    for image, face in zip(images[:-2], drawn[:-2], strict=True):
        image[34:92, 4:62] = cv2.resize(face, (58, 58), interpolation=cv2.INTER_CUBIC)
    return drawn, images, labels


@pytest.mark.parametrize("shape", ["square", "wide", "RGB"])
def test_faces_come_to_stand_where_they_are_wanted(shape):
    drawn, images, _ = small_faces(20)
    wanted = measure.framing(drawn, np.arange(20))
    rows = np.arange(1, 20)
    if shape == "wide":  # padded above and below
        images = np.concatenate((images, np.full((20, 96, 60), 110, np.uint8)), axis=2)
    if shape == "RGB":
        images = np.repeat(images[..., None], 3, 3)
    done = reframe(images, rows, "pad", wanted, 48)
    assert done.images.shape == (20, 48, 48, *images.shape[3:])
    assert not done.images[0].any()  # not asked for
    assert done.found.tolist() == [True] * 17 + [False] * 2
    got = measure.framing(done.images, rows[:17])
    assert np.abs(got.points - wanted.points).mean() < 0.03
    # What has no face is cut as most images are: the middle of a wall.
    assert (done.images[-1] == 110).all() or shape == "wide"


def test_a_test_scores_both_ways(train_here, run_here, tmp_path, capsys):
    run = train_here(*TINY[:-1], "framing=true", "trainer.max_epochs=1", "data.num_samples=140")
    _, images, labels = small_faces(30)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "data" / BASIC[label] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    data = ("data=folder", f"data.root={tmp_path / 'data'}", "data.image_size=96", *CPU)
    plain = json.loads((run_here("fer.test", f"ckpt={run}", *data, name="plain") / "metrics.json").read_text())
    capsys.readouterr()
    both = json.loads((run_here("fer.test", f"ckpt={run}", "frame=match", *data) / "metrics.json").read_text())
    assert both["test"] == plain["test"]
    assert "reframed" not in plain
    assert both["reframed"]["n"] == 30
    assert both["reframed"]["faces_found"] == pytest.approx(28 / 30)
    assert both["reframed"]["ece"] != both["test"]["ece"]  # of other pixels
    said = capsys.readouterr().out
    assert "framed as trained on: a face was found in 93 % of the images" in said
    assert said.count("framed as trained on") == 2  # a line of the table, too

    whole = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    whole["hyper_parameters"]["preprocessing"]["framing"] = None
    torch.save(whole, tmp_path / "old.ckpt")
    with pytest.raises(SystemExit):
        run_here("fer.test", f"ckpt={tmp_path / 'old.ckpt'}", "frame=match", *data, name="old")
    assert "frame=match: ckpt=" in capsys.readouterr().err
