"""A run's folder and what is said about a run: opened, described, summed up."""

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from fer import __version__, environment
from fer.config.groups import flat
from fer.data.base import FERDataModule
from fer.data.samples import SPLITS
from fer.errors import ConfigError, FERError
from fer.files import run_lock, run_record
from fer.files.atomic import writing
from fer.framing import measure
from fer.framing.framing import Framing
from fer.scores.protocol import SELECTED_ON_TEST, TESTED_TWICE
from fer.scores.registry import reported
from fer.training.module import FERModule

log = logging.getLogger(__name__)

# What may differ between a run and its continuation without a word.
_OF_THE_COMMAND = ("ckpt", "output_dir", "trust")


def open_run(run: Path, config: Mapping[str, Any]) -> None:
    """Make a run's folder this process's own; a new run is written into it, a resumed one once it trains.

    Raises:
        ConfigError: If another process trains in the folder, or it holds another run.
        FERError: If the folder cannot be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"output_dir={run}: cannot be made: {error.strerror}. Choose another.") from error
    run_lock.hold(run)
    if config["ckpt"] is not None and run.resolve() in Path(config["ckpt"]).resolve().parents:
        return
    # Begun again before its first checkpoint: by resume=, or by a sweep, which has compared its job with this one.
    again = HydraConfig.get().output_subdir is None or HydraConfig.get().mode == RunMode.MULTIRUN
    if any((run / "checkpoints").glob("*.ckpt")) or (not again and (run / run_record.FILE).exists()):
        raise ConfigError(f"output_dir={run} already holds a run. Go on with it by resume={run}, or choose another.")
    (run / "environment.jsonl").unlink(missing_ok=True)
    _write(run, config)


class RecordResumed(pl.Callback):
    """Write into a resumed run's folder what it is from now on, once it trains: a refusal before leaves no trace.

    Args:
        run: The run's folder.
        config: The resolved config.
    """

    def __init__(self, run: Path, config: Mapping[str, Any]) -> None:
        self.run, self.config = run, config

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what the resumed run changes, and write it.

        Raises:
            FERError: If the folder cannot be written.
        """
        _say_changes(self.run / "config.yaml", self.config)
        _write(self.run, self.config)


def _write(run: Path, config: Mapping[str, Any]) -> None:
    """Write ``config.yaml``, ``run.yaml`` and a line of ``environment.jsonl``, which has one for each start."""
    with writing(run / "config.yaml") as file:
        yaml.safe_dump(run_record.absolute(config), file, sort_keys=False)
    run_record.write(run, run_record.of_this_command(config))
    (run / "error.txt").unlink(missing_ok=True)  # of a sweep's job that failed before
    with (run / "environment.jsonl").open("a") as file:
        file.write(json.dumps(environment.describe()) + "\n")


def _say_changes(path: Path, config: Mapping[str, Any]) -> None:
    try:
        before, now = flat(yaml.safe_load(path.read_text())), flat(run_record.absolute(config))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError):
        return  # half written by an earlier version that was killed; it is written anew
    for key in sorted({*before, *now} - {*_OF_THE_COMMAND}):
        if before.get(key) != now.get(key):
            log.warning("resumed with %s=%s; the run was started with %s", key, now.get(key), before.get(key))


def refuse_used(folder: Path, result: str) -> None:
    """Refuse a folder that already holds a result, so that nothing is overwritten.

    Raises:
        ConfigError: If ``result`` stands in the folder.
    """
    if (folder / result).exists():
        raise ConfigError(f"output_dir={folder} already holds {result}. Choose another folder: nothing is overwritten.")


