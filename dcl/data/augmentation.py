"""Crops and left-right flips of a batch, on its device."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Window of an image that a network sees: random and possibly mirrored in training, the central one in testing.

    Parameters
    ----------
    crop : int, optional
        Side of the window, in pixels. None: the side of the image.
    padding : int
        Pixels by which the window may extend beyond the image, which is mirrored at its edges.
    flip : bool
        Mirror an image left to right with a probability of 1/2.
    """

    crop: int | None = None
    padding: int = 0
    flip: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Random windows (N, C, crop, crop) of images (N, C, H, W), drawn from torch's generator of their device."""
        if not (self.flip or self.padding or self.crop):
            return images
        count, _, height, width = images.shape
        sides = [self.crop or height, self.crop or width]
        rows, columns = (
            torch.randint(0, whole + 2 * self.padding - side + 1, (count, 1), device=images.device)
            + torch.arange(side, device=images.device)
            - self.padding
            for whole, side in zip((height, width), sides, strict=True)
        )
        if self.flip:
            mirrored = torch.rand(count, 1, device=images.device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        rows, columns = _reflected(rows, height), _reflected(columns, width)
        sample = torch.arange(count, device=images.device)[:, None, None]
        # Indices on both sides of the slice put the channels last in memory, the networks' format.
        return images[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def central(self, images: Tensor) -> Tensor:
        """Central windows of images (N, C, H, W), without a copy."""
        if self.crop is None:
            return images
        top, left = ((side - self.crop) // 2 for side in images.shape[2:])
        return images[:, :, top : top + self.crop, left : left + self.crop]


def _reflected(index: Tensor, side: int) -> Tensor:
    """Mirror indices at both edges, without repeating the edge pixels."""
    return (side - 1) - ((side - 1) - index.abs()).abs()
