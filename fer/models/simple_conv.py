"""SimpleConv: two convolutions and a linear classifier."""

from torch import Tensor, nn

from fer.models.checks import feature_shape
from fer.models.head import Head


def two_convolutions(in_channels: int) -> nn.Sequential:
    """Return 3x3 convolutions of 32 and 64 filters without padding, each with ReLU and 2x2 max-pooling."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class SimpleConv(nn.Module):
    """Conv 32 - pool - conv 64 - pool - flatten - classes.

    3x3 convolutions without padding, ReLU, 2x2 max-pooling: a 48x48 image becomes 46, 23, 21 and 10 pixels
    wide, so the classifier sees 64 * 10 * 10 = 6,400 features. 63,623 parameters for 1x48x48
    images and 7 classes. From a published comparison of four small networks on FER2013, which trained it with
    Adam (learning rate 1e-3) and cross-entropy.

    Args:
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.

    Raises:
        ConfigError: The images are too small.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        self.backbone = two_convolutions(in_channels)
        channels, height, width = feature_shape(self.backbone, in_channels, image_size, "SimpleConv")
        self.head = Head(channels * height * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.backbone(x).flatten(1))
        return logits
