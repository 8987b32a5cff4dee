"""A frozen backbone's features are computed once, and training on them is the same training."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY

from fer.models.timm_model import TimmModel
from fer.training import features
from fer.training.features import are_constant

FROZEN = (
    *TINY, "model=timm", "model.name=test_resnet", "model.freeze=true", "model.head.hidden=[16]",
    "model.head.dropout=0.3", "transforms=none", "data.image_size=32", "trainer.max_epochs=3",
)  # fmt: skip
Train = Callable[..., Path]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the images that the backbone sees."""
    seen: list[int] = []
    forward = TimmModel.forward_features

    def counted(self: TimmModel, x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(TimmModel, "forward_features", counted)
    return seen


@pytest.mark.parametrize("model", [(), ("model=iresnet", "model.layers=[1,1,1,1]")], ids=["timm", "iresnet"])
def test_training_on_cached_features_is_the_same_training(
    train_here: Train, tmp_path: Path, model: tuple[str, ...]
) -> None:
    recipe = tuple(o for o in FROZEN if not (model and o.startswith(("model=", "model.name="))))
    cache = f"data.cache_dir={tmp_path}/cache"
    with_cache = train_here(*model, *recipe, cache, name="with")
    without = train_here(*model, *recipe, cache, "cache_features=false", name="without")
    assert list((tmp_path / "cache").glob("features-*/features.npy"))
    a, b = weights(with_cache), weights(without)
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-6)
    assert (with_cache / "history.csv").read_text().count("\n") == 4


def test_a_network_of_ones_own_may_call_anything_freeze() -> None:
    net, augment = torch.nn.Linear(2, 2), ()
    net.freeze = lambda: None
    module, data = SimpleNamespace(net=net, mix=None), SimpleNamespace(augment=augment)
    assert not are_constant(module, data)
    module.net = TimmModel(7, 1, 32, "test_resnet", freeze=True)
    assert are_constant(module, data)


def test_the_backbone_sees_each_image_once(train_here: Train, tmp_path: Path, passes: list[int]) -> None:
    cache = f"data.cache_dir={tmp_path}/cache"
    train_here(*FROZEN, cache, name="first")
    once = sum(passes)
    passes.clear()
    train_here(*FROZEN, cache, "optimizer.lr=0.01", name="second")
    assert 280 <= once < 280 + 20  # each image once; the rest is trying the network out, each time that it is built
    assert sum(passes) < 20
    passes.clear()
    train_here(*FROZEN, cache, "tta=flip", name="mirrored")
    assert sum(passes) > 2 * 50  # validation and test images, and their mirror images
    passes.clear()
    train_here(*FROZEN, cache, "cache_features=false", name="third")
    assert sum(passes) > 3 * 220


@pytest.mark.parametrize(
    "option",
    [
        "transforms=light", "mixup=mixup", "model.freeze=false", "data.image_size=48", "seed=1",
        "model.head.pooling=max", "model.head.init=he_normal",
    ],
)  # fmt: skip
def test_features_that_change_are_not_reused(train_here: Train, tmp_path: Path, option: str) -> None:
    cache = f"data.cache_dir={tmp_path}/cache"
    train_here(*FROZEN, cache, name="first")
    before = set((tmp_path / "cache").glob("features-*"))
    train_here(*FROZEN, cache, option, name="second")
    after = set((tmp_path / "cache").glob("features-*"))
    # Another size, pooling or other random weights make other features; augmentation and training make none, and
    # the rest of the head comes after them.
    assert (after != before) == (option in ("data.image_size=48", "seed=1", "model.head.pooling=max"))


@pytest.mark.parametrize("damage", [b"", b"cut", None])
def test_damaged_features_are_not_used(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "features.npy"
    assert features._kept(path, 3) is None
    np.save(path, np.ones((3, 4), np.float32))
    (tmp_path / "features.crc32").write_text(features._crc32(path))
    assert features._kept(path, 3) is not None
    assert features._kept(path, 4) is None
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content if damage is None else damage)
    assert features._kept(path, 3) is None
