"""Heat maps over images."""

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

_COLOURS = "inferno"  # as bright as its values, whatever eyes see colours
_MOST = 0.75  # of a colour's weight: the image stays to be seen


def heated(image: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Lay a heat map over an image, which becomes grey, so that all that has a colour is of the map.

    Args:
        image: uint8 of shape (H, W) or (H, W, 3).
        heat: float32 of shape (H, W), from 0 to 1.

    Returns:
        uint8 of shape (H, W, 3).
    """
    grey = image if image.ndim == 2 else image @ np.array((0.299, 0.587, 0.114), np.float32)
    colours = colormaps[_COLOURS](heat)[:, :, :3] * 255
    weight = _MOST * heat[:, :, None]
    return np.asarray((grey[:, :, None] * (1 - weight) + colours * weight).round(), np.uint8)
