"""Callbacks that a network or a run cannot take are refused before training, with what to do."""

from types import SimpleNamespace
from typing import Any

import pytest

from fer.errors import ConfigError
from fer.training.callbacks import GradualUnfreezing, ProgressiveResizing
from fer.training.module import FERModule


def module(model: str, **options: Any) -> FERModule:
    return FERModule(
        classes=["happy", "sad"],
        preprocessing={"image_size": 48, "channels": 1, "mean": [0.5], "std": [0.25]},
        model={"_target_": f"fer.models.{model}", **options},
        loss={"_target_": "torch.nn.CrossEntropyLoss"},
        optimizer={"name": "sgd", "lr": 0.1, "weight_decay": 0.0, "backbone_lr_factor": 1.0, "layer_decay": None},
        scheduler={"_target_": "fer.training.optim.warmup_cosine", "interval": "step"},
        mixup={"mixup_alpha": 0, "cutmix_alpha": 0},
    )


def trainer(features: object = None, world_size: int = 1) -> Any:
    return SimpleNamespace(datamodule=SimpleNamespace(features=features), world_size=world_size)


TIMM = {"model": "timm_model.TimmModel", "name": "test_resnet"}


def test_progressive_resizing_needs_global_pooling() -> None:
    callback = ProgressiveResizing(image_size=32)
    with pytest.raises(ConfigError, match=r"SimpleConv does not take images of another size \(32x32\).*global pooling"):
        callback.on_fit_start(trainer(), module("simple_conv.SimpleConv"))
    callback.on_fit_start(trainer(), module(**TIMM))


def test_progressive_resizing_needs_images() -> None:
    with pytest.raises(ConfigError, match="cached features have one size"):
        ProgressiveResizing(image_size=32).on_fit_start(trainer(features=[1]), module(**TIMM))


def test_progressive_resizing_needs_a_number_of_epochs() -> None:
    endless = SimpleNamespace(max_epochs=-1, max_steps=-1, current_epoch=0)
    with pytest.raises(ConfigError, match=r"which nothing says\. Set trainer\.max_epochs or trainer\.max_steps\."):
        ProgressiveResizing(image_size=32).on_train_start(endless, module(**TIMM))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"model": "fully_connected.FullyConnected"}, "FullyConnected has no backbone to unfreeze. Choose a network"),
        ({**TIMM, "freeze": True}, r"the backbone of TimmModel is frozen for good\. Say model\.freeze=false"),
    ],
)
def test_unfreezing_needs_a_backbone_that_is_not_frozen_for_good(model: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GradualUnfreezing(epoch=1).on_fit_start(trainer(), module(**model))


def test_unfreezing_works_on_one_device() -> None:
    with pytest.raises(ConfigError, match="works on one device"):
        GradualUnfreezing(epoch=1).on_fit_start(trainer(world_size=2), module(**TIMM))
    GradualUnfreezing(epoch=1).on_fit_start(trainer(), module(**TIMM))
