"""The plain PyTorch training loop that the framework is measured against: no logging, no metrics, no progress bar."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


def train_epoch(
    net: nn.Module,
    batches: Iterable[dict[str, Any]],
    prepare: Callable[[dict[str, Any]], tuple[Tensor, Tensor]],
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    low: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> float:
    """Train one epoch and return its seconds.

    Args:
        net: The network, on the device.
        batches: What a loader yields.
        prepare: From a batch on the device to the network's input and its targets.
        loss: Of logits and targets.
        optimizer: Of the network's weights.
        scheduler: Advanced with each step.
        low: What automatic mixed precision computes in, ``torch.bfloat16`` or ``torch.float16``; None for float32.
        device: Where the network is.
    """
    device = torch.device(device)
    scaler = torch.amp.GradScaler(device.type, enabled=low is torch.float16)
    net.train()
    start = time.perf_counter()
    for batch in batches:
        on_device = {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
        with torch.autocast(device.type, low, enabled=low is not None):
            x, target = prepare(on_device)
            value = loss(net(x), target)
        optimizer.zero_grad()
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        if scheduler is not None:
            scheduler.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
