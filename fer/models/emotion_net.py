"""EmotionNet: three convolutions and a hidden layer."""

from torch import Tensor, nn

from fer.models.checks import feature_shape
from fer.models.head import Head


class EmotionNet(nn.Module):
    """Three times [3x3 convolution, padding 1 - ReLU - 2x2 max-pooling], 32, 64 and 128 filters, then 512.

    A 48x48 image ends as 128 maps of 6x6, flattened to 4,608 features, then 512 - ReLU - dropout - classes:
    2,456,071 parameters for 1x48x48 images and 7 classes. From a published comparison of four small networks
    on FER2013, of which it was the best, trained with Adam (learning rate 1e-3) and cross-entropy.

    Args:
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        dropout: Dropout rate after the hidden layer.

    Raises:
        ConfigError: The images are too small.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(in_channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        channels, height, width = feature_shape(self.backbone, in_channels, image_size, "EmotionNet")
        self.head = Head(channels * height * width, num_classes, hidden=[512], dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.backbone(x).flatten(1))
        return logits
