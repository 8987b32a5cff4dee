"""The model that a test names: a checkpoint's, or an export's, which is scored by the same code, on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from fer.files.export import is_export
from fer.predicting.exported import ExportedNetwork
from fer.scores import calibration, seen_images
from fer.training.checkpoint_content import load_checkpoint
from fer.training.module import FERModule


class ExportedModule(pl.LightningModule):
    """A model from ``fer.export``.

    Args:
        path: The export's folder, or its file.

    Raises:
        FERError: If it cannot be read.

    Attributes:
        classes: The classes, in the order of the probabilities.
        preprocess: What the model wants to see.
        name: The network's name.
        net: The network in torch; None of a graph's.
        checkpoint: What is known of the checkpoint that it was made from, as that would say it.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        network = ExportedNetwork(Path(path).expanduser())
        self.classes, self.preprocess, self.name, self.net = (
            network.classes, network.preprocess, network.name, network.net,
        )  # fmt: skip
        self.checkpoint: Mapping[str, Any] = {
            calibration.KEY: {"temperature": network.content.get("temperature", 1.0)},
            seen_images.SUMMARY: network.content.get("training"),
        }
        self._network, self._temperature = network, calibration.temperature_of(self.checkpoint)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return ``probabilities`` float32 (B, C), not calibrated, and the batch's ``row`` and ``label``."""
        calm = self._network.probabilities(batch["image"]).numpy()
        # A test scores what the network says before its temperature, and shows what that changes.
        return {
            "probabilities": torch.from_numpy(calibration.calibrated(calm, 1 / self._temperature)),
            "row": batch["row"],
            "label": batch["label"],
        }


def open_model(config: Mapping[str, Any]) -> tuple[FERModule | ExportedModule, Mapping[str, Any]]:
    """Return the model that a test names, and what its checkpoint holds; of an export what is known of that.

    Args:
        config: The config of ``fer.test``.

    Raises:
        FERError: If it cannot be used.
    """
    if is_export(Path(config["ckpt"]).expanduser()):
        exported = ExportedModule(config["ckpt"])
        return exported, exported.checkpoint
    packages = config["trust"] if isinstance(config["trust"], list) else ()
    module = FERModule.load_from_checkpoint(config["ckpt"], packages=packages, tta=config["tta"])
    return module, load_checkpoint(config["ckpt"])


def accelerator(module: FERModule | ExportedModule, config: Mapping[str, Any]) -> str:
    """Return where a model runs."""
    return "cpu" if isinstance(module, ExportedModule) else str(config["accelerator"])
