"""A training's own times, for :mod:`benchmarks.growth`."""

import json
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl


class Clock(pl.Callback):
    """Notes when steps ended, and how long validations took.

    Args:
        out: A file that gets them.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self.steps: list[list[float]] = []
        self.validations: list[float] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        self.steps.append([])

    def on_train_batch_end(self, *args: Any) -> None:
        self.steps[-1].append(time.perf_counter())

    def on_validation_start(self, *args: Any) -> None:
        self._begun = time.perf_counter()

    def on_validation_end(self, *args: Any) -> None:
        self.validations.append(time.perf_counter() - self._begun)

    def on_fit_end(self, *args: Any) -> None:
        self.out.write_text(json.dumps({"steps": self.steps, "validations": self.validations}))
