"""The temperature of a finished run: fitted on the validation split, and kept in the best checkpoint."""

from pathlib import Path
from typing import Any

import torch

from fer.files.predictions import Predictions
from fer.scores import calibration
from fer.training.checkpoint import AtomicCheckpointIO


def keep(path: str | Path, predictions: Predictions) -> dict[str, Any]:
    """Fit a temperature and add it to a checkpoint, whose other content stays.

    Args:
        path: The best checkpoint.
        predictions: Its answers on the split that chose it, without test-time augmentation.

    Returns:
        What stands in the checkpoint and in the run's ``metrics.json``.
    """
    before, labels = predictions.probabilities, predictions.labels
    temperature = calibration.fit(before, labels)
    after = calibration.calibrated(before, temperature)
    found = {"split": predictions.split, **calibration.compared(before, after, labels, temperature)}
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    AtomicCheckpointIO().save_checkpoint({**checkpoint, calibration.KEY: found}, path)
    return found
