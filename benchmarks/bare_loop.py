"""The plain PyTorch training loop that the framework is measured against: no logging, no metrics, no progress bar."""

import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def train_epoch(
    net: nn.Module,
    loader: Iterable[dict[str, Tensor]],
    preprocess: Callable[[Tensor], Tensor],
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    bf16: bool = False,
) -> float:
    """Train one epoch and return its seconds."""
    net.train()
    start = time.perf_counter()
    for batch in loader:
        x = preprocess(batch["image"])
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss(net(x), batch["label"])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return time.perf_counter() - start
