"""The block of wide residual networks."""

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, each after a normalisation and a ReLU, added to the input.

    If the number of channels or the resolution changes, the input passes through a 1 x 1 convolution, after the first
    normalisation and ReLU. There are no biases, because the normalisations would remove them.

    Parameters
    ----------
    channels, filters : int
        Channels of the input and of the output.
    stride : int
        Stride of the first convolution.
    """

    def __init__(self, channels: int, filters: int, stride: int = 1) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(filters)
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        changes = (channels, stride) != (filters, 1)
        self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map float (N, channels, H, W) to (N, filters, H', W')."""
        ready = F.relu(self.norm1(x))
        residual: Tensor = self.conv2(F.relu(self.norm2(self.conv1(ready))))
        return residual + (x if self.shortcut is None else self.shortcut(ready))
