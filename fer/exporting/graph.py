"""A trained network with its preprocessing inside: pictures of faces in, probabilities out, as one graph."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer.models.preprocessing import Preprocessing
from fer.predicting.exported import ExportedNetwork
from fer.training.module import FERModule


class ExportedGraph(nn.Module):
    """From uint8 images (B, H, W, 3) of any size to probabilities (B, C).

    The arithmetic is :class:`fer.models.preprocessing.Preprocessing`'s, written without branches on the images' size,
    so that one graph serves every size. Grey images are given as three equal channels.

    Args:
        module: The trained module, in evaluation mode.
        temperature: The logits are divided by it before the softmax; 1 leaves them.
    """

    mean: Tensor
    std: Tensor
    grey: Tensor

    def __init__(self, module: FERModule | ExportedNetwork, temperature: float = 1.0) -> None:
        super().__init__()
        assert module.net is not None
        self.net: nn.Module = module.net
        self.preprocess, self.temperature = module.preprocess, temperature
        shape = (1, self.preprocess.channels, 1, 1)
        self.register_buffer("mean", torch.tensor(self.preprocess.mean).view(shape))
        self.register_buffer("std", torch.tensor(self.preprocess.std).view(shape))
        self.register_buffer("grey", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))  # as Preprocessing's

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 (B, C) for uint8 (B, H, W, 3)."""
        x = images.permute(0, 3, 1, 2).float() / 255
        if self.preprocess.channels == 1:
            x = (x * self.grey).sum(1, keepdim=True)
        x = _square(x, self.preprocess)
        size = (self.preprocess.image_size, self.preprocess.image_size)
        x = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        logits = cast("Tensor", self.net((x - self.mean) / self.std))
        return (logits.float() / self.temperature).softmax(1)


def _square(x: Tensor, preprocess: Preprocessing) -> Tensor:
    """Pad or crop a batch to squares, or leave it to be stretched, as the checkpoint's ``fit`` says."""
    height, width = x.shape[-2], x.shape[-1]
    if preprocess.fit == "pad":
        side = torch.sym_max(height, width)
        left, top = (side - width) - (side - width) // 2, (side - height) - (side - height) // 2
        return F.pad(x, (left, side - width - left, top, side - height - top))  # type: ignore[arg-type]  # symbols
    if preprocess.fit == "crop":
        side = torch.sym_min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        # Less than no edge cuts off, as in Preprocessing; torch.export refuses to resize a slice of free bounds.
        return F.pad(x, (-left, left + side - width, -top, top + side - height))  # type: ignore[arg-type]  # symbols
    return x
