"""The model card's scores are those of the exported file, or it says by what they are not."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from fakes_model import DESCRIPTION, write_run

from fer.errors import FERError
from fer.exporting import card, int8, record
from fer.exporting.checks import Comparison
from fer.exporting.formats import write_safetensors
from fer.files import export, run_folder
from fer.files import metrics as metrics_file
from fer.predicting.exported import ExportedNetwork
from fer.training.module import FERModule

FOUND = Comparison(9, 1e-7, 1.0, {1: (2.0, 1.0)})
TRAINING = {"dataset": "folder", "fitted": 30, "chose": 9, "monitor": "val/f1_macro", "parent": None}
EXPORTED = {
    "network": "SimpleConv", "classes": ["happy", "sad"], "preprocessing": DESCRIPTION["preprocessing"],
    "export_format": "onnx", "training": TRAINING, "int8": False,
}  # fmt: skip
SEEN = {"known": True, "trained_on": "folder", "images": 9, "in_training": 4, "in_training_exactly": 4,
        "chose_the_checkpoint": 0}  # fmt: skip


def scores(accuracy: float) -> dict[str, Any]:
    classes = {name: {"f1": 0.5, "support": 5} for name in ("happy", "sad")}
    return {"n": 9, "accuracy": accuracy, "f1_macro": accuracy, "per_class": classes, "confusion": [[1, 0], [0, 1]]}


def training(**other: Any) -> dict[str, Any]:
    found = {"kind": "training", "format": 1, "data": "folder", "stamp": None, "best_score": 1.0, "best_epoch": 1}
    return {**found, "epochs": 1, "tta": "flip", "val": scores(0.6), "test": scores(0.5), **other}


def written(tmp_path: Path, metrics: Any, tests: Any = (), **other: Any) -> str:
    card.write(tmp_path, {**EXPORTED, **other}, metrics, tests, FOUND, "export")
    return (tmp_path / "README.md").read_text()


def test_scores_with_test_time_augmentation_are_named(tmp_path: Path) -> None:
    test = {"data": "rafdb", "split": "test", "tta": "shift", "test": scores(0.4), "clean": scores(0.3),
            "slices": {"gender": {"f": scores(0.2)}}}  # fmt: skip
    text = written(tmp_path, training(), [test])
    for row in ("folder, val; scores with tta=flip | 9 | 0.600", "folder, test; scores with tta=flip | 9 | 0.500",
                "rafdb, test; scores with tta=shift | 9 | 0.400",
                "rafdb, test, without images seen in training; scores with tta=shift | 9 | 0.300",
                "rafdb, test, gender = f; scores with tta=shift | 9 | 0.200"):  # fmt: skip
        assert f"| {row} |" in text
    assert "This file answers without test-time augmentation" in text
    text = written(tmp_path, training(tta="none"), [{**test, "tta": "none"}])
    assert "| folder, test | 9 | 0.500 |" in text
    assert "tta" not in text
    assert "test-time augmentation" not in text


def test_the_price_of_8_bits_stands_beside_the_scores(tmp_path: Path) -> None:
    assert "8 bits" not in written(tmp_path, training())
    text = written(tmp_path, training(), int8=True, accuracy_float32=0.6123, accuracy_int8=0.5987)
    assert "accuracy without test-time augmentation is 0.6123; **this file, in 8 bits, has 0.5987**" in text


def test_what_a_parent_or_a_teacher_had_seen_of_the_runs_own_test(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    mark = run_folder.checkpoint_mark(run)
    child = training(tta="none", seen=SEEN, clean=scores(0.45), checkpoint_mark=mark)
    (run / "metrics.json").write_text(json.dumps(child))
    text = written(tmp_path, record.metrics_of(str(run)))
    assert "| folder, test, without images seen in training | 9 | 0.450 |" in text
    assert "- folder, the training's own test: 4 of 9 test images (44.4 %) were in training, 4 as equal" in text
    for broken in ({"seen": {"known": True}}, {"clean": {"n": "x"}}):
        (run / "metrics.json").write_text(json.dumps({**child, **broken}))
        assert record.metrics_of(str(run)) == {}
        with pytest.raises(ValueError, match=r"missing|is 'x'"):
            metrics_file.check({**child, **broken}, ["accuracy"])


@pytest.mark.parametrize("parent", [{}, {"dataset": "x"}, {"fitted": "many"}, {"fitted": 3, "dataset": [1]}, "a model"])
def test_another_ones_export_is_data(tmp_path: Path, parent: object) -> None:
    module = FERModule.load_from_checkpoint(write_run(tmp_path / "run"))
    write_safetensors(module, tmp_path / "model.safetensors")
    config = {"ckpt": str(tmp_path / "run"), "format": "safetensors", "hub": None}
    content = record.describe(module, config, "model.safetensors")
    hostile = {**content["training"], "monitor": "`<b>*loud*</b>"}
    export.write(tmp_path, {**content, "training": {**hostile, "parent": {"fitted": None, "dataset": None}}})
    again = record.describe(ExportedNetwork(tmp_path), {**config, "ckpt": str(tmp_path)}, "model.safetensors")
    text = written(tmp_path, {}, **again)
    assert "images that are not known" in text
    assert r"(by \`&lt;b&gt;\*loud\*&lt;/b&gt;)" in text

    export.write(tmp_path, {**content, "training": {**hostile, "parent": parent}})
    with pytest.raises(FERError, match="does not say what it was trained on"):
        record.describe(ExportedNetwork(tmp_path), {**config, "ckpt": str(tmp_path)}, "model.safetensors")


class Knowing:
    """Answers every image with the class that its pixels number."""

    classes = ("angry", "happy", "sad")
    content: ClassVar[dict[str, Any]] = {"file": "model.onnx"}

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        return torch.eye(3)[images[:, 0, 0, 0].long()]


def data_of(classes: tuple[str, ...], names: list[str]) -> Any:
    """Return images whose pixels number their class as the model does, and whose labels are as ``classes`` order it."""
    pixels = [Knowing.classes.index(name) if name in Knowing.classes else 0 for name in names]
    images = np.array(pixels, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), dtype=np.uint8)
    labels = np.array([classes.index(name) for name in names])
    samples = SimpleNamespace(images=images, labels=labels)
    return SimpleNamespace(classes=classes, samples=samples, rows=lambda split: np.arange(len(names)))


def test_the_price_of_8_bits_goes_by_the_names_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "quantise", lambda source, target, images: target.touch())
    monkeypatch.setattr(int8, "ExportedNetwork", lambda path: Knowing())
    classes = ("contempt", "sad", "happy", "angry")
    data = data_of(classes, ["happy", "sad", "contempt", "angry"])
    (tmp_path / "work").mkdir()
    path, smaller = tmp_path / "model.onnx", tmp_path / "work/model.onnx"
    price = int8.measured(path, smaller, data, 0.1)
    assert (price.before, price.after, price.images) == (1.0, 1.0, 3)
    with pytest.raises(FERError, match="no validation image is of the model's classes"):
        int8.measured(path, smaller, data_of(classes, ["contempt"]), 0.1)
