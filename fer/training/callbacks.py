"""What happens beside training: pictures for TensorBoard, the history table, a clean stop."""

import logging
import os
import signal
import threading
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn

from fer import compat
from fer.errors import ConfigError, FERError, Interrupted
from fer.files import history
from fer.files.atomic import if_possible, unwritable
from fer.models.checks import rehearsal
from fer.scores.protocol import SELECTED_ON_TEST
from fer.training import launch
from fer.training.module import FERModule

log = logging.getLogger(__name__)


class ConfusionMatrixPicture(pl.Callback):
    """Show each validation epoch's confusion matrix in TensorBoard."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the matrix that the module keeps."""
        assert isinstance(pl_module, FERModule)
        board = _board(trainer)
        if board is None or pl_module.val_confusion is None or trainer.sanity_checking:
            return
        from fer.plots.figures import confusion_figure  # matplotlib would delay the first step

        stamp = SELECTED_ON_TEST if trainer.datamodule.select_on_test else None  # type: ignore[attr-defined]
        title = f"{trainer.datamodule.name} val · epoch {trainer.current_epoch + 1}"  # type: ignore[attr-defined]
        figure = confusion_figure(pl_module.val_confusion.cpu().numpy(), pl_module.classes, title, stamp)
        board.add_figure("val/confusion", figure, trainer.global_step)


class SampleGrid(pl.Callback):
    """Show the first training batch as the network sees it: after augmentation, with its labels.

    Args:
        num_images: At most this many images.
    """

    def __init__(self, num_images: int = 40) -> None:
        self.num_images = num_images
        self._drawn = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Draw the grid once, after the run's first step."""
        board = _board(trainer)
        if trainer.current_epoch > 0 or self._drawn or board is None:
            return
        self._drawn = True
        from fer.plots.figures import sample_figure

        assert isinstance(pl_module, FERModule)
        n = self.num_images
        figure = sample_figure(batch["image"][:n].cpu().numpy(), batch["label"][:n].tolist(), pl_module.classes)
        board.add_figure("train/samples", figure, 0)


class ProgressiveResizing(pl.Callback):
    """Train on smaller images first, which is faster, and on the network's own size in the end.

    Validation and the checkpoint always use the network's own size, so the network must take any (global pooling).
    Source: Howard, "Training Imagenet in 3 hours for USD 25", fast.ai 2018.

    Args:
        image_size: Side of the smaller training images in pixels.
        share: Share of the epochs that they are used for, from the first on.
    """

    def __init__(self, image_size: int, share: float = 0.5) -> None:
        self.image_size, self.share = image_size, share

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a network that takes one size alone."""
        assert isinstance(pl_module, FERModule)
        if trainer.datamodule.features is not None:  # type: ignore[attr-defined]
            raise ConfigError("callbacks.progressive_resizing: a frozen backbone's cached features have one size.")
        shape = (2, pl_module.preprocess.channels, self.image_size, self.image_size)
        try:
            with rehearsal(pl_module.net), torch.no_grad():
                pl_module.net(torch.zeros(shape, device=pl_module.device).to(pl_module.dtype))
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"callbacks.progressive_resizing: {type(pl_module.net).__name__} does not take images of another size "
                f"({self.image_size}x{self.image_size}) than it was built for; it needs global pooling ({error})."
            ) from error

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the size of an epoch that is gone on with: Lightning does not start it again."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the epoch's size."""
        assert isinstance(pl_module, FERModule)
        small = trainer.current_epoch < self.share * (trainer.max_epochs or 1)
        pl_module.train_size = self.image_size if small else None


class GradualUnfreezing(pl.Callback):
    """Train the head alone first, and the backbone with it from an epoch on.

    In place of Lightning's BackboneFinetuning, which adds the backbone's parameters to the optimiser in mid-run:
    torch's schedules refuse that, and a run resumed after that epoch would train with the backbone frozen. Here the
    parameters are in the optimiser from the start, and an epoch's number alone says whether they are trained. How
    fast is ``optimizer.backbone_lr_factor``.

    Args:
        epoch: The number of epochs that train the head alone.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse what cannot be unfrozen."""
        backbone = getattr(pl_module.net, "backbone", None)
        if backbone is None or not any(p.requires_grad for p in backbone.parameters()):
            raise ConfigError(
                f"callbacks.finetuning: {type(pl_module.net).__name__} has no backbone to unfreeze, or model.freeze "
                f"keeps it frozen for good."
            )
        if trainer.world_size > 1:
            raise ConfigError("callbacks.finetuning: works on one device; DDP cannot take parameters in later.")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze in an epoch that is gone on with: Lightning does not start it again."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze or unfreeze the backbone, its batch-norm statistics and dropout too."""
        backbone = cast(nn.Module, cast(FERModule, pl_module).net.backbone)
        trained = trainer.current_epoch >= self.epoch
        backbone.requires_grad_(trained)
        backbone.train(trained)


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
        if launch.is_child():  # the first process speaks for all
            return
        import optuna  # of the `sweep` extra

        pruner = optuna.pruners.MedianPruner(startup_trials, warmup_epochs)
        database = optuna.storages.get_storage(storage)
        study = optuna.load_study(study_name=study_name, storage=database, pruner=pruner)
        # The sweeper keeps the trial to itself; it is the one that runs with this job's overrides.
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
            trainer.should_stop = True


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
        """Save and stop between two steps; after an epoch's last step its validation comes first."""
        # Not between the batches of one accumulated step: their gradients are in no checkpoint.
        between_steps = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if between_steps and not trainer.is_last_batch and self._asked(trainer):
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt")
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop between two epochs; the last one's checkpoint is written."""
        if self._asked(trainer):
            self._stop(trainer)

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


