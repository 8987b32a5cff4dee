"""How far a model's probabilities can be believed: one temperature for all, and accuracy against coverage.

A network that is right in 7 of 10 cases often says 0.9. Dividing its logits by one number, the temperature, fitted on
the validation split, mends most of that and leaves each image's most probable class as it is (Guo et al., ICML 2017,
https://arxiv.org/abs/1706.04599).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fer.errors import FERError
from fer.scores.metrics import Probabilities

KEY = "calibration"
"""Where it stands in a checkpoint and in ``metrics.json``."""
LEVELS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Confidences at which coverage and accuracy are told."""
_LOWEST, _HIGHEST = 0.05, 20.0  # temperatures
_FEWEST = 20  # images from which on a temperature is fitted


def calibrated(probabilities: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float32]:
    """Return the probabilities that a network's logits give when they are divided by a temperature.

    Args:
        probabilities: float32 of shape (N, C), of the logits as they are; or a mean over augmented views.
        temperature: Above 1 they become more even, below 1 less; 1 leaves them.

    Returns:
        float32 of shape (N, C).
    """
    if temperature == 1:
        return probabilities
    logits = _logits(probabilities) / temperature
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def fit(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature with the least negative log-likelihood; 1 where there are too few images to tell.

    Args:
        probabilities: float32 of shape (N, C), of images that the network was not fitted to.
        labels: int64 of shape (N,).
    """
    if len(labels) < _FEWEST:
        return 1.0
    from scipy.optimize import minimize_scalar  # it would delay a training's first step

    found = minimize_scalar(
        lambda log_t: nll(probabilities, labels, math.exp(log_t)),
        bounds=(math.log(_LOWEST), math.log(_HIGHEST)), method="bounded", options={"xatol": 1e-4},
    )  # fmt: skip
    return round(math.exp(float(found.x)), 4)


def nll(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood of the true classes at a temperature."""
    logits = _logits(probabilities) / temperature
    top = logits.max(1)
    sums = top + np.log(np.exp(logits - top[:, None]).sum(1))
    return float((sums - logits[np.arange(len(labels)), labels]).mean())


def _logits(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return logits that have these probabilities: a softmax leaves nothing but a constant unknown."""
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=np.float64)


def compared(
    before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], temperature: float
) -> dict[str, Any]:
    """Return calibration errors before and after, and coverage: what ``metrics.json`` holds.

    Args:
        before: float32 of shape (N, C).
        after: The same, calibrated.
        labels: int64 of shape (N,).
        temperature: What lies between them.
    """
    return {
        "temperature": temperature,
        "images": len(labels),
        "ece": Probabilities(before, labels).ece(),
        "ece_calibrated": Probabilities(after, labels).ece(),
        "nll": nll(before, labels),
        "nll_calibrated": nll(after, labels),
        "coverage": [_at(after, labels, level) for level in LEVELS],
    }


def _at(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], level: float) -> dict[str, Any]:
    """Return which share of the images is decided at a confidence, and which share of those correctly."""
    decided = probabilities.max(1) >= level
    right = probabilities.argmax(1) == labels
    return {
        "min_confidence": level,
        "coverage": float(decided.mean()) if len(labels) else 0.0,
        "accuracy": float(right[decided].mean()) if decided.any() else None,
    }


def curve(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return coverage and accuracy, float64 of shape (N,) each, with the surest images first."""
    order = np.argsort(-probabilities.max(1), kind="stable")
    right = (probabilities.argmax(1) == labels)[order]
    count = np.arange(1, len(labels) + 1)
    return count / max(1, len(labels)), np.cumsum(right) / count


def temperature_of(checkpoint: Mapping[str, Any]) -> float:
    """Return a checkpoint's temperature; 1 for one without.

    Raises:
        FERError: If what stands there is no temperature.
    """
    values = checkpoint.get(KEY)
    if values is None:
        return 1.0
    found = values.get("temperature") if isinstance(values, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float) or not _LOWEST / 2 <= found <= _HIGHEST * 2:
        raise FERError(
            f"the checkpoint's temperature is {str(found)[:40]!r}, no number from {_LOWEST} to {_HIGHEST:g}."
        )
    return float(found)


def rows(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """Return a table's rows of coverage: confidence, share decided, accuracy of those."""
    return [
        (
            "all" if part["min_confidence"] == 0 else f"≥ {part['min_confidence']:g}",
            f"{part['coverage']:.3f}",
            "" if part["accuracy"] is None else f"{part['accuracy']:.3f}",
        )
        for part in found["coverage"]
    ]
