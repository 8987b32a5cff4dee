"""build_model: any network by its import path, and what it says when that cannot be."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from fer.errors import ConfigError
from fer.models import build_model
from fer.models.timm_model import TimmModel

OWN = "fer.models.emotion_net.EmotionNet"

USERS_PACKAGE = '''
import torch
from torch import nn


class Plain(nn.Module):
    """Takes classes alone, and adapts itself to the images."""

    def __init__(self, num_classes, width=4):
        super().__init__()
        layers = nn.LazyLinear(width), nn.LazyBatchNorm1d(), nn.Linear(width, num_classes)
        self.layers = nn.Sequential(nn.Flatten(), *layers)

    def forward(self, x):
        return self.layers(x)


class Open(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options
        self.layer = nn.Linear(1, options["num_classes"])
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        torch.rand(3)
        return self.layer(x.mean((1, 2, 3)).unsqueeze(1))


class Needy(Plain):
    def __init__(self, num_classes, depth):
        super().__init__(num_classes)


class Shapeless(Plain):
    def forward(self, x):
        return self.layers(x).sum(1)


class Twofold(Plain):
    def forward(self, x):
        return self.layers(x), x


class Broken(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer = nn.Linear(5, num_classes)

    def forward(self, x):
        return self.layer(x.flatten(1))


class Picky(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        raise ValueError("my own reason")


def function(num_classes):
    return Plain(num_classes)
'''


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_package.py").write_text(USERS_PACKAGE)
    (tmp_path / "users_broken_package.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return "users_package"


def build(target: str, **options: Any) -> Any:
    return build_model({"_target_": target, **options}, num_classes=7, in_channels=1, image_size=48)


def test_own_network_with_options() -> None:
    net = build(OWN, dropout=0.1)
    assert net.head.dropout1.p == 0.1
    assert net.training


def test_users_network_gets_what_it_takes() -> None:
    net = build("users_package.Plain", width=8)
    assert net.layers[1].weight.shape == (8, 48 * 48)


def test_users_network_with_open_arguments_gets_all() -> None:
    net = build("users_package.Open", anything=1)
    assert net.options == {"num_classes": 7, "in_channels": 1, "image_size": 48, "anything": 1}


def test_trying_out_leaves_no_trace() -> None:
    torch.manual_seed(0)
    net = build("users_package.Open")
    after = torch.rand(1)
    assert net.calls.item() == 0
    torch.manual_seed(0)
    torch.nn.Linear(1, 7)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(3)
    first = build("users_package.Plain").state_dict()
    torch.manual_seed(3)
    second = build("users_package.Plain").state_dict()
    assert all(torch.equal(value, first[key]) for key, value in second.items())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, r"model\._target_ is missing"),
        ({"_target_": "???"}, r"model\._target_ is missing"),
        ({"_target_": "MyNet"}, r"model\._target_=MyNet is not complete"),
        ({"_target_": "users_pakage.Plain"}, "no module users_pakage. Is its folder on Python's path"),
        ({"_target_": "fer.models.emotionnet.EmotionNet"}, "no module emotionnet. .* 'emotion_net'"),
        ({"_target_": "fer.models.cnn.CNN.deeper"}, "fer.models.cnn has no module CNN"),
        ({"_target_": "fer.models.emotion_net.EmotionNt"}, "has no EmotionNt. Did you mean 'EmotionNet'"),
        ({"_target_": "users_package.function"}, r"users_package.function: is no torch.nn.Module class"),
        ({"_target_": "users_broken_package.Net"}, "imported: No module named 'not_installed_anywhere'"),
        ({"_target_": OWN, "dropuot": 1}, r"model\.dropuot: EmotionNet has .* 'dropout'\? It takes: dropout"),
        ({"_target_": "fer.models.simple_conv.SimpleConv", "a": 1}, "It takes no options"),
        ({"_target_": OWN, "num_classes": 3}, r"model\.num_classes cannot be set: the data decides it"),
        ({"_target_": OWN, "dropout": 7}, r"refuses its options: dropout probability(.|\n)*model\.dropout=7"),
        ({"_target_": OWN, "dropout": "???"}, r"model\.dropout is missing: EmotionNet needs it"),
        ({"_target_": "users_package.Needy"}, r"model\.depth is missing: Needy needs it"),
        ({"_target_": "users_package.Shapeless"}, r"must return logits of shape \(2, 7\) .* but got \(2,\)"),
        ({"_target_": "users_package.Twofold"}, r"must return logits of shape \(2, 7\) .* but got tuple"),
        ({"_target_": "users_package.Broken"}, r"Broken does not run on images of shape \(2, 1, 48, 48\)"),
    ],
)  # fmt: skip
def test_refusals(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(config, num_classes=7, in_channels=1, image_size=48)


def test_errors_of_the_users_own_code_keep_their_traceback() -> None:
    with pytest.raises(ValueError, match="my own reason"):
        build("users_package.Picky")


def test_without_weights_nothing_is_fetched_or_read() -> None:
    config = {
        "_target_": "fer.models.timm_model.TimmModel",
        "name": "test_resnet",
        "pretrained": True,
        "checkpoint_path": "nowhere.pth",
    }
    before = dict(config)
    net = build_model(config, num_classes=7, in_channels=1, image_size=48, load_weights=False)
    assert isinstance(net, TimmModel)
    assert config == before
    with pytest.raises(ConfigError, match=r"nowhere\.pth"):
        build_model(config, num_classes=7, in_channels=1, image_size=48)


def test_targets_that_are_no_networks_do_not_run() -> None:
    # An allowed prefix must not open a way to other code.
    for target, why in {
        "fer.models.build_model": "is no torch.nn.Module class",
        "fer.models.traceback": "is no torch.nn.Module class",
        "fer.models.timm_model.timm.create_model": "has no module timm",
    }.items():
        with pytest.raises(ConfigError, match=why):
            build_model({"_target_": target}, num_classes=7, in_channels=1, image_size=48)
