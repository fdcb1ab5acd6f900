"""Which numbers occur in a dataset, how often, and which are held out: a layout's `numbers`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    StrictBool,
    StrictStr,
    Tag,
    model_validator,
)

from .base import Model, Number

MAX_LISTED = 10**5  # numbers in a list
MAX_WEIGHT = 10**6

Digits = Annotated[StrictStr, Field(pattern=r"^[0-9]{1,9}$")]
Pattern = Annotated[StrictStr, Field(pattern=r"^[0-9*]{1,9}$")]
Weight = Annotated[int, Strict(), Field(ge=1, le=MAX_WEIGHT)]


class NumberFile(Model):
    """A CSV file next to the layout's; it is read with the layout, and what it holds takes its place."""

    csv: StrictStr = Field(
        description="name of a CSV file next to the layout, with the columns number and weight, or number and use",
        examples=["numbers.csv"],
    )

    @model_validator(mode="after")
    def _unread(self) -> "NumberFile":
        raise ValueError("a CSV is read next to the file of a layout; this layout is read from no file")


class LongTail(Model):
    """Weights that fall from number to number by the same factor, in a random order of the numbers."""

    long_tail: Annotated[Number, Field(ge=1e-6, le=1)] = Field(
        description="weight of the rarest number, as a share of that of the most frequent one (0.000001 to 1)",
        examples=[0.01],
    )


class NumberList(Model):
    """The numbers that occur, and the weight of each."""

    list: dict[Digits, Weight] = Field(
        min_length=1,
        max_length=MAX_LISTED,
        description='{"007": 3, ...}: the numbers that occur, in quotes, with their weights (1 to 1,000,000)',
        examples=[{"0": 1}],
    )


class HeldOutShare(Model):
    """Numbers that are held out at random, so that every digit still occurs in every slot among the others."""

    model_config = ConfigDict(title="A share")

    share: Annotated[Number, Field(gt=0, lt=1)] = Field(
        description="share of the numbers that only `test_unseen` shows (more than 0, less than 1)", examples=[0.2]
    )
    validation: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="share of the numbers that only `validation_unseen` shows (0 to less than 1); 0: those of "
        "`test_unseen`",
    )

    @model_validator(mode="after")
    def _some_are_left(self) -> "HeldOutShare":
        if self.share + self.validation >= 1:
            raise ValueError(f"share + validation = {self.share + self.validation:g}: should be less than 1")
        return self


def _sorted(numbers: Any) -> Any:
    """Sort a list of texts and drop repetitions, so that one set of numbers has one spelling."""
    if isinstance(numbers, list | tuple) and all(isinstance(each, str) for each in numbers):
        return tuple(sorted(set(numbers)))
    return numbers


class HeldOutNumbers(Model):
    """The numbers that are held out."""

    model_config = ConfigDict(title="These numbers")

    test: Annotated[tuple[Pattern, ...], BeforeValidator(_sorted)] = Field(
        min_length=1,
        max_length=MAX_LISTED,
        description='numbers that only `test_unseen` shows, in quotes, or patterns such as "5*7", each * one digit',
        examples=[["5*7"]],
    )
    validation: Annotated[tuple[Pattern, ...], BeforeValidator(_sorted)] = Field(
        default=(),
        max_length=MAX_LISTED,
        description="numbers or patterns that only `validation_unseen` shows; none: those of `test_unseen`",
    )


def _form(*names: str) -> Discriminator:
    """Choose the form of a value: a word, or the mapping that has one of these keys, else the last of them."""

    def form(value: object) -> str:
        if not isinstance(value, Mapping | BaseModel):
            return "name"
        keys = value if isinstance(value, Mapping) else type(value).model_fields
        return next((name for name in names if name in keys), names[-1])

    return Discriminator(form)


def _as_mapping(value: Any) -> Any:
    """Read a number, a pattern or a list of them as the numbers that `test_unseen` shows."""
    if isinstance(value, str) and not value.strip("0123456789*"):
        return {"test": [value]}
    return {"test": value} if isinstance(value, list | tuple) else value


class Numbers(Model):
    """Which numbers occur, how often, and which are held out. A sample's number is drawn before its digits' images."""

    weights: Annotated[
        Annotated[Literal["uniform", "balanced"], Tag("name")]
        | Annotated[NumberFile, Tag("csv")]
        | Annotated[NumberList, Tag("list")]
        | Annotated[LongTail, Tag("long_tail")],
        _form("csv", "list", "long_tail"),
    ] = Field(
        default="uniform",
        description="uniform, balanced (the same count of each number, exactly), {long_tail: 0.01}, "
        '{list: {"007": 3, ...}} or {csv: FILE}',
    )
    balanced_test: StrictBool = Field(
        default=False,
        description="whether all splits but train and fit hold the same count of each number, whatever the weights",
    )
    held_out: Annotated[
        Annotated[Literal["none"], Tag("name")]
        | Annotated[NumberFile, Tag("csv")]
        | Annotated[HeldOutNumbers, Tag("test")]
        | Annotated[HeldOutShare, Tag("share")],
        _form("csv", "test", "share"),
        BeforeValidator(_as_mapping),
    ] = Field(
        default="none",
        description="none, {share: 0.2}, {test: [numbers or patterns such as "
        '"5*7"]} or {csv: FILE}: the numbers that no image of train, fit, test and validation shows',
    )

    def written(self) -> tuple[str, ...]:
        """All numbers and patterns that are written out."""
        listed = tuple(self.weights.list) if isinstance(self.weights, NumberList) else ()
        held_out = self.held_out
        return listed + (held_out.test + held_out.validation if isinstance(held_out, HeldOutNumbers) else ())
