"""Checkpoints and run folders of earlier versions name classes by the places where they stood."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fer.build import locate
from fer.config.moved import MOVED, MOVED_CLASSES, all_current, current
from fer.files.run_record import data_of
from fer.training.checkpoint import AtomicCheckpointIO
from fer.training.module import FERModule


def test_every_new_place_exists_and_no_old_one() -> None:
    import importlib

    for old, new in MOVED.items():
        importlib.import_module(new)
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(old)
    for old, new in MOVED_CLASSES.items():
        for place, there in ((new, True), (old, False)):
            module, _, name = place.rpartition(".")
            assert hasattr(importlib.import_module(module), name) == there


def test_only_the_target_is_renamed() -> None:
    node = {"_target_": "fer.losses.FocalLoss", "gamma": 2.0}
    assert current(node) == {"_target_": "fer.training.losses.FocalLoss", "gamma": 2.0}
    assert locate(current(node)["_target_"], "loss").__name__ == "FocalLoss"
    for other in ({"_target_": "torch.nn.NLLLoss"}, {"_target_": 3}, {"gamma": 1}, None, [1], "fer.losses.FocalLoss"):
        assert current(other) == other


def test_a_whole_config_is_brought_up_to_date() -> None:
    old = {"callbacks": {"stop": {"_target_": "fer.callbacks.StopOnSignal"}, "off": None}, "monitor": "val/loss"}
    new = {
        "callbacks": {"stop": {"_target_": "fer.training.stopping.StopOnSignal"}, "off": None},
        "monitor": "val/loss",
    }
    assert all_current(old) == all_current(new) == new
    assert all_current({"parts": [{"_target_": "fer.losses.FocalLoss"}, 1]}) == {
        "parts": [{"_target_": "fer.training.losses.FocalLoss"}, 1]
    }


def test_a_run_of_an_earlier_version_is_read(train_here: Any, tmp_path: Path) -> None:
    run = train_here("loss=focal", "trainer.max_epochs=1", "data.num_samples=70", "model=emotion_net")
    path = run / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["loss"]["_target_"] = "fer.losses.FocalLoss"
    content["hyper_parameters"]["scheduler"]["_target_"] = "fer.optim.warmup_cosine"
    old = tmp_path / "old" / "checkpoints" / "best.ckpt"
    old.parent.mkdir(parents=True)
    AtomicCheckpointIO().save_checkpoint(content, old)
    config = (run / "config.yaml").read_text()
    assert "fer.datasets.synthetic" in config
    (old.parents[1] / "config.yaml").write_text(config.replace("fer.datasets.synthetic", "fer.data.synthetic"))
    assert type(FERModule.load_from_checkpoint(old).loss).__name__ == "FocalLoss"
    assert data_of(old)["_target_"] == "fer.datasets.synthetic.Synthetic"
