"""FullyConnected: dense layers on the pixels, without any convolution."""

from collections.abc import Sequence

from torch import Tensor, nn

from fer.models.head import Head


class FullyConnected(nn.Module):
    """The baseline that knows nothing of neighbouring pixels: flatten - 128 - 64 - 32 - classes, with ReLU.

    305,607 parameters for 1x48x48 images and 7 classes. From a published comparison of four small networks on
    FER2013, which trained it with Adam (learning rate 1e-3) and cross-entropy.

    Args:
        num_classes: Classes.
        in_channels: Channels of an image.
        image_size: Height and width of an image.
        hidden: Width of each hidden layer.
        dropout: One rate after every hidden layer, or one for each.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        hidden: Sequence[int] = (128, 64, 32),
        dropout: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        self.head = Head(in_channels * image_size**2, num_classes, hidden=hidden, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (B, in_channels, image_size, image_size) to logits (B, num_classes)."""
        logits: Tensor = self.head(x.flatten(1))
        return logits
