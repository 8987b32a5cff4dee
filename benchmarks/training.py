"""Training speed: a whole run of the framework against a bare loop with the same network, batches and augmentation."""

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

from benchmarks.bare_loop import train_epoch
from fer.data.base import FERDataModule
from fer.module import FERModule

NETWORKS = {"emotion_net": 6400, "densenet121": 1280}  # and the images of an epoch: some 15 s each
ROUNDS = 3


class EpochTimes(pl.Callback):
    """Measures epochs without their validation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        self._start, self._validation = time.perf_counter(), 0.0

    def on_validation_start(self, *args: Any) -> None:
        self._validation -= time.perf_counter()

    def on_validation_end(self, *args: Any) -> None:
        self._validation += time.perf_counter()

    def on_train_epoch_end(self, *args: Any) -> None:
        self.seconds.append(time.perf_counter() - self._start - self._validation)


def measure(console: Console) -> None:
    """Print images per second of both, measured in turn, and their ratio."""
    table = Table(title=f"training, 48x48, batch 64, transforms=standard, {torch.get_num_threads()} CPU threads, fp32")
    for column in ("network", "bare loop img/s", "fer img/s", "ratio (each round)", "median ratio", "wanted"):
        table.add_column(column, justify="right")
    for name, size in NETWORKS.items():
        bare, ours = zip(*(_round(name, size) for _ in range(ROUNDS)), strict=True)
        ratios = [b / o for b, o in zip(bare, ours, strict=True)]
        table.add_row(
            name,
            f"{size / median(bare):.0f}",
            f"{size / median(ours):.0f}",
            " ".join(f"{ratio:.3f}" for ratio in ratios),
            f"{median(ratios):.3f}",
            ">= 0.95",
        )
    console.print(table)


def _round(name: str, size: int) -> tuple[float, float]:
    """Return the seconds of one epoch of the bare loop and of the framework."""
    # Faces are drawn in tenths: 8 of 10 are for training.
    overrides = [
        f"model={name}",
        f"data.num_samples={size * 10 // 8}",
        "trainer.max_epochs=3",
        "trainer.accelerator=cpu",
    ]
    times = EpochTimes()
    bare: list[float] = []
    module, datamodule = _train(overrides, times, bare)
    del module, datamodule
    return min(bare), min(times.seconds[1:])  # the better of two each, the first epoch of each left out


def _train(overrides: list[str], times: EpochTimes, bare: list[float]) -> tuple[FERModule, FERDataModule]:
    from fer import train as command

    fit = pl.Trainer.fit
    kept: list[Any] = []

    def timed_fit(trainer: pl.Trainer, module: FERModule, datamodule: FERDataModule, **kwargs: Any) -> None:
        trainer.callbacks.append(times)
        bare.append(_bare_epoch(module, datamodule))
        fit(trainer, module, datamodule, **kwargs)
        bare.append(_bare_epoch(module, datamodule))
        kept.extend((module, datamodule))

    with tempfile.TemporaryDirectory() as folder:
        sys.argv = ["fer.train", *overrides, f"hydra.run.dir={folder}/run"]
        pl.Trainer.fit = timed_fit  # type: ignore[method-assign,assignment]
        try:
            command.main()
        finally:
            pl.Trainer.fit = fit  # type: ignore[method-assign]
            logging.shutdown()
    return kept[0], kept[1]


def _bare_epoch(module: FERModule, datamodule: FERDataModule) -> float:
    """Train a copy's epoch; the second of two is timed, with the workers running, as in the framework's."""
    import copy

    net = copy.deepcopy(module.net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    trainer, datamodule.trainer = datamodule.trainer, None
    loader = datamodule.train_dataloader()
    datamodule.trainer = trainer
    loss = torch.nn.CrossEntropyLoss()
    seconds = [train_epoch(net, loader, module.preprocess, loss, optimizer) for _ in range(2)]
    return seconds[-1]
