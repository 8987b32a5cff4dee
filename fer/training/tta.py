"""Test-time augmentation: the views of an image whose probabilities are averaged."""

import torch
from torch import Tensor

CHOICES = ("none", "flip", "shift", "tencrop")

_CROP = 7 / 8  # of the side, in ten-crop: 42 of 48 pixels
_SHIFT = 1 / 24  # of the side: 2 of 48 pixels


def views(images: Tensor, tta: str) -> list[Tensor]:
    """Return the views of a batch, each uint8 (B, h, w) or (B, h, w, 3).

    Args:
        images: uint8 of shape (B, H, W) or (B, H, W, 3).
        tta: ``flip``: the images and their mirror images. ``shift``: both of them, unmoved and moved by 1/24 of the
            side in each direction. ``tencrop``: four corners and the centre of both, 7/8 of the side. ``none``: the
            images alone.
    """
    if tta == "none":
        return [images]
    views = [images]
    height, width = images.shape[1:3]
    if tta == "shift":
        rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
        for step in (round(_SHIFT * height), -round(_SHIFT * height)):
            views.append(images[:, (rows + step).clamp(0, height - 1)])
        for step in (round(_SHIFT * width), -round(_SHIFT * width)):
            views.append(images[:, :, (columns + step).clamp(0, width - 1)])
    if tta == "tencrop":
        h, w = round(_CROP * height), round(_CROP * width)
        places = [
            (0, 0),
            (0, width - w),
            (height - h, 0),
            (height - h, width - w),
            ((height - h) // 2, (width - w) // 2),
        ]
        views = [images[:, top : top + h, left : left + w] for top, left in places]
    return views + [view.flip(2) for view in views]  # the width, of (B, H, W[, 3])
