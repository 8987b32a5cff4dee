"""Networks of timm: counts, pooling, freezing, weights from files, and asking for the impossible."""

import copy
import logging
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from fer.errors import ConfigError
from fer.models.timm_model import TimmModel, pretrained_input


def count(module: nn.Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


@pytest.mark.parametrize(
    ("name", "hidden", "count_of_head"),
    [
        ("resnet50", [256, 256, 128], 624_135),
        ("resnet101", [64, 128, 256, 128], 206_279),
        ("resnet152", [1024, 512], 2_626_567),
    ],
)
def test_published_counts_of_frozen_resnets(name: str, hidden: list[int], count_of_head: int) -> None:
    with torch.device("meta"):
        net = TimmModel(7, 3, 48, name, freeze=True, head={"pooling": "avg", "hidden": hidden, "dropout": 0.5})
    assert count(net, trainable=True) == count_of_head


def test_published_counts_of_vgg19() -> None:
    with torch.device("meta"):
        net = TimmModel(7, 3, 48, "vgg19", head={"pooling": "flatten", "hidden": [64], "dropout": 0.5})
    assert count(net.backbone) == 20_024_384
    assert count(net.head) == 32_832 + 455


@pytest.mark.parametrize(
    ("name", "size", "pooling", "features"),
    [
        ("test_resnet", 48, None, 96),
        ("test_resnet", 48, "avg", 96),
        ("test_vit", 48, None, 64),
        ("mobilenetv3_small_050", 48, None, 1024),
        ("mobilenetv3_small_050", 48, "avg", 288),
        ("mobilenetv3_small_050", 64, "flatten", 288 * 4),
        ("swin_tiny_patch4_window7_224", 64, "avgmax", 768),
        ("vgg11", 48, "max", 512),
        ("convnext_atto", 64, "avg", 320),
    ],
)
def test_pooling(name: str, size: int, pooling: str | None, features: int) -> None:
    with torch.device("meta"):
        net = TimmModel(5, 1, size, name, head={"pooling": pooling})
        assert net.head.classifier.in_features == features
        logits = net(torch.zeros(2, 1, size, size))
        assert logits.shape == (2, 5)
        logits.sum().backward()
    # Distributed training stops at parameters that get no gradient.
    assert [key for key, parameter in net.named_parameters() if parameter.grad is None] == []


def test_channels_last_maps_are_pooled_over_space() -> None:
    torch.manual_seed(0)
    net = TimmModel(5, 1, 64, "swin_tiny_patch4_window7_224", head={"pooling": "avg"}).eval()
    images = torch.randn(1, 1, 64, 64)
    maps = net.backbone.forward_features(images)
    torch.testing.assert_close(net(images), net.head(maps.mean((1, 2))))


def test_own_pooling_is_the_architectures() -> None:
    net = TimmModel(5, 1, 48, "mobilenetv3_small_050").eval()
    images = torch.randn(2, 1, 48, 48)
    torch.testing.assert_close(net(images), net.head(net.backbone(images)))


def test_token_models_refuse_map_pooling() -> None:
    with pytest.raises(ConfigError, match=r"test_vit makes tokens, not a feature map; .*pooling=null"):
        TimmModel(5, 1, 48, "test_vit", head={"pooling": "avg"})


def test_freezing_holds_under_train() -> None:
    net = TimmModel(5, 1, 48, "test_resnet", freeze=True, kwargs={"drop_path_rate": 0.5})
    assert not any(module.training for module in net.backbone.modules())
    net.train()
    assert net.training
    assert net.head.training
    assert not any(module.training for module in net.backbone.modules())
    before = copy.deepcopy(net.backbone.state_dict())
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        net(torch.randn(4, 1, 48, 48)).sum().backward()
        optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in net.backbone.state_dict().items())
    assert all(parameter.grad is not None for parameter in net.head.parameters())


def test_building_leaves_no_trace() -> None:
    torch.manual_seed(0)
    first = TimmModel(5, 1, 48, "test_resnet", head={"pooling": "avg"})
    after = torch.rand(1)
    torch.manual_seed(0)
    second = TimmModel(5, 1, 48, "test_resnet", head={"pooling": "avg"})
    assert torch.equal(after, torch.rand(1))
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in second.state_dict().items())
    # The trial run took no random number, neither before the head's weights nor after.
    torch.manual_seed(0)
    plain = timm.create_model("test_resnet", in_chans=1, num_classes=0)
    assert all(torch.equal(value, first.backbone.state_dict()[key]) for key, value in plain.state_dict().items())
    assert all(module.training for module in first.modules())
    assert all(b.item() == 0 for name, b in first.named_buffers() if name.endswith("num_batches_tracked"))


