"""The Wide Residual Network of the paper's reference 47, which section 4.2.1 uses with 16 layers."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mnistcompose.errors import InputError

from .fusion import DCLLinear

DEPTH, WIDTH = 16, 4  # the paper gives no width; 4 is the authors' for 16 layers on SVHN


class _Block(nn.Module):
    """Two 3 x 3 convolutions, each after its normalisation and ReLU, beside a shortcut."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
        )
        same = channels == filters and stride == 1
        self.shortcut = None if same else nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.first(x)
        sum_: Tensor = self.residual(active) + (x if self.shortcut is None else self.shortcut(active))
        return sum_


class WideResNet(nn.Sequential):
    """A wide residual network for small images.

    Its only fully-connected layer is the output, so that is what DCL replaces ("the first fully-connected layer of all
    three baselines", section 4.2.1): branches of a quarter of its filters are branches of a quarter of the classes.

    Parameters
    ----------
    classes : int
    filters : sequence of int, optional
        Filters of each DCL branch in the output's place; without it the output is an ordinary layer.
    depth : int
        6 n + 4 layers.
    width : int
        Factor of the filters, which are 16, 32 and 64 times it.

    Raises
    ------
    InputError
        No network has this depth.
    """

    def __init__(
        self,
        classes: int,
        filters: Sequence[int] | None = None,
        depth: int = DEPTH,
        width: int = WIDTH,
        channels: int = 3,
    ) -> None:
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise InputError(f"depth = {depth}: a wide residual network has 6 n + 4 layers: 10, 16, 22, 28, ...")
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False)]
        before = 16
        for group in range(3):
            for block in range(blocks):
                after = 16 * width << group
                layers.append(_Block(before, after, 2 if group and not block else 1))
                before = after
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        output: Any = nn.Linear(before, classes) if filters is None else DCLLinear(before, classes, filters)
        super().__init__(*layers, output)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