def quieten(first: bool) -> None:
    """Silence what a user can do nothing about; in every process but the first, all but warnings."""
    for name in ("pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not first:
        logging.getLogger("fer").setLevel(logging.ERROR)
    for message in (
        r".*LeafSpec.*",  # Lightning 2.6 uses a name that torch 2.15 deprecates
        r".*does not have many workers.*",  # loaders without augmentation are fastest without workers
        r".*your dataloader is not resumable.*",  # it is: fer.data.sampling goes on in mid-epoch
        r".*smaller than the logging interval.*",  # epochs are logged whatever the interval
        r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run's own
        r".*in eval mode at the start of training.*",  # a frozen backbone is, on purpose
        r".*custom batch sampler.*for prediction.*",  # EvalBatches returns every sample once
    ):
        warnings.filterwarnings("ignore", message=message)


def describe(datamodule: FERDataModule, module: FERModule, trainer: pl.Trainer, run: Path) -> None:
    """Say what is about to be trained, on what, with what, and where it goes."""
    samples, size = datamodule.samples, module.preprocess
    stored = "x".join(str(side) for side in samples.images.shape[1:3])
    counts = ", ".join(f"{split} {len(datamodule.rows(split)):,}" for split in SPLITS)
    parameters = sum(p.numel() for p in module.net.parameters())
    trainable = sum(p.numel() for p in module.net.parameters() if p.requires_grad)
    frozen = "" if trainable == parameters else f", {trainable:,} of them trainable"
    name = getattr(module.net, "name", type(module.net).__name__)
    log.info("fer %s on %s", __version__, _device(trainer))
    log.info("data   %s: %s images of %s, classes %s", datamodule.name, counts, stored, ", ".join(module.classes))
    colour = "grey" if size.channels == 1 else "RGB"
    log.info(
        "model  %s: %s parameters%s, input %dx%d %s, fit=%s",
        name, f"{parameters:,}", frozen, size.image_size, size.image_size, colour, size.fit,
    )  # fmt: skip
    log.info("run    %s", run)


def measure_framing(datamodule: FERDataModule) -> Framing | None:
    """Measure how faces stand in the training images; say why where that cannot be."""
    try:
        found = measure.framing(datamodule.samples.images, datamodule.rows("train"), datamodule.fit)
    except FERError as error:  # the detector's package is missing
        log.info("faces  how they stand in the images is not measured: %s. To leave it out: framing=false", error)
        return None
    log.info("faces  %s", found or "too few were found in the images to say how they stand in them")
    return found


def _device(trainer: pl.Trainer) -> str:
    kind = trainer.strategy.root_device.type
    if kind == "cuda":
        kind = torch.cuda.get_device_name()
    cores = f", {torch.get_num_threads()} threads" if kind == "cpu" else ""
    return f"{trainer.world_size} x {kind}{cores}, precision {trainer.precision}"


def best(trainer: pl.Trainer) -> ModelCheckpoint:
    """Return the callback that kept the best checkpoint.

    Raises:
        ConfigError: If there is none, or it kept none.
    """
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            return callback
    raise ConfigError(
        "callbacks: no ModelCheckpoint kept a best checkpoint. It needs a monitor, the run an epoch with validation."
    )


def last(trainer: pl.Trainer) -> str:
    """Return the path of the last epoch's checkpoint; the best one's if none is kept."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and not callback.monitor and callback.best_model_path:
            return callback.best_model_path
    return best(trainer).best_model_path


def epoch_of(path: str) -> int:
    """Return the epoch, from 1, in which a checkpoint was written."""
    return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["epoch"]) + 1


def summary(
    config: Mapping[str, Any], checkpoint: ModelCheckpoint, trainer: pl.Trainer, last_epoch: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what ``metrics.json`` says beside the scores.

    Args:
        config: The resolved config.
        checkpoint: The callback that kept the best checkpoint.
        trainer: The trainer that fitted.
        last_epoch: The scores of the last epoch's weights, which nothing has chosen.
    """
    assert checkpoint.best_model_score is not None
    stamps = [SELECTED_ON_TEST] if config["data"]["select_on_test"] else []
    stamps += [TESTED_TWICE] if config["test_last_epoch"] else []
    return {
        "name": config["name"],
        "data": HydraConfig.get().runtime.choices.get("data"),
        "model": config["model"].get("name", HydraConfig.get().runtime.choices.get("model")),  # timm's own name
        "stamp": " ".join(stamps) or None,
        "monitor": checkpoint.monitor,
        "best_score": float(checkpoint.best_model_score),
        "best_epoch": epoch_of(checkpoint.best_model_path),
        "epochs": trainer.current_epoch,
        "last_epoch": {"epoch": trainer.current_epoch, **last_epoch},
        "tta": config["tta"],
        "checkpoint": str(checkpoint.best_model_path),
    }


def log_hparams(trainer: pl.Trainer, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    """Put the choices that runs differ by, and the final scores, into TensorBoard's HParams tab."""
    choices = HydraConfig.get().runtime.choices
    groups = ("model", "data", "transforms", "optimizer", "scheduler", "loss", "mixup", "experiment")
    values: dict[str, Any] = {group: str(choices.get(group)) for group in groups}
    values["callbacks"] = ",".join(name for name, node in config["callbacks"].items() if node)
    for group in ("model", "optimizer", "scheduler", "loss", "mixup"):
        values |= {f"{group}.{key}": value for key, value in flat(config[group]).items() if key != "_target_"}
    values |= {f"data.{key}": config["data"].get(key) for key in ("batch_size", "image_size", "sampler", "classes")}
    trainer_keys = ("max_epochs", "precision", "accumulate_grad_batches")
    values |= {f"trainer.{key}": config["trainer"][key] for key in trainer_keys}
    values["seed"] = config["seed"]
    values["selected_on"] = "test" if config["data"]["select_on_test"] else "val"
    # TensorBoard sorts by name and shows the first five: a space, which a page does not show, puts these in front.
    values = {f" {k}" if k in ("model", "optimizer", "optimizer.lr") else k: v for k, v in values.items()}
    values = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in values.items()}
    final = {
        f"final/{split}_{score}": metrics[split][score]
        for split in ("val", "test")
        if split in metrics
        for score in reported()
    }
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(values, final, step=trainer.current_epoch)
            logger.save()
