"""What a dataset looks like: the fields of a layout, their ranges, and the layout's digest."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    Strict,
    StrictBool,
    StrictStr,
    Tag,
    field_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ..quantities import counted
from .base import Model as _Model
from .base import Number
from .numbers import Numbers
from .varying import Choice as Choice  # these three had been here, and old pickles find them here
from .varying import Normal as Normal
from .varying import Uniform as Uniform
from .varying import Varying, Within, support

SIZE = 28  # pixels, both sides of an image unless a layout says otherwise
MAX_SIDE = 256  # pixels
UNIT = 20  # canvas pixels per slot unit: the nominal height of an MNIST digit
MAX_SLOTS = 9
SMALLEST = 0.32  # slot units: below it, some of MNIST's ones leave no ink when fitted with their proportions


Shift = Annotated[Varying, Within(-4, 4)]
Scale = Annotated[Varying, Within(0.4, 4)]
Angle = Annotated[Varying, Within(-360, 360)]
Grey = Annotated[Varying, Within(0, 128)]
Share = Annotated[Varying, Within(0, 1)]
Coordinate = Annotated[Number, Field(ge=-10, le=10)]
Length = Annotated[Number, Field(ge=0.5, le=4)]
Extent = Annotated[Number, Field(ge=0.5, le=20)]
Side = Annotated[int, Strict(), Field(ge=8, le=MAX_SIDE)]
FlipName = Literal["none", "horizontal", "vertical", "both"]


class FlipChoice(_Model):
    """One of the listed flips, all equally likely."""

    choice: tuple[FlipName, ...] = Field(min_length=1, max_length=256, description="the flips to choose from")


class Fit(_Model):
    """A box that the digit's ink is fitted to, before `scale`."""

    width: Length = Field(description="width of the box, slot units (0.5 to 4)")
    height: Length = Field(description="height of the box, slot units (0.5 to 4)")
    keep_aspect: StrictBool = Field(
        default=False, description="keep the digit's proportions (as large as fits) instead of stretching it"
    )


def _shape(value: object) -> str:
    """Distinguish a plain word from a mapping, so that an error describes the form that was meant."""
    return "varying" if isinstance(value, Mapping | BaseModel) else "name"


Byte = Annotated[int, Strict(), Field(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]
WHITE: Color = (255, 255, 255)


class TintChoice(_Model):
    """One of the listed colours, all equally likely."""

    choice: tuple[Color, ...] = Field(min_length=1, max_length=256, description="the colours to choose from")


class TintByDigit(_Model):
    """A colour for every class of digit, which predicts the class as often as `agree` says."""

    model_config = ConfigDict(title="by digit")  # the studio's name for it

    by_digit: tuple[Color, ...] = Field(
        min_length=1, max_length=255, description="a colour for each class of digit, from class 0"
    )
    agree: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=1.0,
        description="probability that a digit has its class's colour; else it has one of the other colours, all "
        "equally likely (0 to 1)",
    )
    agree_test: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="the same for splits whose name begins with test, such as 1 - agree; without it, as `agree`",
    )

    @model_validator(mode="after")
    def _another(self) -> "TintByDigit":
        if len(set(self.by_digit)) == 1 and {self.agree, self.agree_test} - {1.0, None}:
            raise ValueError(
                "all colours are the same, so a digit cannot have another one; list at least two, or set agree: 1"
            )
        return self

    def agreement(self, split: str) -> float:
        """Probability that a digit of a split has its class's colour."""
        return self.agree if self.agree_test is None or not split.startswith("test") else self.agree_test


def _tint_kind(value: object) -> str:
    """Form of a tint: a colour, a choice, or a colour by class."""
    by_digit = "by_digit" in value if isinstance(value, Mapping) else isinstance(value, TintByDigit)
    return "by_digit" if by_digit else _shape(value)


