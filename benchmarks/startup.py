"""Waiting times: --help, a wrong key, and the time from the command to the first training step."""

import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.table import Table

ROUNDS = 3


class EndAfterFirstStep(pl.Callback):
    """Ends the process when the first training step is done."""

    def on_train_batch_end(self, *args: Any) -> None:
        os._exit(0)


def measure(console: Console) -> None:
    """Print seconds of whole processes."""
    python = [sys.executable]
    step = [
        *python, "-m", "fer.train", "trainer.accelerator=cpu",
        "+callbacks.end._target_=benchmarks.startup.EndAfterFirstStep",
    ]  # fmt: skip
    imports = [*python, "-c", "import torch, pytorch_lightning, timm"]
    with tempfile.TemporaryDirectory() as folder:
        step.append(f"hydra.run.dir={folder}/run")
        _seconds([*step, "trainer.max_epochs=1"])  # fills caches of every kind
        help_, wrong, first, imported = [], [], [], []
        for _ in range(ROUNDS):
            help_.append(_seconds([*python, "-m", "fer.train", "--help"]))
            wrong.append(_seconds([*python, "-m", "fer.train", "optimizer.lrr=1"]))
            imported.append(_seconds(imports))
            first.append(_seconds(step))
    ratios = [f / i for f, i in zip(first, imported, strict=True)]
    table = Table(title=f"start-up, whole processes, median of {ROUNDS}")
    for column in ("command", "seconds", "wanted"):
        table.add_column(column, justify="left" if column == "command" else "right")
    table.add_row("python -m fer.train --help", f"{median(help_):.2f}", "< 2")
    table.add_row("python -m fer.train optimizer.lrr=1 (error)", f"{median(wrong):.2f}", "< 2")
    table.add_row("import torch, pytorch_lightning, timm", f"{median(imported):.2f}", "")
    table.add_row("python -m fer.train, to the end of the first step", f"{median(first):.2f}", "")
    table.add_row("  ratio to the imports, pair by pair", f"{median(ratios):.2f}", "<= 1.3")
    console.print(table)


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    # No pipes: the loader's workers outlive the process that ended itself by some seconds, and would hold them open.
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start