# Weights


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state: dict[str, torch.Tensor] = timm.create_model("test_resnet", num_classes=1000).state_dict()
    return state


@pytest.mark.parametrize("form", ["safetensors", "plain.pth", "nested.pt", "module.bin"])
@pytest.mark.parametrize("pooling", [None, "avg"])
def test_weights_from_a_local_file(
    tmp_path: Path, weights: dict[str, torch.Tensor], form: str, pooling: str | None
) -> None:
    path = tmp_path / f"weights.{form}"
    if form == "safetensors":
        save_file(weights, path)
    elif form == "plain.pth":
        torch.save(weights, path)
    elif form == "nested.pt":
        torch.save({"epoch": 3, "state_dict": weights}, path)
    else:
        torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, path)
    head = {"pooling": pooling}
    net = TimmModel(5, 1, 48, "test_resnet", checkpoint_path=str(path), head=head)
    state = net.backbone.state_dict()
    assert not [key for key in state if key.startswith("fc.")]
    for key, value in state.items():
        expected = weights[key].sum(1, keepdim=True) if key == "conv1.0.weight" else weights[key]
        torch.testing.assert_close(value, expected)
    # Weights do not move the random numbers of what comes after: the head starts as without them.
    torch.manual_seed(0)
    loaded = TimmModel(5, 1, 48, "test_resnet", checkpoint_path=str(path), head=head)
    torch.manual_seed(0)
    fresh = TimmModel(5, 1, 48, "test_resnet", head=head)
    assert torch.equal(loaded.head.classifier.weight, fresh.head.classifier.weight)


def test_weights_of_layers_that_are_left_out_are_not_missed(tmp_path: Path) -> None:
    # A file of VGG's convolutions alone is complete for a pooled VGG, and far from it with VGG's own head.
    net = timm.create_model("vgg11", num_classes=0, mlp_ratio=0.05)
    state = {key: value for key, value in net.state_dict().items() if key.startswith("features.")}
    torch.save(state, tmp_path / "features.pth")
    options: dict[str, Any] = {
        "kwargs": {"mlp_ratio": 0.05},
        "checkpoint_path": str(tmp_path / "features.pth"),
    }
    TimmModel(5, 1, 48, "vgg11", head={"pooling": "avg"}, **options)
    with pytest.raises(ConfigError, match=r"they fill 16 of its 20 tensors"):
        TimmModel(5, 1, 48, "vgg11", **options)


def test_a_few_missing_tensors_are_said_in_the_log(
    tmp_path: Path, weights: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    incomplete = {key: value for key, value in weights.items() if key != "bn1.weight"}
    torch.save(incomplete, tmp_path / "weights.pth")
    with caplog.at_level(logging.WARNING):
        TimmModel(5, 1, 48, "test_resnet", checkpoint_path=str(tmp_path / "weights.pth"))
    assert "no weights for bn1.weight of test_resnet" in caplog.text


@pytest.mark.parametrize("contents", ["other architecture", "strange keys", "wrong shapes", "no tensors", "code"])
def test_files_that_do_not_fit_are_refused(tmp_path: Path, weights: dict[str, torch.Tensor], contents: str) -> None:
    path = tmp_path / "weights.pth"
    if contents == "other architecture":
        torch.save(timm.create_model("test_convnext").state_dict(), path)
    elif contents == "strange keys":
        torch.save({f"net.{key}": value for key, value in weights.items()}, path)
    elif contents == "wrong shapes":
        torch.save(
            {key: value.repeat_interleave(2, 0) if value.ndim else value for key, value in weights.items()},
            path,
        )
    elif contents == "no tensors":
        path.write_text("not a checkpoint")
    else:
        torch.save({"state_dict": nn.Linear(1, 1)}, path)
    with pytest.raises(ConfigError, match=r"weights\.pth") as caught:
        TimmModel(5, 1, 48, "test_resnet", checkpoint_path=str(path))
    assert len(str(caught.value)) < 2000
    if contents == "strange keys":
        assert "conv1" in str(caught.value)  # timm before 1.0.31 stops at the first key that it misses


def test_missing_file() -> None:
    with pytest.raises(ConfigError, match=r"model\.checkpoint_path=nowhere\.pth: there is no such file"):
        TimmModel(5, 1, 48, "test_resnet", checkpoint_path="nowhere.pth")


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("Name or service not known")

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("timm must not be let loose on an unreachable hub")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", forbidden)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **kwargs: None)
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="Name or service not known") as caught:
        TimmModel(5, 1, 48, "test_resnet", pretrained=True)
    assert time.monotonic() - begun < 5
    message = str(caught.value)
    assert "model.checkpoint_path=<file>" in message
    assert "huggingface.co/timm/test_resnet.r160_in1k" in message
    assert "model.safetensors" in message


