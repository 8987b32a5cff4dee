"""Callbacks that end a training early, for want of progress, as a sweep's poor trial, or on a signal, and a scoring."""

import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from pytorch_lightning.callbacks import EarlyStopping as LightningsEarlyStopping
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from fer import compat
from fer.errors import Interrupted, ScoringInterrupted
from fer.training import launch

log = logging.getLogger(__name__)


class EarlyStopping(LightningsEarlyStopping):
    """Lightning's, for runs that go on: what they are given counts, and what was decided stays so.

    Lightning's own takes ``patience`` from the checkpoint, and trains on where a run was killed after its last epoch.

    Args:
        monitor: The score that is watched.
        check_on_train_epoch_end: Whether it is looked at after each epoch, or each validation; None for the latter
            if it is a validation score: an epoch that ``trainer.max_steps`` cuts has none of its own.
        **options: Lightning's other options.
    """

    def __init__(self, monitor: str, check_on_train_epoch_end: bool | None = None, **options: Any) -> None:
        if check_on_train_epoch_end is None:
            check_on_train_epoch_end = not monitor.startswith("val/")
        super().__init__(monitor, check_on_train_epoch_end=check_on_train_epoch_end, **options)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score and how long ago it was."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End at once where the last epoch was the last one of patience."""
        if 0 < self.wait_count >= self.patience:
            log.info("early stopping had ended this run; more patience than %d goes on with it.", self.patience)
            trainer.should_stop = True


class OptunaPruning(pl.Callback):
    """End a trial of an Optuna sweep early when its score is worse than the median of the trials before it.

    The run ends as if by early stopping: its best checkpoint is scored, and its score goes to the study.

    Args:
        monitor: The score that the sweep is after.
        storage: The study's database (``hydra.sweeper.storage``).
        study_name: The study's name (``hydra.sweeper.study_name``).
        startup_trials: Trials that run to their end before any is pruned.
        warmup_epochs: Epochs of a trial before it can be pruned.
    """

    def __init__(
        self, monitor: str, storage: str, study_name: str, startup_trials: int = 4, warmup_epochs: int = 2
    ) -> None:
        self.monitor = monitor
        self.trial: Any = None
        self.pruned = False
        if launch.is_child():  # the first process speaks for all
            return
        import optuna  # of the `sweep` extra

        pruner = optuna.pruners.MedianPruner(startup_trials, warmup_epochs)
        database = optuna.storages.get_storage(storage)
        study = optuna.load_study(study_name=study_name, storage=database, pruner=pruner)
        # The sweeper does not hand the trial on: it is found as the running one with this job's overrides.
        chosen = set(HydraConfig.get().overrides.task)
        running = [t for t in study.get_trials(deepcopy=False) if t.state == optuna.trial.TrialState.RUNNING]
        mine = [t for t in running if {f"{key}={value}" for key, value in t.params.items()} <= chosen]
        self.trial = compat.optuna_trial(study, study_name, database, mine[-1].number) if mine else None
        if self.trial is None:
            log.warning("callbacks.pruning: this job is no running trial of study '%s'; it is not pruned.", study_name)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the epoch's score, and end the run if it is a poor one."""
        if trainer.sanity_checking:
            return
        poor = False
        if self.trial is not None:
            self.trial.report(float(trainer.callback_metrics[self.monitor]), trainer.current_epoch)
            poor = self.trial.should_prune()
        if trainer.strategy.broadcast(poor):  # all processes end together, or some would wait for the others for ever
            log.info(
                "pruned after epoch %d: %s is worse than the median of earlier trials",
                trainer.current_epoch + 1, self.monitor,
            )  # fmt: skip
            self.pruned = trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Keep what was decided, for a run that is killed before its scores are written."""
        return {"pruned": self.pruned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up."""
        self.pruned = state_dict["pruned"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End at once where the trial was pruned, unless it is trained on outside its sweep."""
        if trainer.strategy.broadcast(self.pruned and self.trial is not None):
            trainer.should_stop = True


class EndScoringOnSignal(pl.Callback):
    """On Ctrl-C or SIGTERM, end a scoring at once: Lightning's trainer would end without a word, or go on."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Catch the signals."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, _end_scoring)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the handlers back that stood before."""
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Put the handlers back that stood before."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _end_scoring(number: int, frame: Any) -> None:
    raise ScoringInterrupted(number)


class StopOnSignal(pl.Callback):
    """On Ctrl-C or SIGTERM, finish the step, write ``last.ckpt`` and end; a second signal ends at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Catch the signals."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._catch)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Put the handlers back that stood before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _catch(self, number: int, frame: Any) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Save and stop between two steps; where a validation is due after a step, it comes first."""
        # Not between the batches of one accumulated step: their gradients are in no checkpoint.
        between_steps = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        due = trainer.is_last_batch or _validation_is_due(trainer, batch_idx)
        if between_steps and not due and self._asked(trainer):
            trainer.save_checkpoint(_last(trainer))
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop between two epochs, if the last one's checkpoint is written; else after the next step."""
        steps_before_the_end = trainer.num_training_batches > trainer.accumulate_grad_batches
        if self._asked(trainer) and (_keeps_last(trainer) or not steps_before_the_end):
            self._stop(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove what an earlier stop saved, where no later ``last.ckpt`` has replaced it (``callbacks.last=null``)."""
        if trainer.is_global_zero and not _keeps_last(trainer):
            _last(trainer).unlink(missing_ok=True)

    def _asked(self, trainer: pl.Trainer) -> bool:
        here = self.signal is not None
        if trainer.world_size == 1:
            return here
        # Every process must stop at the same step, whichever one was signalled.
        return trainer.strategy.reduce_boolean_decision(here, all=False)

    def _stop(self, trainer: pl.Trainer) -> None:
        raise Interrupted(
            self.signal or signal.SIGTERM,
            trainer.current_epoch + 1,
            trainer.global_step,
            Path(trainer.default_root_dir),
        )


def _last(trainer: pl.Trainer) -> Path:
    return Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"


def _keeps_last(trainer: pl.Trainer) -> bool:
    """Say whether each epoch ends with a ``last.ckpt``."""
    return any(isinstance(one, ModelCheckpoint) and one.filename == "last" for one in trainer.checkpoint_callbacks)


def _validation_is_due(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Say whether a validation follows this batch within the epoch (``trainer.val_check_interval``)."""
    every = trainer.val_check_batch
    if not trainer.enable_validation or every is None:
        return False
    over_epochs = trainer.check_val_every_n_epoch is None  # the batches are then counted on from epoch to epoch
    batch = trainer.fit_loop.epoch_loop.total_batch_idx if over_epochs else batch_idx
    return (batch + 1) % every == 0
