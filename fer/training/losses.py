"""Losses that torch lacks, and what the groups ``loss`` and ``mixup`` build."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer.build import build
from fer.errors import ConfigError

if TYPE_CHECKING:
    from torchvision.transforms import v2


def batch_weight(loss: nn.Module, target: Tensor) -> Tensor:
    """Return what a loss has divided its sum over a batch by.

    Weighed by it, the means of several batches, or of several devices' shares of one, make the mean over all of them.

    Args:
        loss: Any loss that returns a mean.
        target: int64 class indices of shape (B,), or float probabilities of shape (B, C).

    Returns:
        float of shape (): with class weights and class indices the sum of the samples' weights, else B.
    """
    weight = getattr(loss, "weight", None)
    if weight is None or target.ndim > 1 or not isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss | FocalLoss):
        return torch.tensor(float(len(target)), device=target.device)
    return weight[target].float().sum()  # type: ignore[no-any-return]


class FocalLoss(nn.Module):
    """Multi-class focal loss: cross-entropy in which well-classified samples count less.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, https://arxiv.org/abs/1708.02002.

    Args:
        gamma: Focusing exponent; 0 is cross-entropy.
        weight: float of shape (C,), weight of each class, or None.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1).
    """

    weight: Tensor | None

    def __init__(self, gamma: float = 2.0, weight: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.gamma, self.label_smoothing = gamma, label_smoothing
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            logits: float of shape (B, C).
            target: int64 class indices of shape (B,), or float probabilities of shape (B, C).
        """
        num_classes = logits.shape[1]
        # As torch's weighted cross-entropy: a weighted mean, so that the loss keeps its scale.
        total = batch_weight(self, target).clamp(min=1e-12)
        if target.ndim == 1:
            target = F.one_hot(target, num_classes)
        target = target.to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / num_classes
        log_p = F.log_softmax(logits, dim=1)
        # Where a probability is 1, a power below 1 has no finite slope.
        terms = target * (1 - log_p.exp()).clamp(min=1e-6).pow(self.gamma) * log_p
        return -(terms if self.weight is None else terms * self.weight).sum() / total


class LogitAdjustedLoss(nn.Module):
    """Cross-entropy that asks more of rare classes: each logit is raised by its class's share of the training images.

    At prediction nothing is added, so the network judges as if all classes were equally frequent.
    Source: Menon et al., "Long-tail Learning via Logit Adjustment", ICLR 2021, https://arxiv.org/abs/2007.07314.

    Args:
        class_priors: Share of each class in the training images, C numbers.
        tau: How much of their logarithm is added; 0 is cross-entropy, 1 balances the classes.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1).
    """

    offset: Tensor

    def __init__(self, class_priors: Sequence[float], tau: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        shares = torch.tensor(class_priors, dtype=torch.float32)
        self.register_buffer("offset", tau * shares.clamp(min=1e-6).log(), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            logits: float of shape (B, C).
            target: int64 class indices of shape (B,), or float probabilities of shape (B, C).
        """
        return F.cross_entropy(logits + self.offset, target, label_smoothing=self.label_smoothing)


class MultiTargetLoss(nn.Module):
    """Asks for any one of the emotions that enough raters saw: the negative log of the largest probability among them.

    Source: Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
    Distribution", ICMI 2016, https://arxiv.org/abs/1608.01041.

    Args:
        epsilon: Share that every other emotion keeps.
    """

    def __init__(self, epsilon: float = 0.001) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            logits: float of shape (B, C).
            target: float of shape (B, C), above 0 for each emotion that counts; or int64 class indices (B,).
        """
        if target.ndim == 1:
            target = F.one_hot(target, logits.shape[1])
        weight = (1 - self.epsilon) * (target > 0).to(logits.dtype) + self.epsilon
        return -(F.log_softmax(logits, dim=1) + weight.log()).amax(1).mean()


def build_loss(node: Mapping[str, Any], num_classes: int) -> nn.Module:
    """Build the loss that the ``loss`` group names.

    Args:
        node: ``_target_``, options, and ``class_weights``: None, or one number a class.
        num_classes: Classes.

    Raises:
        ConfigError: If there are not as many class weights as classes, or an option is refused.
    """
    options = dict(node)
    weights, priors = options.pop("class_weights", None), options.get("class_priors")
    if priors is not None and len(priors) != num_classes:
        raise ConfigError(f"loss.class_priors={priors}: must be null or {num_classes} numbers, one a class.")
    if weights is not None:
        if isinstance(weights, str) or len(weights) != num_classes:
            raise ConfigError(
                f"loss.class_weights={weights}: must be null, balanced, or {num_classes} numbers, one a class."
            )
        return build(options, "loss", weight=torch.tensor(weights, dtype=torch.float32))  # type: ignore[no-any-return]
    return build(options, "loss")  # type: ignore[no-any-return]


def build_mix(node: Mapping[str, float], num_classes: int) -> "v2.Transform | None":
    """Return torchvision's MixUp, CutMix, or an even choice of both; None if both are off."""
    if not node["mixup_alpha"] > 0 and not node["cutmix_alpha"] > 0:
        return None
    from torchvision.transforms import v2  # for this alone

    mixes: list[v2.Transform] = []
    if node["mixup_alpha"] > 0:
        mixes.append(v2.MixUp(alpha=float(node["mixup_alpha"]), num_classes=num_classes))
    if node["cutmix_alpha"] > 0:
        mixes.append(v2.CutMix(alpha=float(node["cutmix_alpha"]), num_classes=num_classes))
    return v2.RandomChoice(mixes)
