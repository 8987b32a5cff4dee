"""What the network sees: size, channels and normalisation, and where they come from."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from fer.errors import ConfigError, FERError
from fer.models.preprocessing import Preprocessing, resolve

DATA: dict[str, Any] = {
    "image_size": None,
    "channels": None,
    "mean": None,
    "std": None,
    "native_size": 48,
    "native_channels": 1,
}
IMAGENET = (224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_from_scratch_the_data_decide() -> None:
    assert resolve(DATA, None) == Preprocessing(48, 1, (0.5,), (0.25,))
    assert resolve({**DATA, "channels": 3}, None) == Preprocessing(48, 3, (0.5,) * 3, (0.25,) * 3)


def test_pretrained_weights_decide_unless_the_user_does() -> None:
    assert resolve(DATA, IMAGENET) == Preprocessing(224, 3, *IMAGENET[1:])
    assert resolve({**DATA, "image_size": 96, "mean": 0.0, "std": 1.0}, IMAGENET) == Preprocessing(
        96, 3, (0,) * 3, (1,) * 3
    )
    grey = resolve({**DATA, "channels": 1}, IMAGENET)
    assert grey.mean == pytest.approx((0.449,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.1, 0.2]}, "data.mean=.* needs one number, or one for each of 1 channels"),
        ({"std": 0.0}, "data.std"),
    ],
)
def test_what_does_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve({**DATA, **change}, None)


def test_pixels() -> None:
    grey = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    out = Preprocessing(2, 1, (0.5,), (0.5,))(grey)
    torch.testing.assert_close(out, torch.tensor([[[[-1.0, 1.0], [-0.6, -0.2]]]]))
    assert Preprocessing(2, 3, (0.0,) * 3, (1.0,) * 3)(grey).shape == (1, 3, 2, 2)


def test_grey_of_rgb_is_opencvs() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    out = Preprocessing(8, 1, (0.0,), (1.0,))(torch.from_numpy(rgb))
    expected = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in rgb]) / 255
    np.testing.assert_allclose(out[:, 0].numpy(), expected, atol=0.51 / 255 + 1e-6)


def test_resized_to_the_networks_size() -> None:
    flat = torch.full((2, 48, 48), 128, dtype=torch.uint8)
    out = Preprocessing(96, 1, (0.0,), (1.0,))(flat)
    torch.testing.assert_close(out, torch.full((2, 1, 96, 96), 128 / 255))


def test_survives_as_plain_data() -> None:
    original = Preprocessing(48, 3, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert Preprocessing.from_dict(original.as_dict()) == original


@pytest.mark.parametrize(
    ("fit", "columns"), [("pad", [0, 0, 1, 1, 1, 1, 0, 0]), ("crop", [1] * 8), ("stretch", [1] * 8)]
)
def test_oblong_images_are_made_square_as_in_training(fit: str, columns: list[int]) -> None:
    tall = torch.full((2, 8, 4, 3), 255, dtype=torch.uint8)
    out = Preprocessing(8, 1, (0.0,), (1.0,), fit)(tall)
    assert out.shape == (2, 1, 8, 8)
    assert out[0, 0, 4].round().tolist() == columns
    assert Preprocessing(8, 1, (0.0,), (1.0,), fit)(torch.zeros(1, 6, 9, dtype=torch.uint8)).shape == (1, 1, 8, 8)


def test_fit_is_kept_and_older_checkpoints_stretch() -> None:
    model_input = resolve({**DATA, "fit": "crop"}, None)
    assert model_input.fit == "crop"
    values = model_input.as_dict()
    assert Preprocessing.from_dict(values) == model_input
    del values["fit"]
    assert Preprocessing.from_dict(values).fit == "stretch"
    with pytest.raises(ConfigError, match="fit='squash' is none of pad, crop, stretch"):
        Preprocessing.from_dict({**values, "fit": "squash"})


@pytest.mark.parametrize(
    "images",
    [
        torch.rand(2, 8, 8),
        torch.zeros(2, 8, 8, dtype=torch.int64),
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(8, 8, dtype=torch.uint8),
    ],
)
def test_only_stored_images_are_taken(images: torch.Tensor) -> None:
    with pytest.raises(FERError, match="Floats in"):
        Preprocessing(8, 1, (0.5,), (0.25,))(images)
