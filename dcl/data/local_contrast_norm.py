"""Local contrast normalisation, as Jarrett et al. (2009) define it, of each colour channel separately."""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 7  # pixels
SIGMA = WINDOW / 4  # of the Gaussian, in pixels; the window ends at 1.7 sigma
RANGE = 4.0  # local deviations that uint8's 256 values span, on either side
BATCH = 8192


def local_contrast(images: Tensor) -> Tensor:
    """Subtract each pixel's local mean, divide by the local deviation, and round to uint8.

    Mean and deviation are those in a Gaussian window of 7 x 7 pixels; at an edge, only the part inside the image
    counts. Deviations below their mean over the image are raised to it, so that flat regions are not amplified. Values
    of -4 to 4 become 1 to 255, in steps of 1/32, and values beyond are clipped; 0 becomes 128. (The paper uses local
    contrast normalisation, but gives neither the window nor the constants.)

    Parameters
    ----------
    images : uint8 (N, C, H, W)

    Returns
    -------
    uint8 (N, C, H, W)
    """
    return torch.cat([_normalised(chunk) for chunk in torch.split(images, BATCH)])


def _normalised(images: Tensor) -> Tensor:
    count, channels, height, width = images.shape
    planes = images.reshape(-1, 1, height, width).to(torch.float32)
    place = torch.arange(WINDOW, dtype=torch.float32, device=images.device) - WINDOW // 2
    bell = torch.exp(-(place**2) / (2 * SIGMA**2))

    def blurred(x: Tensor) -> Tensor:
        x = F.conv2d(x, bell.view(1, 1, -1, 1), padding=(WINDOW // 2, 0))
        return F.conv2d(x, bell.view(1, 1, 1, -1), padding=(0, WINDOW // 2))

    weight = blurred(torch.ones(1, 1, height, width, device=images.device))
    centred = planes - blurred(planes) / weight
    deviation = (blurred(centred**2) / weight).sqrt()
    floor = deviation.mean((2, 3), keepdim=True).clamp(min=0.1)  # a plane of one grey level has no deviation
    contrast = centred / torch.maximum(deviation, floor)
    return (contrast * (127 / RANGE) + 128).round().clamp(1, 255).to(torch.uint8).view(count, channels, height, width)
