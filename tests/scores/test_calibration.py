"""One temperature for all probabilities, and accuracy against coverage."""

import numpy as np
import pytest
import torch

from fer.errors import FERError
from fer.scores import calibration


def answers(temperature: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of logits that are ``temperature`` times too large, and labels drawn from the true ones."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (count, 4))
    true = torch.from_numpy(logits).softmax(1).numpy()
    labels = np.array([rng.choice(4, p=p) for p in true])
    return torch.from_numpy(logits * temperature).float().softmax(1).numpy(), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_spoiled_the_probabilities_is_found(temperature: float) -> None:
    p, labels = answers(temperature)
    found = calibration.fit(p, labels)
    assert found == pytest.approx(temperature, rel=0.1)
    after = calibration.calibrated(p, found)
    assert (after.argmax(1) == p.argmax(1)).all()
    values = calibration.compared(p, after, labels, found)
    assert values["nll_calibrated"] <= values["nll"] + 1e-6
    assert values["ece_calibrated"] < 0.03


def test_dividing_logits_is_what_it_does() -> None:
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 4
    p = logits.softmax(1).numpy()
    np.testing.assert_allclose(calibration.calibrated(p, 1.7), (logits / 1.7).softmax(1).numpy(), atol=1e-6)
    assert calibration.calibrated(p, 1.0) is p
    labels = logits.argmax(1).numpy()
    loss = torch.nn.functional.cross_entropy(logits / 1.7, torch.from_numpy(labels))
    assert calibration.nll(p, labels, 1.7) == pytest.approx(float(loss), abs=1e-5)


def test_certain_and_few_answers_break_nothing() -> None:
    p = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    labels = np.arange(60) % 3
    assert np.isfinite(calibration.fit(p, labels))
    assert np.isfinite(calibration.fit(p, (labels + 1) % 3))
    assert calibration.fit(p[:5], labels[:5]) == 1, "too few to tell"


def test_coverage_of_known_answers() -> None:
    p = np.array([[0.95, 0.05], [0.85, 0.15], [0.45, 0.55], [0.52, 0.48]], np.float32)
    labels = np.array([0, 1, 1, 1])
    found = {part["min_confidence"]: part for part in calibration.compared(p, p, labels, 1.0)["coverage"]}
    assert found[0.0] == {"min_confidence": 0.0, "coverage": 1.0, "accuracy": 0.5}
    assert found[0.6] == {"min_confidence": 0.6, "coverage": 0.5, "accuracy": 0.5}
    assert found[0.9] == {"min_confidence": 0.9, "coverage": 0.25, "accuracy": 1.0}
    share, accuracy = calibration.curve(p, labels)
    assert share.tolist() == [0.25, 0.5, 0.75, 1]
    assert accuracy.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])


@pytest.mark.parametrize("value", ["x", True, 0, -1, float("nan"), float("inf"), 1e9, None])
def test_a_temperature_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(FERError, match="temperature"):
        calibration.temperature_of({"calibration": {"temperature": value}})
    with pytest.raises(FERError, match="temperature"):
        calibration.temperature_of({"calibration": [1.0]})
    assert calibration.temperature_of({}) == 1, "an older checkpoint"
