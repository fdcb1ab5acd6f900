"""What a training run measured, and the error that ends it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .device_data import Normalisation


class DivergenceError(ArithmeticError):
    """The loss is NaN or infinite.

    Attributes
    ----------
    history : History
        Of the epochs that ended before it.
    """

    def __init__(self, message: str, history: "History") -> None:
        super().__init__(message)
        self.history = history

    @property
    def epoch(self) -> int:
        """Number of the epoch in which it happened, from 1."""
        return self.history.epochs + 1


@dataclass
class History:
    """What a training run measured, one value per epoch."""

    normalisation: Normalisation
    train_loss: list[float] = field(default_factory=list)  # mean over the epoch's steps, dropout on
    test_loss: list[float] = field(default_factory=list)
    test_error: list[float] = field(default_factory=list)  # percent
    seconds: list[float] = field(default_factory=list)  # training alone, without evaluation
    images_per_second: list[float] = field(default_factory=list)

    @property
    def error(self) -> float:
        """Test error after the last epoch, in percent."""
        return self.test_error[-1]

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return len(self.train_loss)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "History":
        """Inverse of `dataclasses.asdict`."""
        normalisation = Normalisation(*(tuple(state["normalisation"][key]) for key in ("mean", "std")))
        return cls(**{**state, "normalisation": normalisation})
