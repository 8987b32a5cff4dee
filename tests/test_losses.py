"""The focal loss is cross-entropy at gamma 0, and a written-out sum elsewhere."""

import pytest
import torch
from torch.nn import functional as F

from fer.losses import FocalLoss

LOGITS = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16) % 5
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_gamma_zero_is_cross_entropy(weight: torch.Tensor | None, label_smoothing: float) -> None:
    target = F.one_hot(LABELS, 5) * (1 - label_smoothing) + label_smoothing / 5
    expected = -(target * (1 if weight is None else weight) * LOGITS.log_softmax(1)).sum()
    expected = expected / (16 if weight is None else (target * weight).sum())
    found = FocalLoss(0.0, weight, label_smoothing)(LOGITS, LABELS)
    torch.testing.assert_close(found, expected)
    if label_smoothing == 0:
        torch.testing.assert_close(found, F.cross_entropy(LOGITS, LABELS, weight))


def test_written_out() -> None:
    p = LOGITS.softmax(1)[torch.arange(16), LABELS]
    torch.testing.assert_close(FocalLoss(2.0)(LOGITS, LABELS), (-((1 - p) ** 2) * p.log()).mean())


def test_soft_labels() -> None:
    soft = F.one_hot(LABELS, 5).float()
    torch.testing.assert_close(FocalLoss(2.0)(LOGITS, soft), FocalLoss(2.0)(LOGITS, LABELS))
