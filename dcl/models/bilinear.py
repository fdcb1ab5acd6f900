"""A layer replaced by two branches and the fusion of a bilinear CNN, to which section 3.3 compares DCL."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fusion import Bilinear


class BilinearLinear(nn.Module):
    """Replaces `nn.Linear`: y(t) = relu(theta(t) x) as in DCL, then z_k = sum_ij U_ijk y1_i y2_j.

    Parameters
    ----------
    in_features, out_features : int
        Those of the replaced layer.
    filters : (int, int)
        M(1) and M(2).
    """

    def __init__(self, in_features: int, out_features: int, filters: tuple[int, ...]) -> None:
        super().__init__()
        self.filters = filters
        self.branches = nn.Linear(in_features, sum(filters))
        self.fusion = Bilinear((filters[0], filters[1]), out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (..., in_features) to (..., out_features)."""
        first, second = torch.split(F.relu(self.branches(x)), list(self.filters), dim=-1)
        z: Tensor = self.fusion(first, second)
        return z


class BilinearConv2d(nn.Module):
    """Replaces `nn.Conv2d`: as `BilinearLinear`, at each position.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding
        Those of the replaced layer.
    filters : (int, int)
        M(1) and M(2).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        filters: tuple[int, ...],
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.filters = filters
        self.branches = nn.Conv2d(in_channels, sum(filters), kernel_size, stride, padding)
        self.fusion = Bilinear((filters[0], filters[1]), out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (N, in_channels, H, W) to (N, out_channels, H', W')."""
        first, second = torch.split(F.relu(self.branches(x)).movedim(-3, -1), list(self.filters), dim=-1)
        z: Tensor = self.fusion(first, second).movedim(-1, -3)
        return z
