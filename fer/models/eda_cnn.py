"""EDACNN: SimpleConv's convolutions with a hidden layer, and with a published mistake on request."""

import logging

from torch import Tensor, nn

from fer.models.checks import feature_shape
from fer.models.head import Head
from fer.models.simple_conv import two_convolutions

_log = logging.getLogger(__name__)


class EDACNN(nn.Module):
    """Conv 32 - pool - conv 64 - pool - flatten - 64 - classes: SimpleConv with one hidden layer of 64.

    428,935 parameters for 1x48x48 images and 7 classes. From a published comparison of four small networks on
    FER2013, which trained it with Adam (learning rate 1e-3) and cross-entropy, and ended it in a softmax: the
    cross-entropy loss applies a softmax of its own, and two of them in a row flatten the scores and starve
    the network of gradient. ``softmax=True`` reproduces that network; leave it off for any other purpose.

    Args:
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        softmax: Whether forward returns probabilities in place of logits.

    Raises:
        ConfigError: The images are too small.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, softmax: bool = False) -> None:
        super().__init__()
        self.backbone = two_convolutions(in_channels)
        channels, height, width = feature_shape(self.backbone, in_channels, image_size, "EDACNN")
        self.head = Head(channels * height * width, num_classes, hidden=[64])
        self.softmax = softmax
        if softmax:
            _log.warning(
                "model.softmax=true reproduces a published mistake: the network ends in a softmax and the "
                "cross-entropy loss applies another one. The scores it sees lie between 0 and 1, its loss "
                "cannot come near 0 and the network learns slowly. model.softmax=false is the sound network."
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.backbone(x).flatten(1))
        return logits.softmax(1) if self.softmax else logits
