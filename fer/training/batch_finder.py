"""``data.batch_size=auto``: the largest batch whose training steps fit into the GPUs' memory.

Lightning 2.6.6's BatchSizeFinder was tried with made-up limits and is not used: it returned sizes that it had not tried
(its ``max_val``; 1 where nothing fitted; 256 of 222 training images), made its first trial with the loader's size in
place of its own, and wrote a checkpoint, for which all training images are hashed. Every trial here is a trainer of its
own, of a copy of the module, so that nothing is left to restore.
"""

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.utilities.memory import garbage_collection_cuda, is_oom_error
from pytorch_lightning.utilities.seed import isolate_rng

from fer.data.augment import Augment
from fer.data.base import FERDataModule
from fer.errors import ConfigError, TrainingError
from fer.training.lr_finder import CONSTANT
from fer.training.module import FERModule
from fer.training.preview import trainer_of_steps

log = logging.getLogger(__name__)

_FIRST = 16  # images of the first trial
_MOST = 8192  # images a GPU: no GPU gets faster with more, and few trainings learn as well
_STEPS = 3  # of a trial: the optimiser's state is there after the first
_SHARE = 0.9  # of the images that fit: other steps, fragments of memory and other programs may need a little more
_MULTIPLE = 8  # of images a GPU: what its matrix units compute at once


def refuse(config: Mapping[str, Any]) -> None:
    """Refuse to search on a machine without a GPU that is used.

    Raises:
        ConfigError: If the training would not be on GPUs.
    """
    if not gpus(config):
        raise ConfigError(
            "data.batch_size=auto: there is no GPU here, and on a CPU the memory is the whole machine's, which a "
            "search would fill. Name a number: data.batch_size=64."
        )


def gpus(config: Mapping[str, Any]) -> list[int]:
    """Return the indices of the GPUs that a run would use; none where it would use none."""
    if not CUDAAccelerator.is_available():
        return []
    asked = config["trainer"]["devices"]
    return CUDAAccelerator.parse_devices(-1 if asked == "auto" else asked) or []


def find(config: Mapping[str, Any], datamodule: FERDataModule, module: FERModule) -> int:
    """Search on the run's first GPU, and leave everything as it was.

    Args:
        config: The resolved config.
        datamodule: The data.
        module: The network as it will be trained, not yet on a GPU.

    Returns:
        The global batch size: as many images for each of the run's GPUs, which are taken to be alike.

    Raises:
        TrainingError: If not even one image fits.
    """
    devices = gpus(config)
    images = len(datamodule.rows("train"))
    most = min(_MOST, images // len(devices))

    def fits(size: int) -> bool:
        log.info("batch  data.batch_size=auto: trying %d images", size)
        return _fits(config, datamodule, module, size, devices[0])

    with isolate_rng():
        fitting = largest(fits, most)
    if not fitting:
        raise TrainingError(
            "data.batch_size=auto: not even a batch of one image fits into the GPU's memory. Try a smaller network or "
            "data.image_size, or trainer.precision=bf16-mixed; or let another program end that uses the GPU."
        )
    each = fitting
    if each < most:
        each = max(1, int(_SHARE * each))
        each -= each % _MULTIPLE if each > _MULTIPLE else 0
    _tell(config, each, len(devices), images)
    return each * len(devices)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """Double the size while it fits; then halve the gap to what did not, down to a sixteenth of the size.

    Args:
        fits: Whether a size fits; what is larger than one that does not fit is not tried.
        most: The largest size to try.

    Returns:
        The largest size that was found to fit, ``most`` at most; 0 if none did.
    """
    low, high, size = 0, most + 1, min(_FIRST, most)
    while low < most and high - low > max(1, low // 16):
        if fits(size):
            low = size
        else:
            high = size
        size = min(2 * low, most) if high > most else (low + high) // 2
    return low


def _fits(config: Mapping[str, Any], datamodule: FERDataModule, module: FERModule, size: int, gpu: int) -> bool:
    """Say whether some training steps of a batch fit; a copy takes them, and it and its data are dropped."""
    trial, data = copy.deepcopy(module), copy.copy(datamodule)
    # Without what takes no memory of the GPU: loaders' processes and their augmentation.
    data.batch_size, data.num_workers, data.augment = size, 0, Augment({})
    trial.hparams["scheduler"] = dict(CONSTANT)  # the run's is planned for the run's steps
    trial.hparams["optimizer"] = {**trial.hparams["optimizer"], "lr": 1e-12}  # without warm-up a large one diverges
    if config["compile"]:
        trial.net.compile()  # copying the module has dropped it
    trainer = trainer_of_steps(
        config, _Spare(), max_steps=_STEPS, max_epochs=-1, accumulate_grad_batches=1, limit_train_batches=1.0,
        devices=[gpu] if gpu else 1,
    )  # fmt: skip
    try:
        trainer.fit(trial, data)
    except RuntimeError as error:
        # Lightning does not know the second: cuBLAS found no memory for its own workspace.
        if not is_oom_error(error) and "CUBLAS_STATUS_ALLOC_FAILED" not in str(error):
            raise
        return False
    finally:
        del trainer, trial, data
        garbage_collection_cuda()
    return True


class _Spare(pl.Callback):
    """Reserves as much memory as the weights take: averaged weights, or DDP's buckets, need that besides."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reserve it, until this callback is dropped with its trainer."""
        size = sum(p.numel() * p.element_size() for p in pl_module.parameters())
        self._held = torch.empty(size, dtype=torch.uint8, device=pl_module.device)


def _tell(config: Mapping[str, Any], each: int, devices: int, images: int) -> None:
    size = each * devices
    shared = f", {each} on each of {devices} GPUs" if devices > 1 else ""
    log.info("batch  data.batch_size=%d fits%s: %d steps an epoch", size, shared, images // size)
    log.warning(
        "data.batch_size=auto: %d images a step. optimizer.lr=%g may have to follow: the more images, the larger, "
        "up to in proportion. lr_find=true data.batch_size=%d suggests one.",
        size, config["optimizer"]["lr"], size,
    )  # fmt: skip
