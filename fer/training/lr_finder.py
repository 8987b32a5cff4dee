"""The lr range test: a short training whose learning rate rises from step to step, to see where the loss falls fastest.

Lightning's finder gives every group of parameters one learning rate: a backbone's and a layer's share would be lost.

Source: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl

from fer.data.base import FERDataModule
from fer.display import cell
from fer.errors import TrainingError
from fer.plots import figures
from fer.plots.lr_range import lr_range_figure
from fer.plots.tables import WIDTH, fitted, tell
from fer.training.module import FERModule
from fer.training.preview import leave_no_run, trainer_of_steps

log = logging.getLogger(__name__)

_LOWEST, _HIGHEST, _STEPS = 1e-6, 10.0, 120
_SMOOTHING = 0.9  # share of the earlier steps in the average
_DIVERGED = 3.0  # the test ends where the average loss is so many times its lowest
_BURN_IN = 10  # first steps, whose average is of too few losses to end the test
_AROUND = 9  # steps over which the slope is averaged: single ones are noise
CONSTANT = {"_target_": "torch.optim.lr_scheduler.ConstantLR", "factor": 1.0, "interval": "epoch"}


class RangeTest(NamedTuple):
    """What a range test found.

    Attributes:
        rates: ``optimizer.lr`` of each step.
        losses: The step's loss.
        smoothed: An average of the losses so far, in which old ones count less and less.
        suggestion: Where the average fell fastest; None if it never fell.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None


class _Ramp(pl.Callback):
    """Raise the learning rate before each step, and end the training once the loss has left its lowest far behind."""

    def __init__(self, lr: float) -> None:
        self.lr = lr  # the config's: what groups of parameters have is a multiple of it, and stays one
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the groups' multiples."""
        self._shares = [group["lr"] / self.lr for group in trainer.optimizers[0].param_groups]

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        """Set the step's learning rate."""
        rate = _LOWEST * (_HIGHEST / _LOWEST) ** (len(self.rates) / (_STEPS - 1))
        self.rates.append(rate)
        for group, share in zip(trainer.optimizers[0].param_groups, self._shares, strict=True):
            group["lr"] = rate * share

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any) -> None:
        """Note the loss."""
        self.losses.append(float(outputs["loss"]))
        smoothed = _smoothed(self.losses)
        if len(smoothed) > _BURN_IN and not smoothed[-1] < _DIVERGED * min(smoothed):
            trainer.should_stop = True


def find(config: Mapping[str, Any], datamodule: FERDataModule, module: FERModule) -> RangeTest:
    """Run the test on training batches alone, on one device.

    Args:
        config: The resolved config.
        datamodule: The data.
        module: The network as it would be trained. Its weights are spent.
    """
    module.hparams["scheduler"] = dict(CONSTANT)
    ramp = _Ramp(float(config["optimizer"]["lr"]))
    trainer = trainer_of_steps(config, ramp, max_steps=_STEPS, max_epochs=-1, accumulate_grad_batches=1)
    try:
        trainer.fit(module, datamodule)
    except TrainingError:  # a loss that is no number: the rate is far too high, which ends the test as well
        if len(ramp.losses) <= _BURN_IN:
            raise
    losses = [loss for loss in ramp.losses if math.isfinite(loss)]
    smoothed = _smoothed(losses)
    return RangeTest(ramp.rates[: len(losses)], losses, smoothed, suggest(ramp.rates, smoothed))


def suggest(rates: Sequence[float], smoothed: Sequence[float]) -> float | None:
    """Return the learning rate at which the average loss fell fastest, on a logarithmic scale, before its lowest.

    Args:
        rates: The learning rate of each step.
        smoothed: The average loss after it.

    Returns:
        The rate; None if the loss hardly fell at all.
    """
    lowest = int(np.argmin(smoothed))
    if lowest < _BURN_IN + 2 or smoothed[_BURN_IN] - smoothed[lowest] < 0.01 * smoothed[_BURN_IN]:
        return None
    slopes = np.gradient(smoothed, np.log(rates[: len(smoothed)]))
    slopes = np.convolve(np.pad(slopes, _AROUND // 2, "edge"), np.full(_AROUND, 1 / _AROUND), "valid")
    return float(rates[_BURN_IN + int(np.argmin(slopes[_BURN_IN : lowest + 1]))])


def _smoothed(losses: Sequence[float]) -> list[float]:
    average, out = 0.0, []
    for number, loss in enumerate(losses, start=1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        out.append(average / (1 - _SMOOTHING**number))
    return out


def _warn(config: Mapping[str, Any]) -> None:
    """Warn of what the test does not do as the training would."""
    if (batches := config["trainer"]["accumulate_grad_batches"]) > 1:
        size = config["data"]["batch_size"]
        log.warning(
            "trainer.accumulate_grad_batches=%d: the test steps after each batch of %d images, whose gradients are "
            "noisier. Where memory allows: lr_find=true data.batch_size=%d trainer.accumulate_grad_batches=1",
            batches, size, batches * size,
        )  # fmt: skip
    if config["callbacks"].get("finetuning"):
        log.warning(
            "callbacks.finetuning: the test trains the whole network from the first step on. For the epochs of the "
            "head alone: lr_find=true model.freeze=true callbacks=[default]"
        )


def show(config: Mapping[str, Any], datamodule: FERDataModule, module: FERModule, folder: Path) -> None:
    """Write ``lr_finder.png``, and print the losses and a suggestion.

    Args:
        config: The resolved config.
        datamodule: The data.
        module: The network as it would be trained. Its weights are spent.
        folder: Where the picture goes. What makes it look like a run's is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _warn(config)
    found = find(config, datamodule, module)
    title = f"lr range test: {module.name} on {datamodule.name}"
    figure = lr_range_figure(found.rates, found.losses, found.smoothed, found.suggestion, title)
    figures.save(figure, folder / "lr_finder.png")
    every = range(0, len(found.rates), max(1, len(found.rates) // 12))
    rows = [[f"{found.rates[step]:.1e}", f"{found.smoothed[step]:.3f}"] for step in every]
    if found.suggestion is None:
        said = "no suggestion: the loss hardly fell. Is the batch large enough, and does the network learn at all?"
    else:
        said = (
            f"suggestion: optimizer.lr={found.suggestion:.1e}, where the loss fell fastest. A schedule that begins low "
            f"and falls again (onecycle, cosine with warm-up) often bears more."
        )
    picture = folder / "lr_finder.png"
    tell(*fitted(title, ["lr", "loss, smoothed"], rows, WIDTH), cell(said), cell(f"picture: {picture}"))
    leave_no_run(folder)
