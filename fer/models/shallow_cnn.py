"""ShallowCNN: one block of two convolutions and a linear classifier."""

from torch import Tensor, nn

from fer.models.checks import feature_shape
from fer.models.head import Head


class ShallowCNN(nn.Module):
    """Conv 32 - conv 64 - batch norm - pool - dropout - flatten - classes: first CNN of a published study.

    Both 3x3 convolutions keep the size ('same' padding): its 36,864 flattened features are 64 maps of 24x24,
    half of 48x48, which leaves no room for a convolution without padding. ReLU follows each convolution. The
    study names no dropout rate. For 1x48x48 images and 7 classes there are 276,999 trainable parameters;
    Keras, in which it was written, also counts the 128 running statistics of batch norm and reports 277,127.

    Args:
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        dropout: Dropout rate on the pooled maps.

    Raises:
        ConfigError: The images are too small.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, dropout: float = 0.25) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(in_channels, 32, 3, padding="same"),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding="same"),
            nn.ReLU(),
            nn.BatchNorm2d(64),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
        )
        channels, height, width = feature_shape(self.backbone, in_channels, image_size, "ShallowCNN")
        self.head = Head(channels * height * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.backbone(x).flatten(1))
        return logits
