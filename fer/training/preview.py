"""What a training would be like: its images, classes, size, speed and memory, before it begins."""

import logging
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from torch import Tensor

from fer.build import build
from fer.data.base import FERDataModule, limited
from fer.data.samples import SPLITS
from fer.display import cell
from fer.errors import ConfigError
from fer.files import run_record
from fer.plots import figures
from fer.plots.tables import WIDTH, fitted, tell
from fer.training import features
from fer.training.estimate import duration, peak_memory
from fer.training.module import FERModule

log = logging.getLogger(__name__)

_DRAWS = 7  # of each image
_ROWS = 10  # images at most
_WARM_UP = 3  # steps that are not measured
_STEPS = 30
_SECONDS = 10.0  # after these no further step is measured


def refuse(config: Mapping[str, Any]) -> None:
    """Refuse what cannot be shown before a training, by ``preview=true`` or ``lr_find=true``.

    Raises:
        ConfigError: If the command goes on with a run, is a sweep, names the folder of a run, or asks for both.
    """
    if config["preview"] and config["lr_find"]:
        raise ConfigError("preview=true and lr_find=true: each ends before the training; choose one.")
    asked = "preview=true" if config["preview"] else "lr_find=true"
    if config["ckpt"]:
        raise ConfigError(f"{asked}: shows a training before it begins; leave ckpt=... and resume=... out.")
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ConfigError(f"{asked}: shows one training; leave -m (--multirun) and lists of choices out.")
    run = Path(config["output_dir"])
    if (run / run_record.FILE).exists() or (run / "checkpoints").exists():
        raise ConfigError(f"output_dir={run} already holds a run. Choose another folder for {asked}.")


def show(config: Mapping[str, Any], datamodule: FERDataModule, module: FERModule, folder: Path) -> None:
    """Write ``preview.png``, and print the classes, the model's size, the seconds of an epoch and the memory.

    Args:
        config: The resolved config.
        datamodule: The data.
        module: The network as it would be trained; a few steps are taken with it.
        folder: Where the picture goes. What makes it look like a run's is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_picture(datamodule, module, config["seed"], folder / "preview.png")
    lines = [_size(module), *_speed(config, datamodule, module)]
    tell(*_class_table(datamodule, module), *map(cell, lines), cell(f"picture: {folder / 'preview.png'}"))
    leave_no_run(folder)


def leave_no_run(folder: Path) -> None:
    """Remove what makes a folder look like a run's: the config that Hydra wrote into it."""
    subdir = HydraConfig.get().output_subdir
    if subdir is not None:
        shutil.rmtree(folder / subdir, ignore_errors=True)


def trainer_of_steps(config: Mapping[str, Any], callback: pl.Callback, **options: Any) -> pl.Trainer:
    """Return a trainer of a few steps: one device, no validation, nothing written.

    Args:
        config: The resolved config.
        callback: Its only callback.
        **options: Of Lightning's Trainer, besides and in place of the config's.
    """
    fixed = {
        "limit_val_batches": 0, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "devices": 1, "num_nodes": 1, "strategy": "auto", "max_time": None, "num_sanity_val_steps": 0,
        "fast_dev_run": False, "overfit_batches": 0.0, "enable_model_summary": False, "use_distributed_sampler": False,
        "check_val_every_n_epoch": 1000,  # a plateau's schedule must not look for a validation score either
        "default_root_dir": config["output_dir"],
    }  # fmt: skip
    trainer: pl.Trainer = build({**config["trainer"], **fixed, **options}, "trainer", callbacks=[callback])
    return trainer


def _write_picture(datamodule: FERDataModule, module: FERModule, seed: int, path: Path) -> None:
    """Draw an image of each class beside what the network would get of it in several epochs."""
    rows = datamodule.rows("train")
    labels = datamodule.samples.labels[rows]
    shown = [rows[labels == label][0] for label in range(len(module.classes)) if (labels == label).any()][:_ROWS]
    images = datamodule.samples.images[shown]
    targets = torch.from_numpy(datamodule.samples.labels[shown])
    draws = []
    for number in range(_DRAWS):
        augmented = datamodule.augment(images, (seed, number)) if len(datamodule.augment) else images
        torch.manual_seed(seed + number)
        x: Tensor = module.preprocess(torch.from_numpy(np.ascontiguousarray(augmented)))
        if module.mix is not None:
            x = module.mix(x, targets)[0]
        draws.append(_as_image(x, module))
    mixed = ", mixed with one another" if module.mix is not None else ""
    size = module.preprocess.image_size
    title = f"{datamodule.name}, training images; augmented anew in each epoch{mixed}, {size}x{size} pixels"
    names = [module.classes[label] for label in targets.tolist()]
    figures.save(figures.preview_figure(images, draws, names, title), path)


