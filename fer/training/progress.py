"""How far a training or a scoring is: a bar on a terminal, and a line an epoch in the log."""

import logging
import math
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from fer.progress import bar, clock
from fer.training.estimate import Estimate

log = logging.getLogger(__name__)


class RunProgress(pl.Callback):
    """One bar over all epochs, with the time that the whole run still takes, and a line an epoch in the log.

    After 20 steps it says how long all will take (:class:`fer.training.estimate.Estimate`).

    Args:
        show_bar: False for the lines alone.
    """

    def __init__(self, show_bar: bool = True) -> None:
        self.show_bar = show_bar
        self._bar: Any = None
        self._begun = self._epoch_begun = self._looked = 0.0
        self._epochs = self._first = 0  # planned; done by earlier starts
        self._estimate = Estimate()
        self._running: int | None = None  # the epoch, from 1, whose line is still to come
        self._validated = False  # in that epoch

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        self._begun, self._first = time.monotonic(), trainer.current_epoch
        self._epochs = planned_epochs(trainer)
        if not trainer.is_global_zero or not self.show_bar:
            return
        batches = int(trainer.num_training_batches)
        if not math.isinf(sum(trainer.num_val_batches)):
            batches += int(sum(trainer.num_val_batches)) // (trainer.check_val_every_n_epoch or 1)
        self._bar = bar(self._name(trainer), self._epochs * batches or None, done=trainer.current_epoch * batches)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the last epoch went: only now are its training scores known."""
        self._say(trainer)
        self._running, self._epoch_begun = trainer.current_epoch + 1, time.monotonic()
        if self._bar is not None:
            self._bar.set_description_str(self._name(trainer))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        """Go on by a step; after the first ones, say how long it all takes."""
        self._estimate.step(trainer, pl_module, self._epochs)
        if self._bar is None or self._bar.disable:
            return
        if time.monotonic() - self._looked > 0.5:  # on a GPU the look costs a synchronisation
            self._looked = time.monotonic()
            loss = outputs["loss"] if isinstance(outputs, dict) else outputs
            whole = float(loss) * trainer.accumulate_grad_batches  # Lightning has divided it
            self._bar.set_postfix_str(f"loss {whole:.3f}", refresh=False)
        self._bar.update()

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Go on by a batch."""
        if self._bar is not None and not trainer.sanity_checking:
            self._bar.update()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that the epoch has validation scores of its own."""
        self._validated = not trainer.sanity_checking

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the last epoch went, and take the bar away."""
        self._say(trainer)
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the bar away, so that the message stands by itself."""
        self._close()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the bar away."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _name(self, trainer: pl.Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1}" + (f"/{self._epochs}" if self._epochs else "")

    def _say(self, trainer: pl.Trainer) -> None:
        epoch, self._running = self._running, None
        validated, self._validated = self._validated, False
        if epoch is None or not trainer.is_global_zero:
            return
        known = trainer.callback_metrics.items()  # of an epoch without validation, the validation before it
        scores = {key: float(value) for key, value in known if validated or not key.startswith("val/")}
        # Shorter than the registry's names: a line with its time fits 80 columns.
        shown = {"train/loss": "loss", "val/loss": "val loss", "val/accuracy": "acc", "val/f1_macro": "F1"}
        values = [f"{name} {scores[key]:.3f}" for key, name in shown.items() if key in scores]
        now = time.monotonic()
        times = clock(now - self._epoch_begun)
        if self._epochs > epoch:
            times += f", {clock((now - self._begun) / (epoch - self._first) * (self._epochs - epoch))} left"
        width = len(str(self._epochs))
        of = f"/{self._epochs}" if self._epochs else ""
        with tqdm.external_write_mode():  # the bar makes room
            log.info("epoch %*d%s  %s  (%s)", width, epoch, of, "  ".join(values), times)


def planned_epochs(trainer: pl.Trainer) -> int:
    """Return how many epochs the run is to have; 0 if nothing says so."""
    epochs = max(trainer.max_epochs or 0, 0)
    if trainer.max_steps > 0:
        steps = math.ceil(int(trainer.num_training_batches) / trainer.accumulate_grad_batches)
        by_steps = math.ceil(trainer.max_steps / max(steps, 1))
        epochs = min(epochs, by_steps) if epochs else by_steps
    return epochs


class ScoringProgress(pl.Callback):
    """A bar while a split is scored.

    Args:
        show_bar: False for none.

    Attributes:
        what: What the bar says.
        rounds: How many times the split is scored, one after the other, under one bar.
    """

    def __init__(self, show_bar: bool = True) -> None:
        self.show_bar = show_bar
        self.what, self.rounds = "scoring", 1
        self._bar: Any = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        if not self.show_bar:
            return
        if self._bar is None:
            self._bar = bar(self.what, self.rounds * int(sum(trainer.num_predict_batches)))
        self._bar.set_description_str(self.what)

    def on_predict_batch_end(self, *_: Any) -> None:
        """Go on by a batch."""
        if self._bar is not None:
            self._bar.update()

    def on_predict_end(self, *_: Any) -> None:
        """Take the bar away, after the last round."""
        self.rounds -= 1
        if self.rounds < 1:
            self._close()

    def on_exception(self, *_: Any) -> None:
        """Take the bar away, so that the message stands by itself."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self.rounds = None, 1
