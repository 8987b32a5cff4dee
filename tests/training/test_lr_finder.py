"""``lr_find=true``: a rising learning rate, a picture and a suggestion, and no run."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image

from fer.training.lr_finder import _Ramp, suggest


def test_the_steepest_descent_is_suggested() -> None:
    rates = np.geomspace(1e-6, 10, 120)
    falling = 2 - 1 / (1 + np.exp(-3 * (np.log(rates) - np.log(3e-3))))  # a step down around 3e-3
    losses = np.where(rates < 0.3, falling, falling + rates)
    suggestion = suggest(rates.tolist(), losses.tolist())
    assert suggestion == pytest.approx(3e-3, rel=0.2)
    assert suggest(rates.tolist(), np.linspace(2, 3, 120).tolist()) is None
    assert suggest(rates.tolist(), (2 + 1e-3 * np.sin(rates)).tolist()) is None


def test_groups_keep_their_share() -> None:
    optimizer = SimpleNamespace(param_groups=[{"lr": 1e-2}, {"lr": 1e-3}])
    trainer = cast(Any, SimpleNamespace(optimizers=[optimizer], should_stop=False))
    module = cast(Any, None)
    ramp = _Ramp(1e-2)
    ramp.on_train_start(trainer, module)
    for loss in (*[2.0] * 12, float("nan")):
        ramp.on_train_batch_start(trainer, module, None, 0)
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert first == pytest.approx(10 * second)
        assert not trainer.should_stop
        ramp.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, None, 0)
    assert trainer.should_stop  # of a loss that is no number
    assert ramp.rates[0] == pytest.approx(1e-6)
    assert ramp.rates == sorted(ramp.rates)


@pytest.mark.parametrize("options", [("scheduler=onecycle", "mixup=both"), ("scheduler=plateau", "optimizer=sgd")])
def test_a_test_leaves_a_picture_and_no_run(
    train_here: Callable[..., Path], capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    before = torch.get_num_threads()
    folder = train_here(*TINY, *options, "data.image_size=24", "lr_find=true")
    out = capsys.readouterr().out
    assert "callbacks.finetuning" not in out
    assert "accumulate" not in out
    assert "lr range test: SimpleConv on synthetic" in out
    found = re.search(r"suggestion: optimizer\.lr=(\S+),", out)
    assert found, out
    assert 1e-5 < float(found[1]) < 5
    with Image.open(folder / "lr_finder.png") as picture:
        assert picture.width > 900
    assert {path.name for path in folder.iterdir()} <= {"lr_finder.png", "train.log"}
    assert torch.get_num_threads() == before
    for wrong in ("preview=true", "ckpt=x.ckpt"):
        with pytest.raises(SystemExit):
            train_here(*TINY, "lr_find=true", wrong)


def test_what_a_test_does_otherwise_than_the_training_is_said(train_here: Callable[..., Path]) -> None:
    model = ("model=timm", "model.name=test_resnet", "data.image_size=24")
    more = ("callbacks=[default,finetuning]", "trainer.accumulate_grad_batches=4", "lr_find=true")
    folder = train_here(*TINY, *model, *more)
    said = (folder / "train.log").read_text()
    assert "the test steps after each batch of 32 images" in said
    assert "lr_find=true data.batch_size=128 trainer.accumulate_grad_batches=1" in said
    assert "lr_find=true model.freeze=true callbacks=[default]" in said
