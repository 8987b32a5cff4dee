"""Experiment trackers: what TensorBoard, Weights & Biases and MLflow are told beside the scores of each epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from fer.training.loggers import EventLogger

_WITH_FIGURES = (EventLogger, WandbLogger, MLFlowLogger)


class RunOfMLflow(MLFlowLogger):
    """MLflow's logger, which goes on with its run when the training is resumed.

    Args:
        save_dir: The run's folder; the id of MLflow's run is kept in it.
        experiment_name: MLflow's experiment.
        run_name: The run's name in it.
        tracking_uri: A server's address, or ``sqlite:///<file>``.
        artifact_location: Where the figures and files of a new experiment go; None for where MLflow puts them.
    """

    def __init__(
        self,
        save_dir: str,
        experiment_name: str,
        run_name: str,
        tracking_uri: str,
        artifact_location: str | None = None,
    ) -> None:
        self._kept = Path(save_dir) / "mlflow_run_id.txt"
        if tracking_uri.startswith("sqlite:///"):
            Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(
            experiment_name, run_name, tracking_uri, artifact_location=artifact_location,
            run_id=self._kept.read_text().strip() if self._kept.exists() else None,
        )  # fmt: skip

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write the scores, and once which of MLflow's runs they are in."""
        super().log_metrics(metrics, step)
        if not self._kept.exists():
            self._kept.write_text(f"{self.run_id}\n")


def shows_figures(trainer: pl.Trainer) -> bool:
    """Say whether a figure would be seen: in the first process, by a logger that shows some."""
    return trainer.is_global_zero and any(isinstance(logger, _WITH_FIGURES) for logger in trainer.loggers)


def add_figure(trainer: pl.Trainer, tag: str, figure: Any, step: int) -> None:
    """Hand a figure to every logger that shows some.

    Args:
        trainer: The run's.
        tag: Its name, such as ``val/confusion``.
        figure: A matplotlib figure.
        step: The training's step.
    """
    for logger in trainer.loggers:
        if isinstance(logger, EventLogger):
            logger.add_figure(tag, figure, step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [figure], step=step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_figure(logger.run_id, figure, f"{tag}/step_{step:06}.png")


def tell_final(
    trainer: pl.Trainer,
    choices: Mapping[str, bool | int | float | str],
    scores: Mapping[str, float],
    files: Sequence[Path],
) -> None:
    """Tell every logger how a run ended, and close those that stay open until then.

    Args:
        trainer: The run's.
        choices: What runs differ by.
        scores: The final scores.
        files: What goes along where a logger takes files; those that do not exist are left out.
    """
    files = [file for file in files if file.is_file()]
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            # It sorts by name and shows the first five: a space, which a page does not show, puts these in front.
            first = {f" {k}" if k in ("model", "optimizer", "optimizer.lr") else k: v for k, v in choices.items()}
            logger.log_hyperparams(first, dict(scores), step=trainer.current_epoch)
            logger.save()
        elif isinstance(logger, WandbLogger):
            logger.log_hyperparams(dict(choices))
            logger.experiment.summary.update(dict(scores))
            for file in files:
                logger.experiment.save(str(file), base_path=str(file.parent), policy="now")
            logger.experiment.finish()  # or the next job of a sweep would go on with this run
        elif isinstance(logger, MLFlowLogger):
            # A resumed run's were told before, and MLflow takes no other value for one: what has changed is a tag.
            known = logger.experiment.get_run(logger.run_id).data.params
            logger.log_hyperparams({key: value for key, value in choices.items() if key not in known})
            for key, value in choices.items():
                if known.get(key, str(value)) != str(value):
                    logger.experiment.set_tag(logger.run_id, f"resumed.{key}", value)
            for name, value in scores.items():
                logger.experiment.log_metric(logger.run_id, name, value)
            for file in files:
                logger.experiment.log_artifact(logger.run_id, str(file))
        else:
            logger.log_hyperparams(dict(choices))
