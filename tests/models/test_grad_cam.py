"""Grad-CAM: the map is where the evidence is, in whatever form a network has its maps."""

import threading
from typing import Any

import pytest
import torch
from torch import nn

from fer.errors import FERError
from fer.models import build_model
from fer.models.grad_cam import GradCam
from fer.models.preprocessing import Preprocessing

TIMM = "fer.models.timm_model.TimmModel"
SWIN = {"embed_dim": 12, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}


def cam_of(target: str, size: int = 32, channels: int = 1, fit: str = "pad", **options: Any) -> GradCam:
    torch.manual_seed(0)
    net = build_model({"_target_": target, **options}, 3, channels, size).eval()
    return GradCam(net, Preprocessing(size, channels, (0.5,) * channels, (0.25,) * channels, fit), "its name")


class Brightness(nn.Module):
    """Class 1 is what is bright, class 0 what is dark, and class 2 is blind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        nn.init.constant_(self.first.weight, 1 / 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = self.first(x).relu_().mean((1, 2, 3))
        return torch.stack([-mean, mean, 0 * mean], 1)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_map_is_where_the_evidence_is_and_the_network_stays_as_it_was(frozen: bool) -> None:
    net = Brightness().eval().requires_grad_(not frozen)
    image = torch.zeros(2, 16, 16, dtype=torch.uint8)
    image[0, 2:6, 9:13] = 255
    image[1, 10:14, 1:5] = 255
    with torch.inference_mode():  # in which predictions are made
        cam = GradCam(net, Preprocessing(16, 1, (0.0,), (1.0,)), "bright")
        heat = cam(torch.cat([image, image[:1]]), [1, 1, 2])
    assert heat.shape == (3, 16, 16)
    assert heat.dtype == torch.float32
    assert heat[0].max() == heat[1].max() == 1
    assert heat[0, 3:5, 10:12].min() == heat[1, 11:13, 2:4].min() == 1
    assert heat[0, 8:].max() == heat[1, :8].max() == 0
    assert heat[2].max() == 0, "nothing speaks for it"
    assert net.first.weight.grad is None
    assert not net.first._forward_hooks


def test_it_is_grad_cam() -> None:
    cam = cam_of("fer.models.cnn.CNN", filters=[4, 8])
    image = torch.randint(0, 256, (1, 32, 32), dtype=torch.uint8)
    maps = cam.net.backbone(cam.preprocess(image)).detach().requires_grad_()
    cam.net.head(maps.mean((2, 3)))[0, 2].backward()
    by_hand = (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu().detach()
    by_hand = nn.functional.interpolate(by_hand, (32, 32), mode="bilinear")[:, 0]
    torch.testing.assert_close(cam(image, [2]), by_hand / by_hand.max())


@pytest.mark.parametrize(
    ("target", "options", "size", "found"),
    [
        ("fer.models.simple_conv.SimpleConv", {}, 24, ["backbone.5"]),
        (TIMM, {"name": "test_resnet"}, 32, ["backbone.layer2"]),  # the last maps have a pixel or two
        (TIMM, {"name": "test_vit"}, 64, ["backbone.blocks.4"]),  # of the last tokens the class token alone counts
        (TIMM, {"name": "swin_tiny_patch4_window7_224", "kwargs": SWIN}, 32, ["backbone.layers.1"]),  # channels last
        ("fer.models.fusion.Fusion", {"backbones": ["test_resnet", "test_efficientnet"]}, 64,
         ["backbone.0.backbone.layer3", "backbone.1.backbone.blocks.3"]),
    ],
)  # fmt: skip
def test_the_last_map_that_says_something(target: str, options: dict[str, Any], size: int, found: list[str]) -> None:
    cam = cam_of(target, size, 3, **options)
    names = {id(part): name for name, part in cam.net.named_modules()}
    assert [names[id(layer.part)] for layer in cam._layers] == found
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    before = cam.net(cam.preprocess(images))
    heat = cam(images, [0, 2])
    assert heat.shape == (2, size, size)
    assert 0 <= heat.min() < heat.max() <= 1
    torch.testing.assert_close(cam.net(cam.preprocess(images)), before, rtol=0, atol=0)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_an_oblong_image_has_an_oblong_map(fit: str) -> None:
    cam = GradCam(Brightness().eval(), Preprocessing(16, 1, (0.0,), (1.0,), fit), "bright")
    image = torch.zeros(1, 16, 32, dtype=torch.uint8)
    image[0, 4:12, 12:20] = 255
    heat = cam(image, [1])[0]
    assert heat.shape == (16, 32)
    assert heat[6:10, 14:18].min() > 0.8
    assert heat[:, :6].max() == heat[:, 26:].max() == 0


def test_another_thread_may_predict_with_the_same_network() -> None:
    cam = cam_of("fer.models.simple_conv.SimpleConv", 24)
    images = torch.randint(0, 256, (2, 24, 24), dtype=torch.uint8)
    alone, end = cam(images, [0, 1]), threading.Event()

    def predict() -> None:
        while not end.is_set():
            cam.net(torch.rand(5, 1, 24, 24))

    other = threading.Thread(target=predict)
    other.start()
    try:
        for _ in range(20):
            torch.testing.assert_close(cam(images, [0, 1]), alone)
    finally:
        end.set()
        other.join()


def test_a_network_without_maps_is_refused_by_name() -> None:
    with pytest.raises(FERError, match="its name has no feature map of 4x4 pixels or more"):
        cam_of("fer.models.fully_connected.FullyConnected")
