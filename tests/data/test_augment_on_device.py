"""``data.augment_on=device`` does to a whole batch what albumentations does to images one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, composed

from fer.data.augment import Augment
from fer.data.augment_on_device import AugmentOnDevice
from fer.datasets.synthetic import Synthetic
from fer.errors import ConfigError

STILL = {"_target_": "fer.data.transforms.Affine", "rotate": [0, 0], "scale": [1, 1], "translate": [0, 0]}
FIXED: dict[str, dict[str, Any]] = {
    "flip": {"_target_": "albumentations.HorizontalFlip", "p": 1.0},
    "affine": {
        "_target_": "fer.data.transforms.Affine", "rotate": [17, 17], "scale": [1.2, 1.2], "translate": [0.1, 0.1],
        "shear": [9, 9],
    },
    "reflected": {**STILL, "scale": [0.7, 0.7], "border": "reflect"},
    "black": {**STILL, "rotate": [-30, -30], "border": "constant"},
    "light": {
        "_target_": "albumentations.RandomBrightnessContrast", "brightness_limit": [0.2, 0.2],
        "contrast_limit": [-0.3, -0.3], "p": 1.0,
    },
    "gamma": {"_target_": "albumentations.RandomGamma", "gamma_limit": [180, 180], "p": 1.0},
    "blur": {"_target_": "albumentations.GaussianBlur", "sigma_limit": [1.3, 1.3], "blur_limit": 0, "p": 1.0},
    "small_blur": {"_target_": "albumentations.GaussianBlur", "sigma_limit": [2, 2], "blur_limit": [3, 3], "p": 1.0},
    "erase": {
        "_target_": "albumentations.CoarseDropout", "num_holes_range": [1, 1], "hole_height_range": [48, 48],
        "hole_width_range": [48, 48], "fill": 77, "p": 1.0,
    },
    "never": {"_target_": "albumentations.HorizontalFlip", "p": 0.0},
}  # fmt: skip


def pictures(number: int, colours: bool) -> np.ndarray:
    """Return smooth random images, uint8 (B, 48, 48) or (B, 48, 48, 3)."""
    shape = (number, 12, 12, 3) if colours else (number, 12, 12)
    small = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_CUBIC) for image in small])


def on_device(nodes: dict[str, Any], images: np.ndarray, seed: tuple[int, ...] = (0, 1, 2, 3)) -> np.ndarray:
    done = AugmentOnDevice(Augment(nodes))(torch.from_numpy(images), seed)
    assert done.dtype == torch.uint8
    return done.numpy()


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("name", FIXED)
def test_a_step_without_chance_changes_pixels_alike(name: str, colours: bool) -> None:
    images = pictures(4, colours)
    expected = Augment({name: FIXED[name]})(images, (0,))
    found = on_device({name: FIXED[name]}, images)
    assert (name == "never") == np.array_equal(expected, images)
    assert found.shape == expected.shape
    # OpenCV places pixels to 1/32 and albumentations rounds down the powers of gamma.
    assert np.abs(found.astype(int) - expected).max() <= (6 if "Affine" in FIXED[name]["_target_"] else 1)
    assert np.abs(found.astype(int) - expected).mean() < 0.6


@pytest.mark.parametrize("name", ["light", "standard", "strong", "flip_shift", "flip_rotate"])
def test_shipped_pipelines_are_equal_in_distribution(name: str) -> None:
    nodes = composed(f"transforms={name}")["transforms"]
    for step, node in nodes.items():  # each step's own spread of pixels and of images' means, over 1,500 draws
        images = np.repeat(pictures(1, False), 1500, 0)
        expected, found = Augment({step: node})(images, (5,)), on_device({step: node}, images)
        for what in (
            lambda x: x.mean((1, 2)),  # light
            lambda x: x.std((1, 2)),  # contrast, blur, noise
            lambda x: x[:, 20:28, 12:20].mean((1, 2)),  # place
            lambda x: (x == 0).mean((1, 2)),  # holes
        ):
            ours, theirs = np.sort(what(found.astype(float))), np.sort(what(expected.astype(float)))
            spread = theirs.std()
            assert abs(ours.mean() - theirs.mean()) < 0.13 * spread + 0.5, step  # 5 standard errors
            assert abs(ours.std() - spread) < 0.13 * spread + 0.5, step
            assert np.abs(ours - theirs).mean() < 0.16 * spread + 0.5, step  # the whole distribution


def test_noise_of_each_pixel() -> None:
    node = {"_target_": "albumentations.GaussNoise", "std_range": [0.05, 0.05], "mean_range": [0.1, 0.1], "p": 1.0}
    grey = np.full((50, 48, 48, 3), 100, np.uint8)
    change = on_device({"noise": node}, grey).astype(float) - 100
    assert change.mean() == pytest.approx(25.5, abs=0.3)
    assert change.std() == pytest.approx(12.75, abs=0.3)
    shared = {**node, "per_channel": False}
    image = on_device({"noise": shared}, grey)
    assert (image[..., 0] == image[..., 1]).all()
    assert not (on_device({"noise": {**node, "per_channel": True}}, grey)[..., 0] == image[..., 1]).all()


def test_several_holes() -> None:
    node = {
        "_target_": "albumentations.CoarseDropout", "num_holes_range": [1, 4], "hole_height_range": [0.1, 0.3],
        "hole_width_range": [0.2, 0.2], "fill": [1, 2, 3], "p": 1.0,
    }  # fmt: skip
    white = np.full((800, 40, 40, 3), 255, np.uint8)
    expected, found = Augment({"erase": node})(white, (1,)), on_device({"erase": node}, white)
    areas = [np.sort((images[..., 0] == 1).mean((1, 2))) for images in (expected, found)]
    assert np.abs(areas[0] - areas[1]).max() < 0.05
    assert {tuple(pixel) for pixel in found.reshape(-1, 3)[:4000]} == {(1, 2, 3), (255, 255, 255)}


def test_the_batchs_seed_decides() -> None:
    nodes = composed("transforms=strong")["transforms"]
    images = pictures(8, False)
    assert np.array_equal(on_device(nodes, images), on_device(nodes, images))
    for other in ((1, 1, 2, 3), (0, 2, 2, 3), (0, 1, 3, 3), (0, 1, 2, 0)):  # seed, epoch, batch, process
        assert not np.array_equal(on_device(nodes, images), on_device(nodes, images, other))
    same = on_device(nodes, np.repeat(images[:1], 8, 0))
    assert len({image.tobytes() for image in same}) == 8  # and each image has its own


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"_target_": "albumentations.ImageCompression"}, "ImageCompression is done by loaders alone"),
        ({"_target_": "albumentations.CoarseDropout", "fill": "random"}, "CoarseDropout with this fill"),
        ({"_target_": "albumentations.RandomBrightnessContrast", "brightness_by_max": False}, "brightness_by_max"),
    ],
)
def test_what_a_device_cannot_do_is_refused(node: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        Synthetic(transforms={"step": node}, augment_on="device")
    assert "transforms.step=null" in str(refused.value)


def test_only_training_images_are_augmented(train_here: Callable[..., Path]) -> None:
    options = (*TINY, "trainer.max_epochs=1", "transforms=standard")
    histories = []
    for name, where in (("loader", []), ("device", ["data.augment_on=device"]), ("again", ["data.augment_on=device"])):
        run = train_here(*options, *where, "optimizer.lr=1e-30", name=name)  # weights stay, to a trace
        histories.append((run / "history.csv").read_text().splitlines())
    columns = histories[0][0].split(",")
    rows = [dict(zip(columns, history[-1].split(","), strict=True)) for history in histories]
    assert rows[0]["val/loss"] == rows[1]["val/loss"]
    assert rows[0]["train/loss"] != rows[1]["train/loss"] == rows[2]["train/loss"]