class Digit(_Model):
    """How a digit is drawn. Applied in this order: flip, size, scale, rotation, position, tint."""

    flip: Annotated[Annotated[FlipName, Tag("name")] | Annotated[FlipChoice, Tag("varying")], Discriminator(_shape)] = (
        Field(
            default="none",
            description="none, horizontal (left-right), vertical (upside down), both, or {choice: [...]}",
        )
    )
    size: Annotated[
        Annotated[Literal["natural"], Tag("name")] | Annotated[Fit, Tag("varying")], Discriminator(_shape)
    ] = Field(
        default="natural",
        description="natural (20 source pixels are 1 slot unit), or a box {width, height, keep_aspect}",
    )
    scale: Scale = Field(default=1.0, description="factor on the size (0.4 to 4)")
    rotation: Angle = Field(default=0.0, description="degrees, counter-clockwise as seen (-360 to 360)")
    dx: Shift = Field(default=0.0, description="shift to the right of the slot's centre, slot units (-4 to 4)")
    dy: Shift = Field(default=0.0, description="shift downwards of the slot's centre, slot units (-4 to 4)")
    anchor: Literal["ink", "image"] = Field(
        default="ink",
        description="what lies at the slot's centre: the middle of the digit's ink, or that of its source image",
    )
    tint: Annotated[
        Annotated[Color, Tag("name")] | Annotated[TintChoice, Tag("varying")] | Annotated[TintByDigit, Tag("by_digit")],
        Discriminator(_tint_kind),
    ] = Field(
        default=WHITE,
        description="[red, green, blue] of full ink, 0 to 255, {choice: [...]}, or {by_digit: [...], agree, "
        "agree_test}; needs output.channels: 3",
    )


class Slot(Digit):
    """One digit's place. Fields that it leaves out come from the dataset-wide `digit`."""

    center: tuple[Coordinate, Coordinate] = Field(
        description="[x, y] of the digit's centre, slot units (-10 to 10), y downwards; 1 slot unit = 20 pixels"
    )


class Noise(_Model):
    """Noise on the finished image: first gaussian, then impulse."""

    gaussian: Grey = Field(
        default=0.0, description="standard deviation of additive noise in an image, grey levels (0 to 128)"
    )
    impulse: Share = Field(
        default=0.0, description="share of an image's pixels replaced by black or white (salt and pepper), 0 to 1"
    )


