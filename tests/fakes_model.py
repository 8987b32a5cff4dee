"""A run's folder with a checkpoint of random weights: whatever a trained model is needed for, without training."""

from pathlib import Path

import torch

from fer.training.checkpoint import AtomicCheckpointIO
from fer.training.module import FERModule

DESCRIPTION = {
    "classes": ["angry", "happy", "sad"],
    "preprocessing": {"image_size": 24, "channels": 1, "mean": [0.5], "std": [0.25], "fit": "pad"},
    "model": {"_target_": "fer.models.simple_conv.SimpleConv"},
    "loss": {"_target_": "torch.nn.CrossEntropyLoss", "class_weights": None},
    "optimizer": {},
    "scheduler": {},
    "mixup": {"mixup_alpha": 0.0, "cutmix_alpha": 0.0},
}


def write_run(folder: Path, fit: str = "pad", **extra: object) -> Path:
    """Write ``checkpoints/best.ckpt`` below a folder, and return the folder.

    Args:
        folder: The run's folder.
        fit: How oblong images become squares.
        extra: More that the checkpoint holds.
    """
    torch.manual_seed(0)
    module = FERModule(**DESCRIPTION | {"preprocessing": DESCRIPTION["preprocessing"] | {"fit": fit}})
    content = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), **extra}
    AtomicCheckpointIO().save_checkpoint(content, folder / "checkpoints" / "best.ckpt")
    return folder
