"""Quantities of a layout that may vary: a number, or a distribution of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from .base import Model, Number

NORMAL_CUT = 3.0  # normal distributions end at this many standard deviations, so that every quantity is bounded


class Uniform(Model):
    """Evenly distributed between two bounds, both included."""

    uniform: tuple[Number, Number] = Field(description="[lowest, highest]")

    @model_validator(mode="after")
    def _ordered(self) -> "Uniform":
        if self.uniform[0] > self.uniform[1]:
            raise ValueError("the lowest comes first, then the highest")
        return self


class Normal(Model):
    """Normally distributed, cut at 3 standard deviations."""

    normal: tuple[Number, Annotated[Number, Field(ge=0)]] = Field(
        description="[mean, standard deviation], cut at 3 standard deviations"
    )


class Choice(Model):
    """One of the listed values, all equally likely; a value that is listed twice is twice as likely."""

    choice: tuple[Number, ...] = Field(min_length=1, max_length=256, description="the values to choose from")


def _kind(value: object) -> str | None:
    """Form of a varying quantity, from its type or keys; with None, the error lists the forms."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    keys = value if isinstance(value, Mapping) else type(value).model_fields if isinstance(value, BaseModel) else ()
    return next((key for key in ("uniform", "normal", "choice") if key in keys), None)


Varying = Annotated[
    Annotated[Number, Tag("number")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[Choice, Tag("choice")],
    Discriminator(
        _kind,
        custom_error_type="varying",
        custom_error_message="give a number, {uniform: [lowest, highest]}, {normal: [mean, std]} or "
        "{choice: [value, ...]}",
    ),
]


def support(quantity: float | Uniform | Normal | Choice) -> tuple[float, float]:
    """Lowest and highest value that a quantity can take."""
    match quantity:
        case Uniform(uniform=(low, high)):
            return low, high
        case Normal(normal=(mean, std)):
            return mean - NORMAL_CUT * std, mean + NORMAL_CUT * std
        case Choice(choice=values):
            return min(values), max(values)
        case _:
            return quantity, quantity


@dataclass(frozen=True)
class Within:
    """Bounds of all values that a quantity can take; in the JSON Schema they apply to a plain number."""

    lowest: float
    highest: float

    def check(self, quantity: Any) -> Any:
        """Reject a quantity that can take other values."""
        low, high = support(quantity)
        if low < self.lowest or high > self.highest:
            spread = "" if low == high else f"takes values from {low:g} to {high:g}; "
            raise ValueError(f"{spread}allowed are {self.lowest:g} to {self.highest:g}")
        return quantity

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "minimum": self.lowest, "maximum": self.highest}
