"""A frozen backbone's features: computed once, against computed again in every epoch."""

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table

from fer.training import features

EPOCHS, IMAGES = 20, 2000


def measure(console: Console) -> None:
    """Print the seconds of a head's training on a frozen VGG16, with and without its features kept."""
    again, once = _seconds(cached=False), _seconds(cached=True)
    table = Table(
        title=f"a head's {EPOCHS} epochs on a frozen VGG16, {IMAGES:,} images of 48x48, "
        f"{torch.get_num_threads()} CPU threads, fp32"
    )
    for column in ("features again in every epoch, s", "computed once, s", "ratio", "wanted"):
        table.add_column(column, justify="right")
    table.add_row(f"{again:.1f}", f"{once:.1f}", f"{again / once:.1f}", ">= 10")
    console.print(table)


def _seconds(cached: bool) -> float:
    """Return the seconds that the features and the training on them take."""
    from fer import train as command

    passed: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                passed.append(time.perf_counter() - start)

        return call

    fit, compute = pl.Trainer.fit, features.compute
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [
            "fer.train", "model=vgg16", "model.freeze=true", "model.head.pooling=flatten", "model.head.hidden=[512]",
            "transforms=none", f"data.num_samples={IMAGES}", "trainer.accelerator=cpu", f"trainer.max_epochs={EPOCHS}",
            f"cache_features={str(cached).lower()}", f"data.cache_dir={folder}/cache", f"hydra.run.dir={folder}/run",
        ]  # fmt: skip
        pl.Trainer.fit, features.compute = timed(fit), timed(compute)  # type: ignore[method-assign,assignment]
        try:
            command.main()
        finally:
            pl.Trainer.fit, features.compute = fit, compute  # type: ignore[method-assign]
            logging.shutdown()
    return sum(passed)
