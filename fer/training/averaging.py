"""A moving average of the weights, which is validated, kept and tested in their place."""

import logging
import math
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging

from fer.errors import ConfigError
from fer.training.module import FERModule

log = logging.getLogger(__name__)


class MovingAverage(EMAWeightAveraging):
    """Lightning's exponential moving average; until it begins, it is the current weights.

    Lightning's own is the weights of the run's beginning until then: those would be validated, kept and tested.

    Args:
        decay: The share of the average that each update keeps.
        update_every_n_steps: Optimiser steps from one update to the next.
        update_starting_at_step: The first step of which the weights count, from 0; None for the first one.
        use_buffers: Whether batch norm's statistics are averaged too.
        device: Where the average is kept; None for the network's own device.
    """

    def __init__(
        self,
        decay: float = 0.999,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
        use_buffers: bool = True,
        device: torch.device | str | int | None = None,
    ) -> None:
        # Not Lightning's update_starting_at_epoch: it changes the average between validation and checkpoint.
        super().__init__(device, use_buffers, decay, update_every_n_steps, update_starting_at_step)
        self.decay = decay

    @property
    def state_key(self) -> str:
        """The name of its state in a checkpoint: that of Lightning's own, which runs of earlier versions had."""
        return EMAWeightAveraging.__qualname__

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse an average that would not begin, and warn of one that stays close to where it began."""
        assert isinstance(pl_module, FERModule)
        steps = pl_module.total_steps()
        if steps is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        every = self.update_every_n_steps
        first = math.ceil((self.update_starting_at_step or 0) / every) * every
        if first >= steps:
            raise ConfigError(
                f"callbacks.ema.update_starting_at_step={self.update_starting_at_step}: the run has {steps} steps, so "
                f"the average would never begin. Say less (0: from the first step on), train longer, or leave ema out."
            )
        span = math.inf if self.decay == 1 else every / (1 - self.decay)
        if span > (steps - first) / 3 and trainer.is_global_zero:
            log.warning(
                "callbacks.ema.decay=%g averages over some %.0f steps, and the run has %d from where it begins: the "
                "first weights count for much to the end. A lower decay forgets them faster.",
                self.decay, span, steps - first,
            )  # fmt: skip

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the average."""
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the average."""
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End with the average."""
        self._follow(pl_module)
        super().on_train_end(trainer, pl_module)

    def _follow(self, pl_module: pl.LightningModule) -> None:
        average = self._average_model
        if average is not None and not average.n_averaged:
            average.module.load_state_dict(pl_module.state_dict())
