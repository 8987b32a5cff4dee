"""The project's own networks: published parameter counts, shapes, sizes that do not fit."""

import logging
import math
from typing import Any

import pytest
import torch
from torch import nn

from fer.errors import ConfigError
from fer.models.cnn import CNN
from fer.models.deep_cnn import DeepCNN
from fer.models.eda_cnn import EDACNN
from fer.models.emotion_net import EmotionNet
from fer.models.fully_connected import FullyConnected
from fer.models.shallow_cnn import ShallowCNN
from fer.models.simple_conv import SimpleConv

NETWORKS = [FullyConnected, SimpleConv, EmotionNet, EDACNN, ShallowCNN, DeepCNN, CNN]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def statistics(module: nn.Module) -> int:
    """Count running means and variances, which Keras counts as parameters."""
    return sum(buffer.numel() for name, buffer in module.named_buffers() if "running" in name)


@pytest.mark.parametrize(
    ("network", "size", "trainable", "running"),
    [
        (FullyConnected, 48, 305_607, 0),
        (SimpleConv, 48, 63_623, 0),
        (EmotionNet, 48, 2_456_071, 0),
        (EDACNN, 48, 428_935, 0),
        (ShallowCNN, 48, 276_999, 277_127 - 276_999),
        (DeepCNN, 96, 4_298_951, 4_300_103 - 4_298_951),
    ],
)
def test_published_parameter_counts(network: Any, size: int, trainable: int, running: int) -> None:
    net = network(num_classes=7, in_channels=1, image_size=size)
    assert count(net) == trainable
    assert statistics(net) == running


@pytest.mark.parametrize(
    ("network", "size", "features"),
    [(SimpleConv, 48, 6_400), (EDACNN, 48, 6_400), (EmotionNet, 48, 4_608), (ShallowCNN, 48, 36_864),
     (DeepCNN, 96, 18_432)],
)  # fmt: skip
def test_published_flattened_features(network: Any, size: int, features: int) -> None:
    net = network(num_classes=7, in_channels=1, image_size=size)
    assert net.backbone(torch.zeros(1, 1, size, size)).flatten(1).shape == (1, features)


@pytest.mark.parametrize("network", NETWORKS)
def test_any_classes_channels_and_size(network: Any) -> None:
    net = network(num_classes=3, in_channels=3, image_size=40)
    logits = net(torch.randn(2, 3, 40, 40))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("network", "needs"), [(SimpleConv, 10), (EDACNN, 10), (EmotionNet, 8), (ShallowCNN, 2), (DeepCNN, 8)]
)
def test_too_small_images_name_the_size_needed(network: Any, needs: int) -> None:
    network(7, 1, needs)
    with pytest.raises(
        ConfigError,
        match=rf"{network.__name__} needs .* at least {needs}x{needs}; data.image_size={needs - 1}",
    ):
        network(7, 1, needs - 1)


@pytest.mark.parametrize("network", NETWORKS)
def test_building_leaves_no_trace(network: Any) -> None:
    torch.manual_seed(0)
    first = network(7, 1, 48).state_dict()
    after = torch.rand(1)
    torch.manual_seed(0)
    with pytest.raises(ConfigError):
        EmotionNet(7, 1, 4)
    torch.manual_seed(0)
    second = network(7, 1, 48)
    assert torch.equal(after, torch.rand(1))
    assert all(torch.equal(value, first[key]) for key, value in second.state_dict().items())
    assert second.training
    for name, buffer in second.named_buffers():
        assert torch.all(buffer == (1 if name.endswith("running_var") else 0))


def test_softmax_before_the_loss_is_an_option_that_says_what_it_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = torch.randn(2, 1, 48, 48)
    torch.manual_seed(0)
    sound = EDACNN(7, 1, 48)
    assert not caplog.records
    torch.manual_seed(0)
    with caplog.at_level(logging.WARNING):
        mistaken = EDACNN(7, 1, 48, softmax=True)
    assert "published mistake" in caplog.text
    torch.testing.assert_close(mistaken(images), sound(images).softmax(1))


