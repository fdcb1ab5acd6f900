"""Which digits to use, and how to read them, as one value."""

from dataclasses import dataclass
from pathlib import Path

from ..arguments import flag, here, whole


@dataclass(frozen=True)
class DigitSource:
    """A folder of digit files, and how to read them.

    All of it determines the digit set, and so its digest.

    Parameters
    ----------
    folder
        Folder as for `load_digits`; None means the bundled MNIST.
    skip_blank
        Leave out images without ink, which are otherwise refused. Source indices count the images that are left.
    labels_from
        The lowest label in the files, which becomes 0: 1 for the letters of EMNIST, whose labels are 1 to 26.
    invert
        Exchange light and dark, for dark ink on light paper.

    Raises
    ------
    InputError
        A value is not allowed.
    """

    folder: str | Path | None = None
    skip_blank: bool = False
    labels_from: int = 0
    invert: bool = False

    def __post_init__(self) -> None:
        for name in ("skip_blank", "invert"):
            object.__setattr__(self, name, flag(name, getattr(self, name)))
        object.__setattr__(self, "labels_from", whole("labels_from", self.labels_from, 0, 2**31 - 1))
        if self.folder is not None:
            object.__setattr__(self, "folder", here(self.folder).absolute())

    def __str__(self) -> str:
        return "the bundled MNIST" if self.folder is None else str(self.folder)


BUNDLED = DigitSource()
Digits = str | Path | DigitSource | None


def as_source(digits: Digits) -> DigitSource:
    """Make a source of what a caller may give: a folder, None for the bundled MNIST, or a source."""
    return digits if isinstance(digits, DigitSource) else DigitSource(digits)