def test_hub_failing_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *args, **kwargs: None)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **kwargs: None)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", broken)
    with pytest.raises(ConfigError, match=r"connection reset\n.*model.checkpoint_path=<file>"):
        TimmModel(5, 1, 48, "test_resnet", pretrained=True)


def test_cached_weights_need_no_hub(
    tmp_path: Path, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the hub was asked for what the cache holds")

    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **kwargs: str(path))
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", forbidden)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", forbidden)
    net = TimmModel(5, 3, 48, "test_resnet", pretrained=True)
    torch.testing.assert_close(net.backbone.conv1[0].weight.detach(), weights["conv1.0.weight"])


def test_architecture_without_weights() -> None:
    with pytest.raises(ConfigError, match=r"no pretrained weights of convnextv2_small\. .*Did you mean"):
        TimmModel(5, 1, 48, "convnextv2_small", pretrained=True)


# Names, options, sizes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "densnet121"}, "model.name=densnet121: timm has .* Did you mean 'densenet121'"),
        ({"name": "resnet50.a1_in2k"}, r"no resnet50 is tagged a1_in2k\. Did you mean 'resnet50\.a1"),
        ({"name": "hf-hub:someone/model"}, "timm has no such architecture"),
        ({"name": "test_resnet", "kwargs": {"in_chans": 3}}, "model.kwargs.in_chans cannot be set: the data"),
        ({"name": "test_resnet", "kwargs": {"checkpoint_path": "x"}}, "use model.checkpoint_path"),
        ({"name": "test_resnet", "kwargs": {"stem": 1}}, r"model.kwargs=\{'stem': 1\}: TypeError: .*'stem'"),
        ({"name": "test_resnet", "kwargs": {"global_pool": ""}}, "set model.head.pooling"),
        ({"name": "test_resnet", "head": {"hiden": [3]}}, "model.head.hiden: .* Did you mean 'hidden'"),
    ],
)  # fmt: skip
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TimmModel(5, 1, 48, **options)


def test_names_with_a_tag() -> None:
    assert TimmModel(5, 1, 48, "test_resnet.r160_in1k")(torch.zeros(1, 1, 48, 48)).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("inception_v3", 48, "inception_v3 needs images of at least 75x75; data.image_size=48"),
        ("vgg11", 16, "vgg11 needs images of at least 32x32; data.image_size=16"),
        (
            "twins_svt_small",
            50,
            "twins_svt_small does not run on every size; 64x64 works, data.image_size=50 not",
        ),
    ],
)
def test_images_that_do_not_fit(name: str, size: int, message: str) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        TimmModel(5, 1, size, name)
    assert torch.equal(torch.rand(1), expected)


def test_architectures_of_one_size_are_built_for_the_images() -> None:
    net = TimmModel(5, 1, 48, "test_vit")
    assert net.backbone.patch_embed.img_size == (48, 48)
    dynamic = TimmModel(5, 1, 48, "test_vit", kwargs={"img_size": 96, "dynamic_img_size": True})
    assert dynamic.backbone.patch_embed.img_size == (96, 96)


def test_pretrained_input() -> None:
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert pretrained_input("densenet121") == (224, *imagenet)
    assert pretrained_input("resnet50.tv_in1k") == (224, *imagenet)
    assert pretrained_input("inception_v3")[0] == 299
    assert pretrained_input("vit_tiny_patch16_224")[1:] == ((0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ConfigError, match="Did you mean"):
        pretrained_input("densnet121")


def test_a_deeper_networks_weights_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("resnet18", "resnet34"):
        torch.save(timm.create_model(name).state_dict(), tmp_path / f"{name}.pth")
    with caplog.at_level("INFO"):
        TimmModel(7, 3, 32, "resnet18", checkpoint_path=str(tmp_path / "resnet18.pth"))
    assert "filled 100 of 100 tensors of resnet18, 0 unused" in caplog.text
    with pytest.raises(ConfigError, match=r"they fill 100 of its 100 tensors, and 80 more.* are not used"):
        TimmModel(7, 3, 32, "resnet18", checkpoint_path=str(tmp_path / "resnet34.pth"))
