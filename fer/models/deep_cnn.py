"""DeepCNN: seven convolutions that widen and narrow again, and four hidden layers."""

from torch import Tensor, nn

from fer.models.checks import feature_shape
from fer.models.head import Head


class DeepCNN(nn.Module):
    """Three blocks of two convolutions, a seventh, and dense layers: the second CNN of a published study.

    conv 32 - conv 64 - batch norm - pool - dropout | conv 128 - conv 256 - batch norm - pool - dropout |
    conv 512 - conv 256 - batch norm - pool - dropout | conv 128 | flatten - 64 - 128 - dropout - 256 - 128 -
    dropout - classes. All 3x3 convolutions keep the size ('same' padding): its 18,432 flattened features are
    128 maps of 12x12, an eighth of 96x96, which the three poolings make by themselves. ReLU follows each
    convolution and hidden layer. The study names no dropout rates. For 1x96x96 images and 7 classes there are
    4,298,951 trainable parameters; Keras, in which it was written, also counts the 1,152 running statistics
    of batch norm and reports 4,300,103.

    Args:
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        dropout: Dropout rate on the pooled maps and after the second and fourth hidden layer.

    Raises:
        ConfigError: The images are too small.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, dropout: float = 0.25) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for first, second in ((32, 64), (128, 256), (512, 256)):
            layers += [
                nn.Conv2d(channels, first, 3, padding="same"),
                nn.ReLU(),
                nn.Conv2d(first, second, 3, padding="same"),
                nn.ReLU(),
                nn.BatchNorm2d(second),
                nn.MaxPool2d(2),
                nn.Dropout(dropout),
            ]
            channels = second
        self.backbone = nn.Sequential(*layers, nn.Conv2d(channels, 128, 3, padding="same"), nn.ReLU())
        channels, height, width = feature_shape(self.backbone, in_channels, image_size, "DeepCNN")
        features = channels * height * width
        rates = [0.0, dropout, 0.0, dropout]
        self.head = Head(features, num_classes, hidden=[64, 128, 256, 128], dropout=rates)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.backbone(x).flatten(1))
        return logits
