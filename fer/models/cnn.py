"""CNN: a plain convolutional network whose every part can be configured."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from fer.errors import ConfigError, did_you_mean
from fer.models.checks import feature_shape
from fer.models.head import Head, global_pool, make_activation, read_head

_POOLS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class CNN(nn.Module):
    """Blocks of convolutions with pooling, as VGG has them, then global pooling and dense layers.

    A block is ``convs_per_block`` times [convolution - batch norm - activation], then 2x2 pooling and
    dropout. With batch norm the convolutions have no bias. ``conf/model/small_cnn.yaml`` is such a network
    with 1,128,167 parameters for 1x48x48 images and 7 classes.

    Args:
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        filters: Filters of each block; its length is the number of blocks.
        convs_per_block: Convolutions in a block; one number, or one for each block.
        kernel_size: Height and width of the filters; one number, or one for each block.
        padding: ``same`` keeps the size of the maps, ``valid`` does without padding.
        batch_norm: Whether batch norm follows each convolution.
        activation: A torch.nn class such as ``ReLU``.
        pooling: ``max``, ``avg`` or None at the end of a block; one word, or one for each block.
        pool_early: Pool after a block's last convolution, before its batch norm and activation, which then work on a
            quarter of the values. With max pooling, an activation that never falls and positive weights of batch norm,
            the layers compute the same, but for batch norm's statistics.
        dropout: Dropout rate at the end of a block; one number, or one for each block.
        head: ``pooling`` of the last maps (``avg``, ``max``, ``avgmax`` or ``flatten``; ``avg`` if absent)
            and the options of ``fer.models.head.Head``.

    Raises:
        ConfigError: An option cannot be used, or the images are too small.

    References:
        Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        filters: Sequence[int] = (32, 64, 128),
        convs_per_block: int | Sequence[int] = 2,
        kernel_size: int | Sequence[int] = 3,
        padding: str = "same",
        batch_norm: bool = True,
        activation: str = "ReLU",
        pooling: str | Sequence[str | None] | None = "max",
        pool_early: bool = False,
        dropout: float | Sequence[float] = 0.0,
        head: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(filters, Sequence) or isinstance(filters, str) or not filters:
            raise ConfigError(f"model.filters={filters} must be a list with one number for each block")
        _one_of("padding", padding, ("same", "valid"))
        head_pooling, head_options = read_head(head, pooling="avg")
        assert head_pooling is not None
        self.pooling = head_pooling
        blocks = len(filters)
        channels = in_channels
        self.backbone = nn.Sequential()
        for width, convolutions, size, pool, rate in zip(
            filters,
            _at_least_one("convs_per_block", _per_block("convs_per_block", convs_per_block, blocks)),
            _per_block("kernel_size", kernel_size, blocks),
            _per_block("pooling", pooling, blocks),
            _per_block("dropout", dropout, blocks),
            strict=True,
        ):
            if pool is not None:
                _one_of("pooling", pool, tuple(_POOLS))
            # Named layers: a checkpoint's keys do not depend on batch norm, pooling or dropout.
            block: OrderedDict[str, nn.Module] = OrderedDict()
            for number in range(1, convolutions + 1):
                block[f"conv{number}"] = nn.Conv2d(channels, width, size, padding=padding, bias=not batch_norm)
                pooled = pool if number == convolutions else None
                block.update(_after(number, width, batch_norm, activation, pooled, pool_early))
                channels = width
            block["dropout"] = nn.Dropout(rate)
            self.backbone.append(nn.Sequential(block))
        channels, height, width = feature_shape(self.backbone, in_channels, image_size, "CNN")
        features = channels * height * width if self.pooling == "flatten" else channels
        self.head = Head(features, num_classes, **head_options)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(global_pool(self.backbone(x), self.pooling))
        return logits


def _after(
    number: int, width: int, batch_norm: bool, activation: str, pool: str | None, pool_early: bool
) -> Iterator[tuple[str, nn.Module]]:
    """Give the layers after a block's convolution, with their names."""
    pooling = [("pool", _POOLS[pool](2))] if pool is not None else []
    yield from pooling if pool_early else ()
    if batch_norm:
        yield f"batch_norm{number}", nn.BatchNorm2d(width)
    yield f"activation{number}", make_activation(activation, "model.activation")
    yield from () if pool_early else pooling


def _per_block(key: str, value: Any, blocks: int) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return [value] * blocks
    if len(value) != blocks:
        raise ConfigError(
            f"model.{key}={list(value)} must be one value, or one for each of the {blocks} blocks of filters"
        )
    return value


def _at_least_one(key: str, values: Sequence[int]) -> Sequence[int]:
    if min(values) < 1:
        raise ConfigError(f"model.{key}={list(values)}: each must be at least 1")
    return values


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        there_are = f"There are: {', '.join(known)}."
        raise ConfigError(f"model.{key}={value} is not known.{did_you_mean(str(value), known)} {there_are}")
