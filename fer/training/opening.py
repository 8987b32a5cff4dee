"""The start of a run: its folder is made this process's own, and what is about to be trained is said."""

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from fer import __version__, environment
from fer.config.groups import flat
from fer.data.base import FERDataModule
from fer.data.samples import SPLITS
from fer.errors import ConfigError, FERError
from fer.files import run_folder, run_lock, run_record
from fer.training import precision, states
from fer.training.module import FERModule

log = logging.getLogger(__name__)

# What may differ between a run and its continuation without a word.
_OF_THE_COMMAND = ("ckpt", "output_dir", "trust")


def open_run(run: Path, config: Mapping[str, Any], parent: Mapping[str, Any] | None = None) -> None:
    """Make a run's folder this process's own; a new run is written into it, a resumed one once it trains.

    Args:
        run: The run's folder.
        config: The resolved config.
        parent: What is known of the model that the run begins with, see :mod:`fer.training.parent`; None from scratch.

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
    # A run without a checkpoint may be begun again: by resume=, or by a sweep, which has compared its job with it.
    again = HydraConfig.get().output_subdir is None or HydraConfig.get().mode == RunMode.MULTIRUN
    if any((run / "checkpoints").glob("*.ckpt")) or (not again and (run / run_record.FILE).exists()):
        raise ConfigError(
            f"output_dir={run} already holds a run. Go on with it by resume={shlex.quote(str(run))}, or choose another."
        )
    (run / run_folder.ENVIRONMENT).unlink(missing_ok=True)
    began_with = {} if parent is None else {"parent": dict(parent)}
    run_folder.write(run, config, environment.describe() | began_with)


class RecordResumed(pl.Callback):
    """Write into a resumed run's folder what it is from now on, once it trains: a refusal before leaves no trace.

    Args:
        run: The run's folder.
        config: The resolved config.
    """

    def __init__(self, run: Path, config: Mapping[str, Any]) -> None:
        self.run, self.config = run, config
        self._checkpoint: Mapping[str, Any] | None = None

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the checkpoint until there are optimisers to compare its states with."""
        self._checkpoint = checkpoint

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the checkpoint's states with the run's own, before any is taken up.

        Raises:
            FERError: If they do not fit.
        """
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint is None:  # of sharded weights (FSDP), which are taken up later
            return
        try:
            states.check(checkpoint, trainer, self.config["optimizer"])
        except ConfigError as error:
            path = self.config["ckpt"]
            raise FERError(
                f"ckpt={path}: cannot be gone on from: {error}. Its weights can be tested: python -m fer.test "
                f"ckpt={path}"
            ) from error

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what the resumed run changes, and write it.

        Raises:
            FERError: If the folder cannot be written.
        """
        _say_changes(self.run, self.config)
        run_folder.write(self.run, self.config, environment.describe())


def _say_changes(run: Path, config: Mapping[str, Any]) -> None:
    if not (run / run_folder.CONFIG).exists():
        return
    try:
        before, now = flat(run_folder.read_config(run)), flat(run_record.absolute(config))
    except (OSError, ValueError):
        return  # half written by an earlier version that was killed; it is written anew
    for key in sorted({*before, *now} - {*_OF_THE_COMMAND}):
        if before.get(key) != now.get(key):
            log.warning("resumed with %s=%s; the run was started with %s", key, now.get(key), before.get(key))


def describe(datamodule: FERDataModule, module: FERModule, trainer: pl.Trainer, run: Path) -> None:
    """Say what is about to be trained, on what, with what, and where it goes."""
    samples, size = datamodule.samples, module.preprocess
    stored = "x".join(str(side) for side in samples.images.shape[1:3])
    counts = ", ".join(f"{split} {len(datamodule.rows(split)):,}" for split in SPLITS)
    parameters = sum(p.numel() for p in module.net.parameters())
    trainable = sum(p.numel() for p in module.net.parameters() if p.requires_grad)
    frozen = "" if trainable == parameters else f", {trainable:,} of them trainable"
    name = module.name
    log.info("fer %s on %s", __version__, _device(trainer))
    log.info("data   %s: %s images of %s, classes %s", datamodule.name, counts, stored, ", ".join(module.classes))
    colour = "grey" if size.channels == 1 else "RGB"
    log.info(
        "model  %s: %s parameters%s, input %dx%d %s, fit=%s",
        name, f"{parameters:,}", frozen, size.image_size, size.image_size, colour, size.fit,
    )  # fmt: skip
    log.info("run    %s", run)
    precision.warn_of_imitation(trainer)


def _device(trainer: pl.Trainer) -> str:
    kind = trainer.strategy.root_device.type
    if kind == "cuda":
        kind = torch.cuda.get_device_name()
    cores = f", {torch.get_num_threads()} threads" if kind == "cpu" else ""
    return f"{trainer.world_size} x {kind}{cores}, precision {trainer.precision}"