def test_cnn_blocks_are_as_configured() -> None:
    net = CNN(
        7,
        1,
        48,
        filters=[8, 16],
        convs_per_block=[1, 2],
        kernel_size=[5, 3],
        padding="valid",
        batch_norm=False,
        activation="gelu",
        pooling=["avg", None],
        dropout=[0.1, 0.2],
        head={"pooling": "flatten", "hidden": [32], "dropout": 0.5},
    )
    kinds = [type(layer).__name__ for block in net.backbone for layer in block]
    assert kinds == ["Conv2d", "GELU", "AvgPool2d", "Dropout", "Conv2d", "GELU", "Conv2d", "GELU", "Dropout"]
    assert net.backbone(torch.zeros(1, 1, 48, 48)).shape == (1, 16, 18, 18)  # 48 - 4 = 44, 22, 20, 18
    assert net.head.linear1.in_features == 16 * 18 * 18
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == [0.1, 0.2, 0.5]


def test_cnn_convolutions_have_a_bias_only_without_batch_norm() -> None:
    for batch_norm in (True, False):
        convolutions = [m for m in CNN(7, 1, 48, batch_norm=batch_norm).modules() if isinstance(m, nn.Conv2d)]
        assert all((conv.bias is None) == batch_norm for conv in convolutions)


@pytest.mark.parametrize(("pooling", "features"), [("avg", 128), ("max", 128), ("avgmax", 128), ("flatten", 4608)])
def test_cnn_global_pooling(pooling: str, features: int) -> None:
    net = CNN(7, 1, 48, head={"pooling": pooling})
    assert net.head.classifier.in_features == features
    assert net(torch.zeros(2, 1, 48, 48)).shape == (2, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": []}, r"model.filters=\[\]"),
        ({"filters": 32}, "model.filters=32 must be a list"),
        ({"dropout": [0.1]}, r"model.dropout=\[0.1\] .* each of the 3 blocks"),
        ({"pooling": "maxx"}, "model.pooling=maxx is not known. Did you mean 'max'"),
        ({"padding": "sane"}, "Did you mean 'same'"),
        ({"convs_per_block": [1, 0, 1]}, r"model.convs_per_block=\[1, 0, 1\]: each must be at least 1"),
        ({"activation": "RelU6x"}, "Did you mean 'ReLU6'"),
        ({"head": {"poolin": "avg"}}, "model.head.poolin: .* Did you mean 'pooling'"),
        ({"head": {"pooling": "average"}}, "model.head.pooling=average is not known. Did you mean 'avg'"),
        (
            {"kernel_size": 30, "padding": "valid"},
            r"CNN needs images of at least \d+x\d+; data.image_size=48",
        ),
    ],
)
def test_cnn_refuses_what_it_cannot_use(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CNN(7, 1, 48, **options)


def test_two_softmaxes_keep_the_loss_away_from_zero() -> None:
    # What the warning says: with scores between 0 and 1, cross-entropy over 7 classes cannot fall below this.
    best = nn.functional.cross_entropy(torch.eye(7), torch.arange(7)).item()
    assert best == pytest.approx(math.log(1 + 6 / math.e))
    assert best > 1.1


def test_a_wrong_activation_is_named_by_its_full_key() -> None:
    with pytest.raises(ConfigError, match=r"^model\.activation=abc is not one"):
        CNN(7, 1, 48, activation="abc")
    with pytest.raises(ConfigError, match=r"^model\.head\.activation=abc is not one"):
        CNN(7, 1, 48, head={"hidden": [4], "activation": "abc"})


def test_pooling_before_batch_norm_and_activation_computes_the_same():
    options = {"filters": (8, 16, 16), "convs_per_block": (1, 2, 1), "pooling": ("max", "max", None), "dropout": 0.1}
    late, early = (CNN(7, 1, 24, pool_early=early, **options).eval() for early in (False, True))
    for layer in late.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                nn.init.uniform_(values, 0.1, 1)
    early.load_state_dict(late.state_dict())
    names = [list(dict(block.named_children())) for block in early.backbone]
    assert names[0] == ["conv1", "pool", "batch_norm1", "activation1", "dropout"]
    assert names[1][3:6] == ["conv2", "pool", "batch_norm2"]
    x = torch.rand(3, 1, 24, 24)
    torch.testing.assert_close(early(x), late(x))