def _as_image(x: Tensor, module: FERModule) -> npt.NDArray[np.uint8]:
    """Undo the normalisation: float (B, C, H, W) to uint8 (B, H, W) or (B, H, W, 3)."""
    shape = (1, module.preprocess.channels, 1, 1)
    mean, std = x.new_tensor(module.preprocess.mean).view(shape), x.new_tensor(module.preprocess.std).view(shape)
    image = ((x * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    array: npt.NDArray[np.uint8] = (image[:, 0] if image.shape[1] == 1 else image.permute(0, 2, 3, 1)).numpy()
    return array


def _class_table(datamodule: FERDataModule, module: FERModule) -> list[Any]:
    """Return the table of images per class and split, with the weights of the classes where the loss has some."""
    counts = {split: datamodule.class_counts(split) for split in SPLITS}
    weights = (module.hparams["loss"] or {}).get("class_weights")
    rows = []
    for label, name in enumerate(module.classes):
        weight = [f"{weights[label]:.2f}"] if weights else []
        rows.append([name, *(f"{counts[split][label]:,}" for split in SPLITS), *weight])
    rows.append(["all", *(f"{counts[split].sum():,}" for split in SPLITS), *([""] if weights else [])])
    header = ["class", *SPLITS, *(["weight"] if weights else [])]
    return fitted(f"{datamodule.name}: images", header, rows, WIDTH, bold=[len(rows) - 1])


def _size(module: FERModule) -> str:
    parameters = list(module.net.parameters())
    count = sum(p.numel() for p in parameters)
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    held = sum(t.numel() * t.element_size() for t in (*parameters, *module.net.buffers()))
    name = module.name
    frozen = "" if trained == count else f", {trained:,} of them trained"
    return f"model: {name}, {count:,} parameters{frozen}, {held / 2**20:,.1f} MiB"


class _Clock(pl.Callback):
    """Note when each step ended, and stop when they have been measured long enough."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin."""
        self.times = [time.perf_counter()]

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> Any:
        """End the epoch (by Lightning's -1) after some seconds."""
        measured = len(self.times) - 1 - _WARM_UP
        return -1 if measured > 1 and time.perf_counter() - self.times[_WARM_UP] > _SECONDS else None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Note the time, once the device has done the step."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.times.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """The mean of a step, without the first ones where there are more."""
        first = min(_WARM_UP, len(self.times) - 2)
        return (self.times[-1] - self.times[first]) / (len(self.times) - 1 - first)


def _speed(config: Mapping[str, Any], datamodule: FERDataModule, module: FERModule) -> list[str]:
    """Take some training steps on one device, and say how long an epoch would take and how much memory it needs."""
    options = config["trainer"]
    batches = max(1, limited(len(datamodule.train_batches()), options["limit_train_batches"]))
    clock = _Clock()
    trainer = trainer_of_steps(config, clock, limit_train_batches=min(batches, _STEPS), max_epochs=1, max_steps=-1)
    device = trainer.strategy.root_device
    look = _seconds_of_looking(datamodule, module, device)
    once = 0.0
    if config["cache_features"] and config["teacher"] is None and features.are_constant(module, datamodule):
        rows = datamodule.rows("all")
        once = look * len(rows)
        # Any features will do to see how fast the head is trained.
        datamodule.use_features(np.zeros((len(rows), _feature_size(datamodule, module, device)), np.float32))
        look = 0.0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trainer.fit(module, datamodule)
    datamodule.use_features(None)
    val = look * _val_images(options, datamodule)
    lines = [
        f"speed: {clock.seconds * 1000:,.1f} ms a step of {datamodule.batch_size} images, {batches:,} steps an epoch; "
        f"an epoch: {duration(clock.seconds * batches + val)}, {duration(val)} of it validation"
        f"{_whole(options, batches, clock.seconds, val, once)}"
    ]
    if once:
        lines.append(f"       before the first epoch, the features of the frozen backbone: {duration(once)}, once")
    if trainer.num_devices < _devices(options["devices"]):
        lines.append(f"       measured on one device of trainer.devices={options['devices']}")
    return [*lines, f"memory: {peak_memory(device)}"]


def _val_images(options: Mapping[str, Any], datamodule: FERDataModule) -> int:
    """Return how many images a validation looks at."""
    _, batches = datamodule.batches()
    return min(len(datamodule.rows("val")), limited(batches, options["limit_val_batches"]) * datamodule.batch_size)


def _whole(options: Mapping[str, Any], batches: int, step: float, val: float, once: float) -> str:
    """Say how long the whole run would take; nothing where it has no end by epochs or steps.

    Args:
        options: The trainer's.
        batches: Of an epoch.
        step: Seconds of a batch.
        val: Seconds of a validation.
        once: Seconds before the first epoch.
    """
    accumulated = options["accumulate_grad_batches"]
    epochs, most, per_epoch = options["max_epochs"] or -1, options["max_steps"], math.ceil(batches / accumulated)
    total, said = batches * epochs, f"{epochs} epochs"
    if most > 0 and not 0 < epochs * per_epoch <= most:
        total = most // per_epoch * batches + most % per_epoch * accumulated
        said = f"{most:,} steps (trainer.max_steps)"
    if total < 0:
        return ""
    validations = total // batches // (options["check_val_every_n_epoch"] or 1)
    return f"; {said}: {duration(once + step * total + val * validations)}"


def _devices(asked: Any) -> float:
    if isinstance(asked, list):
        return len(asked)
    return math.inf if asked in (-1, "-1") else int(asked) if str(asked).isdigit() else 1


def _first_images(datamodule: FERDataModule) -> Tensor:
    rows = datamodule.rows("train")[: datamodule.batch_size]
    return torch.from_numpy(np.ascontiguousarray(datamodule.samples.images[rows]))


def _seconds_of_looking(datamodule: FERDataModule, module: FERModule, device: torch.device) -> float:
    """Return the seconds that the network takes for one image without learning from it."""
    images = _first_images(datamodule)
    training = module.training
    module.to(device).eval()
    with torch.no_grad():
        for _ in range(2):  # the first is slower
            start = time.perf_counter()
            module(images.to(device)).cpu()
    module.train(training)
    return (time.perf_counter() - start) / len(images)


def _feature_size(datamodule: FERDataModule, module: FERModule, device: torch.device) -> int:
    x = module.preprocess(_first_images(datamodule)[:2].to(device)).to(module.dtype)
    training = module.training
    module.eval()
    with torch.no_grad():
        size = cast(Any, module.net).forward_features(x).shape[1]
    module.train(training)
    return int(size)
