"""How long a training takes and how much memory: from its first steps."""

import logging
import resource
import sys
import time

import pytorch_lightning as pl
import torch
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

log = logging.getLogger(__name__)

_WARM_UP, _STEPS = 3, 20  # steps that are not measured; after which the estimate is made


class Estimate:
    """Says once, after the first steps of a start, how long an epoch and the rest of the run take."""

    def __init__(self) -> None:
        self._steps, self._begun = 0, 0.0

    def step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epochs: int) -> None:
        """Count a training step, and say the estimate after the last that is measured.

        Args:
            trainer: The trainer.
            pl_module: What is trained. Steps on smaller images or with a backbone that is trained later are cheaper
                than those to come, and tell nothing of the whole run.
            epochs: How many epochs the run is to have; 0 if nothing says so.
        """
        self._steps += 1
        if self._steps not in (_WARM_UP, _STEPS) or not trainer.is_global_zero:
            return
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if self._steps == _WARM_UP:
            self._begun = time.perf_counter()
            return
        seconds = (time.perf_counter() - self._begun) / (_STEPS - _WARM_UP)
        batches = int(trainer.num_training_batches)
        left = epochs - trainer.current_epoch
        whole = f", {duration(seconds * batches * left)} for {left} epoch{'s' if left != 1 else ''}" if epochs else ""
        whole = _of_cheap_epochs(trainer, pl_module) or whole
        with tqdm.external_write_mode():  # the bar makes room
            log.info(
                "speed  about %s an epoch%s, without validation (%.1f ms a step, %d steps); memory: %s",
                duration(seconds * batches), whole, 1000 * seconds, batches, peak_memory(device),
            )  # fmt: skip


def _of_cheap_epochs(trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
    """Say of which epochs alone the measured steps are; empty where all are alike."""
    reasons = []
    if getattr(pl_module, "train_size", None) is not None:
        reasons.append("at the first epochs' size")
    if any(not p.requires_grad for group in trainer.optimizers[0].param_groups for p in group["params"]):
        reasons.append("while the backbone is frozen")
    return "".join(f" {reason}" for reason in reasons)


def peak_memory(device: torch.device) -> str:
    """Say how much memory was used at most: of a GPU, or of the whole process."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB of the GPU at most"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.2f} GiB at most, of the whole process"


def duration(seconds: float) -> str:
    """Return a duration in words: ``5.2 s``, ``12 min``, ``1.6 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
