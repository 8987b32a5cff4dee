"""The moving average of the weights: what it is before it begins, and when it is refused."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from conftest import TINY

Train = Callable[..., Path]
EMA = ("callbacks=[default,ema]", "callbacks.ema.decay=0.5")


class KeepFirst(pl.Callback):
    """Keeps the first epoch's checkpoint."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "first.ckpt")


def losses(run: Path) -> list[str]:
    with (run / "history.csv").open() as file:
        return [row["val/loss"] for row in csv.DictReader(file)]


def test_until_it_begins_the_current_weights_are_validated_and_kept(train_here: Train) -> None:
    keep = "+callbacks.keep._target_=test_averaging.KeepFirst"
    plain = train_here(*TINY, keep, name="plain")
    run = train_here(*TINY, *EMA, "callbacks.ema.update_starting_at_step=9", keep, name="averaged")
    assert losses(run)[0] == losses(plain)[0]
    assert losses(run)[1] != losses(plain)[1]  # it has begun
    first = torch.load(run / "first.ckpt", weights_only=True)
    there = torch.load(plain / "first.ckpt", weights_only=True)["state_dict"]
    for key, value in there.items():
        assert torch.equal(first["state_dict"][key], value), key
        assert torch.equal(first["current_model_state"][key], value), key


def test_it_does_not_change_between_validation_and_checkpoint(
    train_here: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train_here(*TINY, *EMA, "+callbacks.ema.update_starting_at_epoch=0")
    assert "update_starting_at_epoch" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("option", "steps"), [("callbacks.ema.update_starting_at_step=100", 12), ("trainer.max_steps=8", 8)]
)
def test_one_that_would_not_begin_is_refused(
    train_here: Train, capfd: pytest.CaptureFixture[str], option: str, steps: int
) -> None:
    with pytest.raises(SystemExit):
        train_here(*TINY, *EMA, "callbacks.ema.update_starting_at_step=9", option)
    said = capfd.readouterr().err
    assert f"the run has {steps} steps, so the average would never begin. Say less" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("decay", "warned"), [("0.5", False), ("0.9", True), ("1", True)])
def test_a_slow_one_is_warned_of(train_here: Train, decay: str, warned: bool) -> None:
    run = train_here(*TINY, *EMA, f"callbacks.ema.decay={decay}")
    said = (run / "train.log").read_text()
    assert said.count(f"callbacks.ema.decay={decay} averages over some") == warned
