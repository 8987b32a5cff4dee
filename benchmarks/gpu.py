"""What GPUs make of it: ``python -m benchmarks gpu <FER2013's folder>`` (planned for 9 minutes; not yet run on a GPU).

First speeds: ``experiment=fer2013_gpu`` and a bare loop with the same network, batches and augmentation, epoch by epoch
in turn, in ``bf16-mixed`` and ``16-mixed``; where there are two GPUs, on both of them too, with twice the batch. Then
accuracies: the fast recipe, and ``fer2013_gpu`` in as many epochs as the rest of the time allows (it plans 150).

Without a folder, drawn faces of FER2013's number stand in: speeds are the same, accuracies say nothing.
``minutes=5`` gives it less time. ``accelerator=cpu limit=64`` tries the command on a machine without a GPU, with so
many images; other ``key=value`` go to each training (``data.image_size=32``).
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import yaml
from rich.console import Console
from rich.table import Table

import fer
from benchmarks.fer2013_csv import write_csv
from benchmarks.training import BesideBareLoop
from fer.files import metrics

RECIPE, FAST = "fer2013_gpu", "fer2013_cpu"
BATCH, STEPS, PAIRS = 128, 60, 3
OUTSIDE_S = 75  # of a long training: start, checkpoints, pictures, and ten crops of 7,178 faces
QUIET = {
    "trainer.enable_progress_bar": False, "callbacks.samples": None, "callbacks.confusion": None, "framing": False,
    "data.augment_on": "device", "logger": "csv",
}  # fmt: skip


class Beside(BesideBareLoop):
    """Writes the seconds of the epochs of both.

    Args:
        out: The file.
    """

    def __init__(self, out: str) -> None:
        super().__init__()
        self.out = Path(out)

    def on_fit_end(self, trainer: pl.Trainer, *args: Any) -> None:  # type: ignore[override]
        super().on_fit_end()
        if trainer.is_global_zero:
            images = trainer.num_training_batches * trainer.datamodule.batch_size  # type: ignore[attr-defined]
            self.out.write_text(json.dumps({"bare": self.bare[1:], "ours": self.ours[1:], "images": images}))


class Speed(NamedTuple):
    """Images a second of the framework, of the bare loop (None of several devices), and the ratio of each pair."""

    precision: str
    devices: int
    ours: float
    bare: float | None
    ratios: list[float]


def options(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the command's ``key=value`` as arguments of :func:`measure`."""
    kinds = {"minutes": float, "accelerator": str, "limit": int}
    own: dict[str, Any] = {key: kinds[key](value) for key, value in given.items() if key in kinds}
    return own | {"more": {key: yaml.safe_load(value) for key, value in given.items() if key not in kinds}}


