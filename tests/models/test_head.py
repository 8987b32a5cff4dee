"""The dense head: published counts, order of layers, initial weights, refusals."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from fer.errors import ConfigError
from fer.models.head import Head, global_pool


def trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("features", "hidden", "count"),
    [
        (2048, [256, 256, 128], 624_135),  # on a frozen ResNet-50
        (2048, [64, 128, 256, 128], 206_279),  # on a frozen ResNet-101
        (2048, [1024, 512], 2_626_567),  # on a frozen ResNet-152
        (512, [64], 32_832 + 455),  # on VGG-19 at 48x48
    ],
)
def test_published_counts(features: int, hidden: list[int], count: int) -> None:
    assert trainable(Head(features, 7, hidden=hidden, dropout=0.5)) == count


def test_published_count_with_batch_norm() -> None:
    head = Head(3584, 3, hidden=[512], batch_norm=True, dropout=0.2, init="he_normal")
    running = sum(buffer.numel() for name, buffer in head.named_buffers() if "running" in name)
    assert trainable(head) == 1_838_083
    assert trainable(head) + running == 1_839_107  # as Keras counts


def test_order_of_layers() -> None:
    head = Head(8, 3, hidden=[4, 4], activation="Tanh", batch_norm=True, dropout=[0.0, 0.3])
    block = [nn.Linear, nn.Tanh, nn.BatchNorm1d, nn.Dropout]
    assert [type(layer) for layer in head] == [*block, *block, nn.Linear]
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.0, 0.3]


def test_dropout_without_hidden_layers_acts_before_the_classifier() -> None:
    head = Head(8, 3, dropout=0.4)
    assert [type(layer) for layer in head] == [nn.Dropout, nn.Linear]
    assert head.dropout.p == 0.4


def test_keys_of_a_checkpoint_do_not_depend_on_dropout() -> None:
    assert list(Head(8, 3, hidden=[4]).state_dict()) == list(Head(8, 3, hidden=[4], dropout=0.5).state_dict())


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("he_normal", math.sqrt(2 / 600)),
        ("He_Uniform", math.sqrt(2 / 600)),
        ("glorot_normal", math.sqrt(2 / (600 + 400))),
        ("xavier_normal", math.sqrt(2 / (600 + 400))),
        ("glorot_uniform", math.sqrt(2 / (600 + 400))),
        ("xavier_uniform", math.sqrt(2 / (600 + 400))),
        ("lecun_normal", math.sqrt(1 / 600)),
        ("orthogonal", math.sqrt(1 / 600)),
        (None, math.sqrt(1 / 600 / 3)),
    ],
)
def test_spread_of_initial_weights(init: str | None, std: float) -> None:
    torch.manual_seed(0)
    weight = Head(600, 7, hidden=[400], init=init).linear1.weight
    assert weight.std().item() == pytest.approx(std, rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=0.01 * std)
    bounded = init is None or "uniform" in init.lower()
    assert (weight.abs().max().item() <= math.sqrt(3) * std * 1.001) == bounded


def test_initial_weights_reach_the_classifier_and_biases_start_at_zero() -> None:
    torch.manual_seed(0)
    head = Head(600, 400, hidden=[600], init="he_normal")
    assert head.classifier.weight.std().item() == pytest.approx(math.sqrt(2 / 600), rel=0.01)
    assert not head.linear1.bias.any()
    assert not head.classifier.bias.any()


def test_orthogonal_rows() -> None:
    weight = Head(16, 7, hidden=[8], init="orthogonal").linear1.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "GeLUU", "hidden": [4]}, "Did you mean 'GELU'"),
        ({"activation": "Linear", "hidden": [4]}, "is not one of torch.nn's"),
        ({"init": "he_norml"}, "Did you mean 'he_normal'"),
        ({"hidden": 64}, "hidden=64 must be a list"),
        ({"hidden": [4, 4], "dropout": [0.1]}, r"dropout=\[0.1\] must be one rate, or one for each"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Head(8, 3, **options)


def test_global_pooling() -> None:
    maps = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(global_pool(maps, "avg"), nn.AdaptiveAvgPool2d(1)(maps).flatten(1))
    torch.testing.assert_close(global_pool(maps, "max"), nn.AdaptiveMaxPool2d(1)(maps).flatten(1))
    both = (global_pool(maps, "avg") + global_pool(maps, "max")) / 2
    torch.testing.assert_close(global_pool(maps, "avgmax"), both)
    assert global_pool(maps, "flatten").shape == (2, 48)
