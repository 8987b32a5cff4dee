"""Several backbones, one head."""

import pytest
import timm
import torch
from conftest import composed

from fer.errors import ConfigError
from fer.models import build_model, fusion, timm_model
from fer.models.fusion import Fusion
from fer.models.preprocessing import Preprocessing, of_pretrained, resolve
from fer.models.timm_weights import Weights

TWO = ["test_resnet", "test_efficientnet"]


def net(**options: object) -> Fusion:
    built = build_model({"_target_": "fer.models.fusion.Fusion", "backbones": TWO, **options}, 7, 1, 48)
    assert isinstance(built, Fusion)
    return built


def test_the_head_sees_all_features() -> None:
    fused = net(pooling="avg", head={"hidden": [16]})
    widths = [branch.num_features for branch in fused.backbone]
    assert fused.head.linear1.in_features == sum(widths)
    logits = fused(torch.rand(2, 1, 48, 48))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    for branch in fused.backbone:
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in branch.parameters())


def test_frozen_backbones_stay_as_they_are() -> None:
    fused = net(freeze=[True, False]).train()
    first, second = fused.backbone
    assert not any(p.requires_grad for p in first.parameters())
    assert all(p.requires_grad for p in second.parameters())
    assert not first.backbone.training
    assert second.backbone.training
    before = {key: value.clone() for key, value in first.state_dict().items()}
    fused(torch.rand(4, 1, 48, 48))
    assert all(torch.equal(before[key], value) for key, value in first.state_dict().items())


def test_each_backbone_gets_its_own_size() -> None:
    fused = net(image_sizes=[48, 75])
    sizes = []
    for branch in fused.backbone:
        branch.register_forward_pre_hook(lambda module, args: sizes.append(args[0].shape[-1]))
    fused(torch.rand(2, 1, 48, 48))
    assert sizes == [48, 75]


def test_the_shipped_sizes_fit_other_backbones() -> None:
    shipped = composed("model=fusion", "model.backbones=[test_resnet,test_efficientnet]")["model"]
    assert build_model(shipped, 7, 1, 48).image_sizes == [48, 48]
    backbones = [*shipped["backbones"], "inception_v3"]  # which needs 75 pixels
    assert build_model({**shipped, "backbones": backbones}, 7, 1, 48).image_sizes == [48, 48, 75]


def test_each_pretrained_backbone_gets_its_own_mean_and_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = {"test_resnet": ((0.4, 0.5, 0.6), (0.2, 0.2, 0.2)), "test_efficientnet": ((0.5,) * 3, (0.5,) * 3)}
    for module in (fusion, timm_model):
        monkeypatch.setattr(module, "pretrained_input", lambda name: (160, *statistics[name]))
    model = {"_target_": "fer.models.fusion.Fusion", "backbones": TWO, "pretrained": True, "image_sizes": [48, 75]}
    data = {"image_size": None, "channels": None, "mean": None, "std": None, "native_size": 48, "native_channels": 1}
    preprocess = resolve(data, of_pretrained(model))
    assert preprocess == Preprocessing(75, 3, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
    # A checkpoint's network is built without its pretrained weights, and brings the statistics itself.
    monkeypatch.setattr(timm_model, "hub_weights", lambda name, cfg: Weights("here", {"state_dict": weights[name]}))
    weights = {name: timm.create_model(name, num_classes=0).state_dict() for name in TWO}
    first = build_model(model, 7, 3, 75)
    fused = build_model(model, 7, 3, 75, load_weights=False)
    fused.load_state_dict(first.state_dict())
    images, seen = torch.randint(0, 256, (2, 75, 75), dtype=torch.uint8), []
    for branch in fused.backbone:
        branch.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    fused(preprocess(images))
    assert seen[0].shape == (2, 3, 48, 48)
    mean, std = (torch.tensor(values)[:, None, None] for values in statistics["test_efficientnet"])
    torch.testing.assert_close(seen[1], (images[:, None].float() / 255 - mean) / std)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backbones": ["test_resnet"]}, "needs two or more"),
        ({"backbones": ["test_resnet", "test_resnett"]}, "Did you mean 'test_resnet'"),
        ({"freeze": [True]}, "one entry for each of 2 backbones"),
        ({"image_sizes": [48, 48, 48]}, "one entry for each of 2 backbones"),
        ({"backbones": ["test_resnet", "inception_v3"], "image_sizes": [48, 48]}, "inception_v3"),
        ({"head": {"hiden": [3]}}, "Did you mean 'hidden'"),
    ],
)
def test_errors(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        net(**options)