def measure(
    console: Console,
    root: Path | None = None,
    minutes: float = 8.5,
    accelerator: str = "gpu",
    limit: int | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Print both tables.

    Args:
        console: Where to.
        root: FER2013; None for drawn faces.
        minutes: How long all of it may take.
        accelerator: ``gpu``, or ``cpu`` to try the command.
        limit: Number of drawn training faces; None for as many as FER2013 has.
        more: Overrides of each training.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        sys.exit("benchmarks gpu: there is no GPU here. accelerator=cpu limit=64 data.image_size=32 tries the command.")
    end = time.perf_counter() + 60 * minutes
    gpus = torch.cuda.device_count() if accelerator == "gpu" else 1
    precisions = ("bf16-mixed", "16-mixed") if accelerator == "gpu" else ("32-true",)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if root is None:
            write_csv(work / "fer2013.csv", *(() if limit is None else (limit, max(28, limit // 8))))
        common = {
            **QUIET, "data.root": str(root or work / "fer2013.csv"), "trainer.accelerator": accelerator, **(more or {}),
        }  # fmt: skip
        speeds = [_speed(work, common, precision, 1) for precision in precisions]
        speeds += [_speed(work, common, precisions[0], 2)] if gpus > 1 else []
        console.print(_speeds(speeds, _where(accelerator)))
        common["trainer.precision"] = precisions[0]
        fast = _train(work / "fast", FAST, {**common, **_time_of((end - time.perf_counter()) / 3)})
        left = end - time.perf_counter() - OUTSIDE_S
        epochs = _epochs(left, speeds[0].ours, common)
        slow = _train(work / "slow", RECIPE, {**common, "trainer.max_epochs": epochs, **_time_of(left)})
        console.print(_scores([(FAST, fast), (RECIPE, slow)], "FER2013" if root else "drawn faces: no result"))


def _where(accelerator: str) -> str:
    return torch.cuda.get_device_name() if accelerator == "gpu" else f"CPU, {torch.get_num_threads()} threads"


def _time_of(seconds: float) -> dict[str, str]:
    """Return the options that stop a training that takes longer than was foreseen."""
    whole = max(60, int(seconds))
    return {"trainer.max_time": f"00:{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"}


def _epochs(seconds: float, rate: float, common: Mapping[str, Any]) -> int:
    """Return how many epochs of the recipe there is time for, at so many images a second."""
    config = fer.compose("train", {"experiment": RECIPE, **common})
    planned = int(config.trainer.max_epochs)
    images = 28709 + 3589 / 3  # validation looks only
    return max(1, min(planned, int(seconds * rate / images)))


def _speed(work: Path, common: Mapping[str, Any], precision: str, devices: int) -> Speed:
    """Train some short epochs, each after one of the bare loop."""
    out = work / f"{precision}-{devices}.json"
    short = {
        "trainer.precision": precision, "trainer.devices": devices, "data.batch_size": BATCH * devices,
        "trainer.max_epochs": PAIRS + 1, "trainer.limit_train_batches": STEPS, "trainer.limit_val_batches": 1,
        "tta": "none", "scheduler.warmup_epochs": 0, "+callbacks.beside._target_": "benchmarks.gpu.Beside",
        "+callbacks.beside.out": str(out),
    }  # fmt: skip
    _train(work / f"{precision}-{devices}", RECIPE, {**common, **short})
    found = json.loads(out.read_text())
    pairs = list(zip(found["bare"], found["ours"], strict=False))
    rate = [found["images"] / median(seconds) if seconds else None for seconds in (found["ours"], found["bare"])]
    assert rate[0] is not None
    return Speed(precision, devices, rate[0], rate[1], [bare / ours for bare, ours in pairs])


def _train(folder: Path, experiment: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Train, and return ``metrics.json`` with the ``seconds`` from the config to the table."""
    start = time.perf_counter()
    fer.run("train", {"experiment": experiment, **options, "output_dir": str(folder)})
    return metrics.read(folder / metrics.FILE) | {"seconds": time.perf_counter() - start}


def _speeds(speeds: Sequence[Speed], where: str) -> Table:
    table = Table(title=f"experiment={RECIPE}, {BATCH} images a device and step, on {where}, torch {torch.__version__}")
    for column in ("precision", "devices", "fer img/s", "bare loop img/s", "ratio of each pair", "to the first row"):
        table.add_column(column, justify="left" if column == "precision" else "right")
    for one in speeds:
        bare = "-" if one.bare is None else f"{one.bare:,.0f}"
        ratios = " ".join(f"{ratio:.2f}" for ratio in one.ratios) or "-"
        times = f"{one.ours / speeds[0].ours:.2f} x"
        table.add_row(one.precision, str(one.devices), f"{one.ours:,.0f}", bare, ratios, times)
    return table


def _scores(runs: Sequence[tuple[str, Mapping[str, Any]]], data: str) -> Table:
    table = Table(title=f"accuracies on {data}, one device, seed 0: n = 1")
    for column in ("experiment", "epochs", "best", "PublicTest accuracy", "with", "seconds"):
        table.add_column(column, justify="left" if column == "experiment" else "right")
    for name, run in runs:
        table.add_row(
            name, str(run["epochs"]), str(run["best_epoch"]), f"{run['val']['accuracy']:.4f}", f"tta={run['tta']}",
            f"{run['seconds']:.0f}",
        )  # fmt: skip
    return table
