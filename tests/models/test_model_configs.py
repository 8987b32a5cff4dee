"""Every file of conf/model composes under Hydra and builds a network that can be trained."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from fer.errors import ConfigError
from fer.models import build_model

CONF = Path(__file__).parents[2] / "conf"
NAMES = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
OVERRIDES = {"timm": ["model.name=test_resnet"]}
SIZES = {"inception_v3": 75, "deep_cnn": 96}
LARGE = {
    "inception_v3",
    "iresnet",
    "resnet50",
    "resnet101",
    "resnet152",
    "vgg16",
    "vgg19",
}  # shapes alone: seconds else


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("conf")
    (root / "train.yaml").write_text(
        f"defaults:\n  - model: simple_conv\n  - _self_\nhydra:\n  searchpath: ['file://{CONF}']\n"
    )
    yield root
    GlobalHydra.instance().clear()


def compose(root: Path, name: str, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(root), version_base="1.3"):
        cfg = hydra.compose("train", [f"model={name}", *overrides])
    model = OmegaConf.to_container(cfg.model, resolve=True)
    assert isinstance(model, dict)
    return {str(key): value for key, value in model.items()}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "custom"])
def test_every_config_builds_a_network(root: Path, name: str) -> None:
    size = SIZES.get(name, 48)
    device = torch.device("meta") if name in LARGE else nullcontext()
    config = compose(root, name, *OVERRIDES.get(name, []))
    with device:
        net = build_model(config, num_classes=7, in_channels=1, image_size=size)
        images = torch.zeros(2, 1, size, size)
    assert net.training
    net.eval()
    with torch.no_grad():
        assert net(images).shape == (2, 7)


def test_small_cnn_has_the_parameters_that_its_config_says(root: Path) -> None:
    net = build_model(compose(root, "small_cnn"), 7, 1, 48)
    assert sum(parameter.numel() for parameter in net.parameters()) == 1_128_167


def test_custom_config_asks_for_a_target(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\._target_ is missing\. Expected .* my_package\.MyNet"):
        build_model(compose(root, "custom"), 7, 1, 48)


def test_generic_timm_config_asks_for_a_name(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.name is missing: TimmModel needs it"):
        build_model(compose(root, "timm"), 7, 1, 48)
