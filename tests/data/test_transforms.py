"""Augmentation: what it does to pixels, and that workers, epochs and processes never repeat each other's."""

import subprocess
import sys
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import yaml
from conftest import REPO
from torch.utils.data import DataLoader

from fer.data.augment import Augment
from fer.data.loading import ImageDataset, as_is
from fer.data.samples import Samples
from fer.data.sampling import TrainBatches
from fer.data.transforms import Affine
from fer.errors import ConfigError

FLIP_AND_NOISE = {
    "flip": {"_target_": "albumentations.HorizontalFlip", "p": 0.5},
    "noise": {"_target_": "albumentations.GaussNoise", "p": 1.0},
}


def loader(num_workers: int, epoch: int = 0, rank: int = 0, world_size: int = 1) -> list[np.ndarray]:
    images = np.full((48, 16, 16), 128, dtype=np.uint8)  # all alike: whatever differs was drawn
    labels = np.zeros(48, dtype=np.int64)
    samples = Samples(images, labels, np.full(48, "train"), np.arange(48).astype(str), ("angry", "happy"))
    dataset = ImageDataset(samples, np.arange(48), Augment(FLIP_AND_NOISE))
    batches = TrainBatches(48, 8, seed=0, epoch=epoch, rank=rank, world_size=world_size)
    data = DataLoader(dataset, batch_sampler=batches, num_workers=num_workers, collate_fn=as_is)
    return [batch["image"].numpy() for batch in data]


def test_same_pixels_with_any_number_of_workers() -> None:
    alone = loader(0)
    for workers in (1, 2):
        np.testing.assert_array_equal(alone, loader(workers))


def test_batches_epochs_and_processes_differ() -> None:
    first = loader(2)
    assert len({batch.tobytes() for batch in first}) == len(first)
    assert all(len({image.tobytes() for image in batch}) == len(batch) for batch in first)
    second = loader(2, epoch=1)
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    ranks = [loader(2, rank=rank, world_size=2) for rank in range(2)]
    assert not any(np.array_equal(a, b) for a, b in zip(*ranks, strict=True))


@pytest.mark.parametrize("name", ["none", "light", "standard", "strong"])
@pytest.mark.parametrize("shape", [(4, 48, 48), (4, 48, 48, 3)])
def test_shipped_pipelines_keep_shape_and_type_and_change_pixels(name: str, shape: tuple[int, ...]) -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    conf = Path(__file__).parents[2] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        nodes = OmegaConf.to_container(compose("train", [f"transforms={name}"]).transforms)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    out = Augment(nodes)(images, (0,))
    assert out.shape == shape
    assert out.dtype == np.uint8
    assert np.array_equal(out, images) == (name == "none")
    assert yaml.safe_load((conf / "transforms" / f"{name}.yaml").read_text()) is not None


def test_affine_is_albumentations_affine() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 48, 1), dtype=np.uint8), (9, 9), 2)[
        ..., None
    ]
    ours = Affine(rotate=(20, 20), scale=(1.2, 1.2), translate=(0.125, 0.125), shear=(10, 10), border="constant")
    theirs = A.Affine(
        rotate=(20, 20), scale=(1.2, 1.2), translate_percent=(0.125, 0.125), shear={"x": (10, 10), "y": (0, 0)}, p=1,
        border_mode=cv2.BORDER_CONSTANT,
    )  # fmt: skip
    a, b = ours(image=image)["image"].astype(int), theirs(image=image)["image"].astype(int)
    # Either turns the same way by the same angle; the pixels differ by rounding alone.
    assert np.abs(a - b)[16:36, 16:36].mean() < 2.0
    assert np.abs(image.astype(int) - b)[16:36, 16:36].mean() > 8.0


def test_affine_moves_as_asked() -> None:
    image = np.zeros((40, 40, 1), np.uint8)
    image[20, 20] = 255
    moved = Affine(rotate=(0, 0), scale=(1, 1), translate=(0.25, 0.25), border="constant")(image=image)["image"]
    assert np.unravel_index(moved.argmax(), moved.shape)[:2] == (30, 30)
    with pytest.raises(ConfigError, match="border='wrap' must be one of reflect"):
        Affine(border="wrap")


def test_wrong_steps_are_named() -> None:
    with pytest.raises(ConfigError, match=r"transforms.flip._target_=albumentations.HorizontalFlop.*HorizontalFlip"):
        Augment({"flip": {"_target_": "albumentations.HorizontalFlop"}})
    with pytest.raises(ConfigError, match="not an albumentations transform"):
        Augment({"dict": {"_target_": "builtins.dict"}})
    assert len(Augment({"flip": None})) == 0


def test_data_without_augmentation_do_without_albumentations() -> None:
    code = "import sys, fer.datasets.synthetic; assert 'albumentations' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)