class EventLogger(TensorBoardLogger):
    """TensorBoard's events, without the card of epoch numbers that Lightning adds to everything.

    Pictures of a run must not end it: once they cannot be written, they are left out.
    """

    _failed = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write the scores."""
        with self._if_possible():
            super().log_metrics({key: value for key, value in metrics.items() if key != "epoch"}, step)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Write choices and final scores."""
        with self._if_possible():
            super().log_hyperparams(*args, **kwargs)

    @rank_zero_only
    def add_figure(self, tag: str, figure: Any, step: int) -> None:
        """Write a picture."""
        with self._if_possible():
            self.experiment.add_figure(tag, figure, step)

    @rank_zero_only
    def save(self) -> None:
        """Write what is buffered."""
        with self._if_possible():
            super().save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file."""
        with self._if_possible():
            super().finalize(status)

    @contextmanager
    def _if_possible(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._failed:  # its writer repeats the first error at each call
                log.warning("%s Training goes on without.", unwritable(f"{self.save_dir}/events.out.tfevents.*", error))
            self._failed = True


class HistoryLogger(Logger):
    """Write ``history.csv``: a row an epoch (from 1), with the scores of training and validation and the learning rate.

    After a stop within an epoch, that epoch's training scores are of the steps since then.

    A logger rather than a callback, because a logger is handed an epoch's training scores too, once all are known.

    Args:
        path: The csv file. A resumed run goes on with the rows that are there.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        try:
            self.rows = history.read_rows(self.path) if self.path.exists() else {}
        except (OSError, ValueError) as error:
            raise FERError(
                f"{self.path}: cannot be continued ({error}). Move it away; the checkpoint holds its rows."
            ) from error

    @property
    def name(self) -> str:
        """The logger's name."""
        return "history"

    @property
    def version(self) -> str:
        """The logger's version: none."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Hyper-parameters stand in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add an epoch's scores to its row and write the table; single steps are TensorBoard's."""
        values = {k: float(v) for k, v in metrics.items() if k != "epoch" and not k.endswith("_step")}
        if "epoch" not in metrics or not any(k.startswith(("train/", "val/")) for k in values):
            return
        epoch = int(metrics["epoch"]) + 1
        # Later rows are of the run that was killed before it could save their epoch.
        self.rows = {number: row for number, row in self.rows.items() if number <= epoch}
        self.rows.setdefault(epoch, {}).update({"step": float(step or 0), **values})
        # In memory the rows stay: once there is room again, the next epoch writes them all.
        with if_possible(self.path):
            history.write(self.path, self.rows)


class KeepHistory(pl.Callback):
    """Keep the rows of ``history.csv`` in each checkpoint too, and go on with those.

    Lightning logs an epoch's training scores after the epoch's checkpoint is written: a run killed between the two
    would lack them for good. So the checkpoint of an epoch's end carries them, and the table has them before it.

    Args:
        history: The table's logger; None where the run has none.
    """

    def __init__(self, history: HistoryLogger | None) -> None:
        self.history = history
        self._ended = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """An epoch's scores are not known yet."""
        self._ended = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on they are; the epoch's checkpoints come after this."""
        self._ended = True

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the rows, that of an epoch which has ended among them."""
        if self._ended:  # as Lightning is about to, and in every process: the scores may have to be gathered
            # Those of validation stand in the table already, of the epochs that have some.
            logged = trainer.logged_metrics
            if self.history is not None:
                scores = {key: float(logged[key]) for key in logged if key.startswith("train/") or key == "lr"}
                self.history.log_metrics({**scores, "epoch": trainer.current_epoch}, trainer.global_step - 1)
        if self.history is not None:
            checkpoint["history"] = {epoch: dict(row) for epoch, row in self.history.rows.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with the checkpoint's rows; one of an older run has none, and those of the table stay."""
        rows = checkpoint.get("history")
        if self.history is not None and isinstance(rows, dict):
            self.history.rows = {int(epoch): {str(k): float(v) for k, v in row.items()} for epoch, row in rows.items()}


def _board(trainer: pl.Trainer) -> EventLogger | None:
    """Return TensorBoard's logger, or None where there is none (no logger, or not the first process)."""
    if not trainer.is_global_zero:
        return None
    return next((logger for logger in trainer.loggers if isinstance(logger, EventLogger)), None)