class Window(_Model):
    """A fixed part of the canvas, rounded to whole canvas pixels (0.05 slot units); ink outside it is cut off."""

    center: tuple[Coordinate, Coordinate] = Field(
        default=(0.0, 0.0), description="[x, y] of the window's centre, slot units (-10 to 10), y downwards"
    )
    width: Extent = Field(description="width of the window, slot units (0.5 to 20)")
    height: Extent = Field(description="height of the window, slot units (0.5 to 20)")

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 on the canvas, whole pixels."""
        left, top = (
            round((middle - side / 2) * UNIT)
            for middle, side in zip(self.center, (self.width, self.height), strict=True)
        )
        return left, top, left + round(self.width * UNIT), top + round(self.height * UNIT)


class Output(_Model):
    """The image: the part `crop` of the canvas, stretched to `width` x `height`."""

    width: Side = Field(default=SIZE, description="width of the images, pixels (8 to 256)")
    height: Side = Field(default=SIZE, description="height of the images, pixels (8 to 256)")
    channels: Literal[1, 3] = Field(default=1, description="1 for grey images, 3 for colour")
    crop: Annotated[
        Annotated[Literal["ink"], Tag("name")] | Annotated[Window, Tag("varying")], Discriminator(_shape)
    ] = Field(default="ink", description="ink (the number's ink box), or a window {center, width, height}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a stored image: height, width and, in colour, 3."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)


def _disagreement(path: tuple[str | int, ...], message: str) -> PydanticCustomError:
    """An error that concerns several fields, reported at one of them; the message names the field."""
    return PydanticCustomError("disagreement", "{message}", {"path": path, "message": message})


_SHARED = {"composite", "length", "distinct", "numbers", "noise", "output"}  # fields of all slots that determine pixels


class LengthChoice(_Model):
    """One of the listed numbers of digits, all equally likely."""

    choice: tuple[Annotated[int, Strict(), Field(ge=1, le=MAX_SLOTS)], ...] = Field(
        min_length=1, max_length=256, description="the numbers of digits to choose from"
    )


class Labels(_Model):
    """Wrong labels in the training splits, `train` and `fit`; others have right ones. Digits and factors stay true."""

    noise: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.0, description="probability that a training label is another number (0 to 1)"
    )
    kind: Literal["symmetric", "neighbour"] = Field(
        default="symmetric",
        description="symmetric (any other number, all equally likely), or neighbour (one of the digits, all equally "
        "likely, is one higher or lower; 0 is next to the highest class)",
    )

    def noise_of(self, split: str) -> float:
        """Probability that a label of a split is wrong."""
        return self.noise if split in ("train", "fit") else 0.0


class LayoutSpec(_Model):
    """A dataset's layout.

    Slot 0 is the most significant digit. `name`, `description` and the counts do not affect samples, so 300 images are
    a prefix of 60,000. `labels` affects only the labels, and all other fields affect the images. Two layouts are equal
    if they have the same name, description, counts and canonical form.
    """

    name: StrictStr = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="name of the dataset, and of its folder: up to 64 letters, digits, '.', '_' and '-'",
    )
    description: StrictStr = Field(default="", max_length=1000, description="what this layout is about")
    train: Annotated[int, Strict()] = Field(default=60_000, ge=0, le=10**12, description="number of training images")
    test: Annotated[int, Strict()] = Field(default=10_000, ge=0, le=10**12, description="number of test images")
    digit: Digit = Field(default_factory=Digit, description="what every slot does unless it says otherwise")
    slots: tuple[Slot, ...] = Field(
        min_length=1, max_length=MAX_SLOTS, description="the digits' places, most significant first (1 to 9)"
    )
    composite: Literal["lighten", "add", "screen", "over"] = Field(
        default="lighten",
        description="how digits meet: lighten (the brighter wins), add (clipped at white), screen, "
        "over (a later digit's ink covers the earlier ones)",
    )
    length: Annotated[
        Annotated[Literal["all"], Tag("name")] | Annotated[LengthChoice, Tag("varying")], Discriminator(_shape)
    ] = Field(
        default="all", description="all, or {choice: [1, 2, ...]}: how many of the slots are used, from the first"
    )
    distinct: StrictBool = Field(default=False, description="whether all digits of a number differ")
    numbers: Annotated[
        Annotated[Literal["any"], Tag("name")] | Annotated[Numbers, Tag("varying")], Discriminator(_shape)
    ] = Field(
        default="any",
        description="any (each digit's image is drawn from all), or {weights, balanced_test, held_out}: which numbers "
        "occur, how often, and which are held out",
    )
    noise: Noise = Field(default_factory=Noise, description="noise on the finished image")
    output: Output = Field(default_factory=Output, description="size and colour of the images, and what they show")
    labels: Labels = Field(default_factory=Labels, description="noise on the labels of the training splits")

    @model_validator(mode="after")
    def _agrees(self) -> "LayoutSpec":
        """Check what concerns several fields."""
        if isinstance(self.length, LengthChoice) and max(self.length.choice) > len(self.slots):
            message = f"length: {max(self.length.choice)} digits need as many slots; there are {len(self.slots)}"
            raise _disagreement(("length", "choice"), message)
        if isinstance(self.numbers, Numbers):
            self._check_numbers(self.numbers)
        if self.holds_out and self.has_label_noise:
            message = "labels.noise: a wrong label could be a number that is held out; use only one of the two"
            raise _disagreement(("labels", "noise"), message)
        for index, slot in enumerate(self.placed):
            if slot.tint != WHITE and self.output.channels == 1:
                message = f"slots[{index}]: a tint needs output.channels: 3; the images are grey"
                raise _disagreement(("slots", index, "tint"), message)
            if slot.anchor == "image" and slot.size != "natural":
                message = f"slots[{index}]: anchor: image is for digits of size: natural, not for fitted ones"
                raise _disagreement(("slots", index, "anchor"), message)
        return self

    def _check_numbers(self, numbers: Numbers) -> None:
        """Reject what contradicts `numbers`."""
        for field, value, usual in (("length", "{choice: [...]}", "all"), ("distinct", "true", False)):
            if getattr(self, field) != usual:
                message = f"{field}: {value} and numbers both choose which digits occur; leave out one of them"
                raise _disagreement((field,), message)
        for written in numbers.written():
            if len(written) != len(self.slots):
                message = f"numbers: {written!r}: should have {counted(len(self.slots), 'digit')}, one for each slot"
                raise _disagreement(("numbers",), message)

    @model_validator(mode="after")
    def _ink(self) -> "LayoutSpec":
        """Reject a box in which a narrow digit that keeps its proportions would be thinner than a pixel."""
        for index, slot in enumerate(self.placed):
            if isinstance(slot.size, Fit) and slot.size.keep_aspect:
                least = min(slot.size.width, slot.size.height) * support(slot.scale)[0]
                if least < SMALLEST:
                    message = (
                        f"slots[{index}]: a box of {least:.3g} slot units (its shorter side times the lowest scale) is "
                        f"too small for a digit that keeps its proportions; at least {SMALLEST} is needed"
                    )
                    raise _disagreement(("slots", index, "size"), message)
        return self

    @field_serializer("slots", mode="wrap")
    def _self_contained(
        self, slots: tuple[Slot, ...], dump: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> Any:
        """Write out the dataset-wide values, too: once all fields are written, it is lost which of them were unset."""
        if info.exclude_unset and not info.exclude_defaults:
            return dump(slots)
        return tuple(slot.model_dump(mode=info.mode) for slot in self.placed)

    @property
    def _essence(self) -> tuple[str | int, ...]:
        return self.name, self.description, self.train, self.test, self.canonical

    def __eq__(self, other: object) -> bool:
        return self._essence == other._essence if isinstance(other, LayoutSpec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._essence)

    @cached_property
    def placed(self) -> tuple[Slot, ...]:
        """The slots with the dataset-wide values filled in."""
        return tuple(
            slot.model_copy(
                update={
                    field: getattr(self.digit, field)
                    for field in Digit.model_fields
                    if field not in slot.model_fields_set
                }
            )
            for slot in self.slots
        )

    @cached_property
    def canonical(self) -> str:
        """Sorted-key JSON of the fields that determine pixels and labels, defaults left out.

        Two spellings of one layout (a value per slot, or dataset-wide) have the same canonical form, and an optional
        field that is added later does not change it.
        """
        return self._canonical(_SHARED | {"labels"} if self.has_label_noise else _SHARED)

    @cached_property
    def canonical_pixels(self) -> str:
        """The canonical form without `labels`: all random choices depend on it, so that label noise moves no pixel."""
        return self._canonical(_SHARED)

    def _canonical(self, shared: set[str]) -> str:
        fields = {
            "slots": [slot.model_dump(exclude_defaults=True) for slot in self.placed],
            **self.model_dump(include=shared, exclude_defaults=True),
        }
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return re.sub(r"-0\.0\b", "0.0", text)  # equal layouts have equal digests

    @property
    def holds_out(self) -> bool:
        """Whether some numbers are held out, so that there are splits of numbers that training never shows."""
        return isinstance(self.numbers, Numbers) and self.numbers.held_out != "none"

    @property
    def has_label_noise(self) -> bool:
        """Whether labels of the training splits may be wrong."""
        return self.labels.noise > 0

    @property
    def most_digits(self) -> int:
        """How many digits the longest numbers have."""
        return len(self.slots) if self.length == "all" else max(self.length.choice)

    @property
    def is_plain(self) -> bool:
        """Whether images are grey, 28 x 28, cut to the ink, and show all slots: what `render_on_device` makes."""
        return self.output == Output() and self.length == "all"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()
