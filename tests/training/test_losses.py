"""The focal loss is cross-entropy at gamma 0, and a written-out sum elsewhere; means of batches add up."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fer.training.losses import FocalLoss, MultiTargetLoss, batch_weight

LOGITS = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16) % 5
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_gamma_zero_is_cross_entropy(weight: torch.Tensor | None, label_smoothing: float) -> None:
    soft = F.one_hot(LABELS, 5) * 0.7 + 0.06
    for target in (LABELS, soft):
        expected = F.cross_entropy(LOGITS, target, weight, label_smoothing=label_smoothing)
        torch.testing.assert_close(FocalLoss(0.0, weight, label_smoothing)(LOGITS, target), expected)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("target", [LABELS, F.one_hot(LABELS, 5) * 0.7 + 0.06], ids=["labels", "distributions"])
@pytest.mark.parametrize(
    "make", [nn.CrossEntropyLoss, lambda **o: FocalLoss(2.0, **o), lambda **_: MultiTargetLoss()],
    ids=["cross_entropy", "focal", "multi_target"],
)  # fmt: skip
def test_means_of_parts_make_the_mean_of_the_whole(
    make: Callable[..., nn.Module], target: torch.Tensor, weight: torch.Tensor | None
) -> None:
    loss = make(weight=weight, label_smoothing=0.1)
    parts = [slice(0, 1), slice(1, 4), slice(4, 16)]
    means = torch.stack([loss(LOGITS[part], target[part]) for part in parts])
    weights = torch.stack([batch_weight(loss, target[part]) for part in parts])
    torch.testing.assert_close((means * weights).sum() / weights.sum(), loss(LOGITS, target))


def test_written_out() -> None:
    p = LOGITS.softmax(1)[torch.arange(16), LABELS]
    torch.testing.assert_close(FocalLoss(2.0)(LOGITS, LABELS), (-((1 - p) ** 2) * p.log()).mean())


def test_soft_labels() -> None:
    soft = F.one_hot(LABELS, 5).float()
    torch.testing.assert_close(FocalLoss(2.0)(LOGITS, soft), FocalLoss(2.0)(LOGITS, LABELS))


@pytest.mark.parametrize("kind", ["mixup_alpha", "cutmix_alpha"])
def test_a_whole_number_mixes_images_too(kind: str) -> None:
    from fer.training.losses import build_mix

    mix = build_mix({"mixup_alpha": 0, "cutmix_alpha": 0, kind: 1}, 3)
    assert mix is not None
    _, target = mix(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))
    assert target.shape == (4, 3)


def test_a_power_below_1_has_a_slope_where_the_answer_is_certain() -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    FocalLoss(gamma=0.5)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
