"""IResNet: the residual network of ArcFace and AdaFace, which takes the weights that they share."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from fer.errors import ConfigError
from fer.models import weight_file
from fer.models.checks import feature_shape
from fer.models.head import Head, global_pool, read_head

IMAGE_SIZE, MEAN, STD = 112, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
"""The input that the shared weights were trained on."""
_WIDTHS = (64, 128, 256, 512)
# Parts of an AdaFace block's names, and of its stem and embedding, beside those of ArcFace's here.
_BLOCK = {
    "res_layer.0": "bn1", "res_layer.1": "conv1", "res_layer.2": "bn2", "res_layer.3": "prelu", "res_layer.4": "conv2",
    "res_layer.5": "bn3", "shortcut_layer.0": "downsample.0", "shortcut_layer.1": "downsample.1",
}  # fmt: skip
_ENDS = {
    "input_layer.0": "conv1", "input_layer.1": "bn1", "input_layer.2": "prelu", "output_layer.0": "bn2",
    "output_layer.3": "fc", "output_layer.4": "features",
}  # fmt: skip


class IResNet(nn.Module):
    """Residual blocks that begin and end with batch norm, a first stage at full size, and an embedding of 512.

    Block: batch norm - 3x3 convolution - batch norm - PReLU - 3x3 convolution, of stride 2 in a stage's first
    block - batch norm, plus the shortcut. Names of tensors are those of insightface's files; AdaFace's are
    translated, and as its networks see blue, green and red, their stem is turned round to see red first.

    Args:
        num_classes: Classes.
        in_channels: Channels of an image; one takes the sum of the stem's three.
        image_size: Height and width of an image; 112 for the embedding of a file.
        layers: Blocks of each stage: [2,2,2,2] is R18, [3,4,6,3] R34, [3,4,14,3] R50, [3,13,30,3] R100.
        first_shortcut: ``conv`` (ArcFace) or ``pool`` (AdaFace): how the first stage's shortcut gets smaller.
        checkpoint_path: A file of weights, see :func:`fer.models.weight_file.read`.
        prefix: Of the file's tensors, take those whose names begin with it, and leave it off.
        rename: Parts of the file's names and what takes their place.
        freeze: Whether the backbone stays as it is, batch norm statistics too.
        head: ``pooling`` and the options of ``fer.models.head.Head``. Pooling ``None`` is the embedding;
            ``avg``, ``max``, ``avgmax`` and ``flatten`` act on the final feature map instead.

    Raises:
        ConfigError: An option cannot be used, the weights do not fit, or the images are too small.

    References:
        Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019; Kim, Jain and Liu,
        "AdaFace: Quality Adaptive Margin for Face Recognition", 2022; Duta et al., "Improved Residual Networks for
        Image and Video Recognition", 2020. Dropout before the embedding is left out; weights that come from no file
        are drawn as torch draws them.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        layers: Sequence[int] = (3, 4, 14, 3),
        first_shortcut: str = "conv",
        checkpoint_path: str | None = None,
        prefix: str | None = None,
        rename: Mapping[str, str] | None = None,
        freeze: bool = False,
        head: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if len(layers) != len(_WIDTHS):
            raise ConfigError(f"model.layers={list(layers)} must be four numbers, one for each stage")
        if first_shortcut not in ("conv", "pool"):
            raise ConfigError(f"model.first_shortcut={first_shortcut} must be conv or pool")
        self.pooling, head_options = read_head(head, pooling=None)
        self.backbone = _Backbone(in_channels, layers, first_shortcut)
        channels, height, width = feature_shape(self.backbone, in_channels, image_size, "IResNet")
        features = channels * height * width
        if self.pooling is None:
            self.backbone.embed(features)
        if self.pooling != "flatten":
            features = channels
        if checkpoint_path is not None:
            state = weight_file.read(checkpoint_path, prefix, rename)
            if "input_layer.0.weight" in state:
                state = _from_adaface(state, layers)
            _fill(self.backbone, state, checkpoint_path, first_shortcut)
        elif prefix or rename:
            raise ConfigError("model.prefix and model.rename are of the names in a file: model.checkpoint_path=<file>")
        self.head = Head(features, num_classes, **head_options)
        self.freeze = freeze
        if freeze:
            self.backbone.requires_grad_(False)
        self.train()

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (B, in_channels, image_size, image_size) to features (B, D): the embedding, or pooled maps."""
        features: Tensor = self.backbone(x)
        return features if self.pooling is None else global_pool(features, self.pooling)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.forward_features(x))
        return logits

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a frozen backbone stays in eval mode."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.prelu = nn.PReLU(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))


class _Backbone(nn.Module):
    """Stem, stages and the last batch norm; with :meth:`embed` the embedding too."""

    def __init__(self, in_channels: int, layers: Sequence[int], first_shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, _WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.prelu = nn.PReLU(_WIDTHS[0])
        inside = _WIDTHS[0]
        for number, (width, blocks) in enumerate(zip(_WIDTHS, layers, strict=True), start=1):
            shortcut: nn.Module = nn.Sequential(nn.Conv2d(inside, width, 1, 2, bias=False), nn.BatchNorm2d(width))
            if number == 1 and first_shortcut == "pool":
                shortcut = nn.MaxPool2d(1, 2)
            stage = [_Block(inside, width, 2, shortcut)]
            stage += [_Block(width, width, 1, None) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            inside = width
        self.bn2 = nn.BatchNorm2d(inside)
        self.fc: nn.Module | None = None
        self.features: nn.Module | None = None

    def embed(self, features: int) -> None:
        """Add the embedding of flattened maps."""
        self.fc, self.features = nn.Linear(features, _WIDTHS[-1]), nn.BatchNorm1d(_WIDTHS[-1])

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        for number in range(1, len(_WIDTHS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        x = self.bn2(x)
        return x if self.fc is None or self.features is None else self.features(self.fc(x.flatten(1)))


def _from_adaface(state: Mapping[str, Tensor], layers: Sequence[int]) -> dict[str, Tensor]:
    """Give AdaFace's tensors the names of ArcFace's; its blocks are counted through all stages."""
    places = [f"layer{stage}.{block}" for stage, blocks in enumerate(layers, start=1) for block in range(blocks)]
    found = {}
    for key, value in state.items():
        parts = key.split(".")
        layer, last = ".".join(parts[:-1]), parts[-1]
        if parts[0] == "body" and len(parts) == 5 and parts[1].isdigit() and int(parts[1]) < len(places):
            inside = _BLOCK.get(".".join(parts[2:4]))
            found[f"{places[int(parts[1])]}.{inside}.{last}" if inside else key] = value
        else:
            found[f"{_ENDS[layer]}.{last}" if layer in _ENDS else key] = value
    if "conv1.weight" in found:
        found["conv1.weight"] = found["conv1.weight"].flip(1)  # from blue, green and red
    if "features.running_mean" in found:  # this batch norm has no scale and shift there
        found.setdefault("features.weight", found["features.running_mean"].new_ones(_WIDTHS[-1]))
        found.setdefault("features.bias", found["features.running_mean"].new_zeros(_WIDTHS[-1]))
    return found


def _fill(backbone: nn.Module, state: Mapping[str, Tensor], source: str, first_shortcut: str) -> None:
    own = backbone.state_dict()
    state = dict(state)
    stem = state.get("conv1.weight")
    if stem is not None and stem.ndim == 4 and (stem.shape[1], own["conv1.weight"].shape[1]) == (3, 1):
        state["conv1.weight"] = stem.sum(1, keepdim=True)
    if "fc.weight" in own and "fc.weight" in state and own["fc.weight"].shape != state["fc.weight"].shape:
        raise ConfigError(
            f"the embedding of {source} is of images of {IMAGE_SIZE}x{IMAGE_SIZE}: data.image_size={IMAGE_SIZE}, or "
            f"model.head.pooling=avg for images of any size"
        )
    fits = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    there = "conv" if any(key.startswith("layer1.0.downsample.") for key in state) else "pool"
    if "layer1.0.conv1.weight" in fits and there != first_shortcut:
        raise ConfigError(f"the weights of {source} have another first shortcut: model.first_shortcut={there}")
    missing, unused = ([key for key in names if key not in fits] for names in (own, state))
    weight_file.report(source, "this IResNet", list(own), missing, unused, lambda: _meant(state))
    backbone.load_state_dict(own | fits)


def _meant(state: Mapping[str, Tensor]) -> str:
    """Say what is wrong with a file, as far as it can be told."""
    for key in ("layer1.0.prelu.weight", "body.0.res_layer.0.weight"):
        if inside := next((name for name in state if name.endswith(f".{key}")), None):
            prefix = inside.removesuffix(key)
            return f" Their names begin with '{prefix}': model.prefix={prefix}"
    return " Is model.layers right? [2,2,2,2] is R18, [3,4,6,3] R34, [3,4,14,3] R50, [3,13,30,3] R100."
