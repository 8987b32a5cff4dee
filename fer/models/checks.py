"""Checks made once, while a network is built: its images fit its layers."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fer.errors import ConfigError

LARGEST_TRIED = 512  # pixels: where the search for an image size that works gives up


@contextmanager
def rehearsal(module: nn.Module) -> Iterator[None]:
    """Put ``module`` in eval mode for a trial run, after which nothing is different from before.

    Training modes, buffers (batch norm statistics, counters) and torch's random state are put back.
    """
    modes = [(part, part.training) for part in module.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers() if not is_lazy(buffer)]
    module.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for part, mode in modes:
            part.training = mode
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def image_size_error(
    name: str, image_size: int, runs: Callable[[int], bool], largest: int, error: Exception
) -> ConfigError:
    """Return the error for images that a network cannot take, naming a size that it can.

    Args:
        name: The network's name.
        image_size: The size that does not work.
        runs: Whether the network runs on images of a size.
        largest: The largest size to try.
        error: What went wrong with ``image_size``.
    """
    size = _smallest_size(runs, image_size, largest)
    if size is None:
        return ConfigError(
            f"{name} does not run on these images (data.image_size={image_size}): "
            f"{type(error).__name__}: {str(error)[:500]}"
        )
    if runs(size + 1):
        return ConfigError(f"{name} needs images of at least {size}x{size}; data.image_size={image_size}")
    # Windows or patches that must fill the image exactly: larger alone does not help.
    return ConfigError(f"{name} does not run on every size; {size}x{size} works, data.image_size={image_size} not")


def _smallest_size(runs: Callable[[int], bool], fails: int, largest: int) -> int | None:
    """Return a size above ``fails`` that works where the next smaller one does not; None if there is none."""
    if largest <= fails or not runs(largest):
        return None
    works = largest
    # Steps of 32 first: networks halve their maps five times, and some take nothing but multiples of that.
    for size in range((fails // 32 + 1) * 32, largest, 32):
        if runs(size):
            works = size
            break
        fails = size
    while works - fails > 1:
        middle = (works + fails) // 2
        if runs(middle):
            works = middle
        else:
            fails = middle
    return works


def feature_shape(backbone: nn.Module, in_channels: int, image_size: int, name: str) -> tuple[int, int, int]:
    """Return the shape (channels, height, width) of a convolutional backbone's feature map.

    Args:
        backbone: Takes float32 (B, in_channels, image_size, image_size).
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        name: The network's name, for the error.

    Raises:
        ConfigError: The images are too small.
    """

    def run(module: nn.Module, size: int) -> torch.Size:
        with torch.device("meta"), rehearsal(module), torch.no_grad():
            output: Tensor = module(torch.zeros(1, in_channels, size, size))
        return output.shape

    shapes_only = copy.deepcopy(backbone).to("meta")  # so that large images cost nothing

    def runs(size: int) -> bool:
        try:
            run(shapes_only, size)
        except RuntimeError:
            return False
        return True

    try:
        _, channels, height, width = run(shapes_only, image_size)
    except RuntimeError as error:
        raise image_size_error(name, image_size, runs, LARGEST_TRIED, error) from error
    return channels, height, width
