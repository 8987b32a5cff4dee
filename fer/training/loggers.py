"""What a training writes down as it goes: TensorBoard's events and ``history.csv``."""

import logging
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from fer.errors import FERError
from fer.files import history
from fer.files.atomic import if_possible, unwritable

log = logging.getLogger(__name__)


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
        if self._ended:  # as Lightning will do next; in every process: the scores may have to be gathered
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
