"""Training speed: a whole run of the framework against a bare loop with the same network, batches and augmentation."""

import copy
import itertools
import logging
import sys
import tempfile
import time
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.bare_loop import train_epoch
from fer.data.base import FERDataModule

NETWORKS = {"emotion_net": 6400, "densenet121": 3200}  # and the images of an epoch: some 12 s and 28 s
PAIRS = 5
LOW = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class BesideBareLoop(pl.Callback):
    """Times each epoch of a run, without its validation, and an epoch of the bare loop just before it.

    In turn, because other users of a shared machine come and go within minutes. Of several processes each would need a
    bare loop of several processes: there the run's epochs alone are timed.
    """

    def __init__(self) -> None:
        self.bare: list[float] = []
        self.ours: list[float] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        datamodule: FERDataModule = trainer.datamodule  # type: ignore[attr-defined]
        datamodule.trainer = None  # one process, all samples
        self._loader = datamodule.train_dataloader()
        datamodule.trainer = trainer
        self._device = trainer.strategy.root_device
        self._net = copy.deepcopy(pl_module.net).to(self._device)
        self._optimizer = torch.optim.AdamW(self._net.parameters(), lr=1e-3, weight_decay=0.05)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        def prepare(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
            batch = trainer.datamodule.on_after_batch_transfer(batch, 0)
            x = pl_module.preprocess(batch["image"]).to(memory_format=pl_module.memory_format)
            return pl_module.mix(x, batch["label"]) if pl_module.mix is not None else (x, batch["label"])

        if trainer.world_size == 1:
            low = LOW.get(str(trainer.precision))
            batches = itertools.islice(self._loader, trainer.num_training_batches)
            loss = torch.nn.CrossEntropyLoss()
            self.bare.append(
                train_epoch(self._net, batches, prepare, loss, self._optimizer, low=low, device=self._device)
            )
        self._wait()
        self._start, self._validation = time.perf_counter(), 0.0

    def _wait(self) -> None:
        """Wait until a GPU has done what it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def on_validation_start(self, *args: Any) -> None:
        self._wait()
        self._validation -= time.perf_counter()

    def on_validation_end(self, *args: Any) -> None:
        self._validation += time.perf_counter()

    def on_train_epoch_end(self, *args: Any) -> None:
        self._wait()
        self.ours.append(time.perf_counter() - self._start - self._validation)

    def on_fit_end(self, *args: Any) -> None:
        del self._loader  # its workers end with it, and would otherwise be waited for


def measure(console: Console) -> None:
    """Print images per second of both, measured in turn, and their ratio."""
    table = Table(title=f"training, 48x48, batch 64, transforms=standard, {torch.get_num_threads()} CPU threads, fp32")
    for column in ("network", "bare loop img/s", "fer img/s", "ratio of each pair of epochs", "median", "wanted"):
        table.add_column(column, justify="right")
    for name, size in NETWORKS.items():
        bare, ours = _epochs(name, size)
        ratios = [b / o for b, o in zip(bare, ours, strict=True)]
        table.add_row(
            name,
            f"{size / median(bare):.0f}",
            f"{size / median(ours):.0f}",
            " ".join(f"{ratio:.2f}" for ratio in ratios),
            f"{median(ratios):.3f}",
            ">= 0.95",
        )
    console.print(table)


def _epochs(name: str, size: int) -> tuple[list[float], list[float]]:
    """Return the seconds of epochs of the bare loop and of the framework, without the first of each."""
    from fer import train as command

    fit, times = pl.Trainer.fit, BesideBareLoop()

    def timed_fit(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        trainer.callbacks.append(times)
        fit(trainer, *args, **kwargs)

    with tempfile.TemporaryDirectory() as folder:
        # Faces are drawn in tenths: 8 of 10 are for training.
        sys.argv = [
            "fer.train", f"model={name}", f"data.num_samples={size * 10 // 8}", f"trainer.max_epochs={PAIRS + 1}",
            "trainer.accelerator=cpu", f"hydra.run.dir={folder}/run",
        ]  # fmt: skip
        pl.Trainer.fit = timed_fit  # type: ignore[method-assign,assignment]
        try:
            command.main()
        finally:
            pl.Trainer.fit = fit  # type: ignore[method-assign]
            logging.shutdown()
    return times.bare[1:], times.ours[1:]
