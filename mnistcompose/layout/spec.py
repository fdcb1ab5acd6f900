"""A dataset's layout: one YAML file, read into one immutable model."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    StrictBool,
    StrictStr,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ..errors import InputError

SIZE = 28  # pixels, both sides of an image unless a layout says otherwise
MAX_SIDE = 256  # pixels
UNIT = 20  # canvas pixels a slot unit: the nominal height of an MNIST digit
NORMAL_CUT = 3.0  # normal distributions end at this many standard deviations, so that every quantity is bounded
MAX_SLOTS = 9
SMALLEST = 0.32  # slot units: below it, some of MNIST's ones leave no ink when fitted with their proportions
MAX_BYTES = 1 << 20

Number = Annotated[float, Strict()]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Uniform(_Model):
    """Evenly distributed between two bounds, both included."""

    uniform: tuple[Number, Number] = Field(description="[lowest, highest]")

    @model_validator(mode="after")
    def _ordered(self) -> "Uniform":
        if self.uniform[0] > self.uniform[1]:
            raise ValueError("the lowest comes first, then the highest")
        return self


class Normal(_Model):
    """Normally distributed, cut at 3 standard deviations."""

    normal: tuple[Number, Annotated[Number, Field(ge=0)]] = Field(
        description="[mean, standard deviation], cut at 3 standard deviations"
    )


class Choice(_Model):
    """One of the listed values, each as likely; a value may be listed twice to weigh more."""

    choice: tuple[Number, ...] = Field(min_length=1, max_length=256, description="the values to choose from")


def _kind(value: object) -> str | None:
    """Which form of a varying quantity this is, by its look; None sends a user the list of forms."""
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
class _Within:
    """Bounds of all values that a quantity can take; in the JSON Schema they are those of its plain number."""

    lowest: float
    highest: float

    def check(self, quantity: Any) -> Any:
        low, high = support(quantity)
        if low < self.lowest or high > self.highest:
            spread = "" if low == high else f"takes values from {low:g} to {high:g}; "
            raise ValueError(f"{spread}allowed are {self.lowest:g} to {self.highest:g}")
        return quantity

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "minimum": self.lowest, "maximum": self.highest}


Shift = Annotated[Varying, _Within(-4, 4)]
Scale = Annotated[Varying, _Within(0.4, 4)]
Angle = Annotated[Varying, _Within(-360, 360)]
Grey = Annotated[Varying, _Within(0, 128)]
Share = Annotated[Varying, _Within(0, 1)]
Coordinate = Annotated[Number, Field(ge=-10, le=10)]
Length = Annotated[Number, Field(ge=0.5, le=4)]
Extent = Annotated[Number, Field(ge=0.5, le=20)]
Side = Annotated[int, Strict(), Field(ge=8, le=MAX_SIDE)]

FlipName = Literal["none", "horizontal", "vertical", "both"]


class FlipChoice(_Model):
    """One of the listed flips, each as likely."""

    choice: tuple[FlipName, ...] = Field(min_length=1, max_length=256, description="the flips to choose from")


class Fit(_Model):
    """A box that the digit's ink is fitted to, before `scale`."""

    width: Length = Field(description="width of the box, slot units (0.5 to 4)")
    height: Length = Field(description="height of the box, slot units (0.5 to 4)")
    keep_aspect: StrictBool = Field(
        default=False, description="keep the digit's proportions (as large as fits) instead of stretching it"
    )


def _shape(value: object) -> str:
    """Tell a plain word from a mapping, so that an error speaks of the form that was meant."""
    return "varying" if isinstance(value, Mapping | BaseModel) else "name"


Byte = Annotated[int, Strict(), Field(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]
WHITE: Color = (255, 255, 255)


class TintChoice(_Model):
    """One of the listed colours, each as likely."""

    choice: tuple[Color, ...] = Field(min_length=1, max_length=256, description="the colours to choose from")


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
    tint: Annotated[Annotated[Color, Tag("name")] | Annotated[TintChoice, Tag("varying")], Discriminator(_shape)] = (
        Field(
            default=WHITE,
            description="[red, green, blue] of full ink, 0 to 255, or {choice: [...]}; needs output.channels: 3",
        )
    )


class Slot(Digit):
    """One digit's place. Whatever it leaves out comes from the dataset-wide `digit`."""

    center: tuple[Coordinate, Coordinate] = Field(
        description="[x, y] of the digit's centre, slot units (-10 to 10), y downwards; 1 slot unit = 20 pixels"
    )


class Noise(_Model):
    """Noise on the finished 28 x 28 image: first gaussian, then impulse."""

    gaussian: Grey = Field(
        default=0.0, description="standard deviation of additive noise in an image, grey levels (0 to 128)"
    )
    impulse: Share = Field(default=0.0, description="share of an image's pixels replaced by black or white (0 to 1)")


class Window(_Model):
    """A fixed part of the canvas, to whole pixels of it (0.05 slot units); what lies beyond is cut off."""

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
    """What is made of the canvas: the part `crop`, stretched to `width` x `height`."""

    width: Side = Field(default=SIZE, description="width of the images, pixels (8 to 256)")
    height: Side = Field(default=SIZE, description="height of the images, pixels (8 to 256)")
    channels: Literal[1, 3] = Field(default=1, description="1 for grey images, 3 for colour")
    crop: Annotated[
        Annotated[Literal["ink"], Tag("name")] | Annotated[Window, Tag("varying")], Discriminator(_shape)
    ] = Field(default="ink", description="ink (the number's ink box), or a window {center, width, height}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image as it is stored: height, width and, in colour, 3."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)


def _disagreement(path: tuple[str | int, ...], message: str) -> PydanticCustomError:
    """An error of several fields, told at one of them; the message names what it is about."""
    return PydanticCustomError("disagreement", "{message}", {"path": path, "message": message})


_SHARED = {"composite", "length", "distinct", "noise", "output"}  # fields of all slots that determine pixels


class LengthChoice(_Model):
    """One of the listed numbers of digits, each as likely."""

    choice: tuple[Annotated[int, Strict(), Field(ge=1, le=MAX_SLOTS)], ...] = Field(
        min_length=1, max_length=256, description="the numbers of digits to choose from"
    )


class LayoutSpec(_Model):
    """A dataset's layout.

    Slot 0 is the most significant digit. `name`, `description` and the counts determine no pixels, so that 300 images
    are a prefix of 60,000; all else does.
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
    noise: Noise = Field(default_factory=Noise, description="noise on the finished image")
    output: Output = Field(default_factory=Output, description="size and colour of the images, and what they show")

    @model_validator(mode="after")
    def _agrees(self) -> "LayoutSpec":
        """What concerns several fields."""
        if isinstance(self.length, LengthChoice) and max(self.length.choice) > len(self.slots):
            message = f"length: {max(self.length.choice)} digits need as many slots; there are {len(self.slots)}"
            raise _disagreement(("length", "choice"), message)
        for index, slot in enumerate(self.placed):
            if slot.tint != WHITE and self.output.channels == 1:
                message = f"slots[{index}]: a tint needs output.channels: 3; the images are grey"
                raise _disagreement(("slots", index, "tint"), message)
            if slot.anchor == "image" and slot.size != "natural":
                message = f"slots[{index}]: anchor: image is for digits of size: natural, not for fitted ones"
                raise _disagreement(("slots", index, "anchor"), message)
        return self

    @model_validator(mode="after")
    def _ink(self) -> "LayoutSpec":
        """A narrow digit that keeps its proportions in too small a box would be thinner than a pixel."""
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
        """Sorted-key JSON of the pixel-determining fields, defaults left out.

        Two spellings of one layout (a value per slot, or dataset-wide) have the same canonical form, and an optional
        field that is added later changes none.
        """
        fields = {
            "slots": [slot.model_dump(exclude_defaults=True) for slot in self.placed],
            **self.model_dump(include=_SHARED, exclude_defaults=True),
        }
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return re.sub(r"-0\.0\b", "0.0", text)  # equal layouts have equal digests

    @property
    def is_plain(self) -> bool:
        """Whether images are grey, 28 x 28, cut to the ink, and show all slots: what the fast kernel makes."""
        return self.output == Output() and self.length == "all"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def spec_names() -> list[str]:
    """Names of the bundled layouts, from the easiest two-digit one to the hardest three-digit one."""
    return _names(files("mnistcompose.specs"))


def extra_names() -> list[str]:
    """Names of the bundled layouts that are not the paper's, but for other tasks, or other people's datasets."""
    return _names(files("mnistcompose.specs.extra"))


def bundled_names() -> list[str]:
    """Names of all bundled layouts, the paper's first."""
    return [*spec_names(), *extra_names()]


def _names(folder: Traversable) -> list[str]:
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_spec(name_or_path: str | Path) -> LayoutSpec:
    """Read a bundled layout by name, or any layout from a YAML file.

    Raises
    ------
    InputError
        One line a problem: the file, the line, the field, its value and what is allowed.
    """
    return parse_spec(*read_source(name_or_path))


def read_source(name_or_path: str | Path) -> tuple[bytes, str]:
    """Read the YAML text of a layout, which nothing has checked yet, and the name that its errors bear.

    Raises
    ------
    InputError
        There is no such layout, or the file cannot be read.
    """
    text = str(name_or_path)
    for package, names in (("specs", spec_names()), ("specs.extra", extra_names())):
        if text in names:
            return (files(f"mnistcompose.{package}") / f"{text}.yaml").read_bytes(), f"{text}.yaml"
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1 or path.exists():
        return _read(path), text
    known = {name.upper(): name for name in bundled_names()}
    close = get_close_matches(text.upper(), known, n=1, cutoff=0.5)
    hint = f"did you mean {known[close[0]]}?" if close else "`mnistcompose spec list` shows the names"
    raise InputError(f"{text!r} is neither a bundled dataset nor a file or folder that is there; {hint}")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a layout: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB; a layout is a short YAML file")
    return content


FieldPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """What is wrong at one place of a layout.

    Attributes
    ----------
    path
        Keys and indices that lead to the field, or to where a missing one should be; empty for the whole file.
    line
        Where that is in the text, from 1; None where the text ends before anything could be found.
    message
        The field, its value and what is allowed, in one line.
    """

    path: FieldPath
    line: int | None
    message: str


class LayoutError(InputError):
    """A layout's text cannot be used; as a message, one line a problem, each with the file and the line.

    Attributes
    ----------
    problems
        In the order of the message.
    data
        What the YAML says, as far as it could be read at all.
    """

    def __init__(self, source: str, problems: tuple[Problem, ...], data: Any = None) -> None:
        places = (f"{source}:{each.line}" if each.line else source for each in problems)
        super().__init__("\n".join(f"{place}: {each.message}" for place, each in zip(places, problems, strict=True)))
        self.problems, self.data = problems, data


def parse_spec(content: bytes | str, source: str = "<spec>") -> LayoutSpec:
    """Make a layout of YAML text; `source` is the name that errors bear.

    Raises
    ------
    LayoutError
        An InputError; as `load_spec`.
    """
    data, lines = _parse_yaml(content, source)
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        message = f"a layout is a mapping with the keys name and slots; found {found}"
        raise LayoutError(source, (Problem((), None, message),), data)
    try:
        return LayoutSpec.model_validate(data)
    except ValidationError as error:
        raise LayoutError(source, _explain_all(error.errors(include_url=False), data, lines), data) from None


def read_fields(content: bytes | str, source: str = "<spec>") -> Any:
    """Read what YAML text says, unchecked: any value, for a layout a mapping.

    Raises
    ------
    LayoutError
        It is not the YAML that a layout may be written in.
    """
    return _parse_yaml(content, source)[0]


def dump_spec(spec: LayoutSpec) -> str:
    """YAML text of a layout; `parse_spec` reads it back to an equal layout."""
    # a slot may set a default against the dataset's value
    return dump_fields(spec.model_dump(mode="json", exclude_unset=True))


def dump_fields(fields: Mapping[str, Any]) -> str:
    """YAML text of a layout's fields, which nothing has checked."""
    return yaml.dump(dict(fields), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


# --- YAML, strictly -------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses aliases (a short file could expand to gigabytes) and duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed in a layout", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                shown = (
                    f"{key.value!r:.40} is none" if isinstance(key, yaml.ScalarNode) else "a list or mapping is none"
                )
                raise yaml.MarkedYAMLError(problem=f"a key should be a word; {shown}", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def on_one_line(value: Mapping[str, Any] | Sequence[Any]) -> bool:
    """Tell short lists and quantities, which a person writes on one line."""
    if isinstance(value, Mapping):
        return (
            not {"uniform", "normal", "choice", "width", "gaussian", "impulse"}.isdisjoint(value)
            and "crop" not in value
        )
    return not any(isinstance(each, dict) for each in value)


class _Dumper(yaml.SafeDumper):
    """SafeDumper with what is short on one line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, flow_style or on_one_line(sequence))

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, flow_style or on_one_line(mapping))

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _node_lines(node: yaml.Node | None, path: FieldPath = ()) -> Iterator[tuple[FieldPath, int]]:
    """Line (from 1) of every field, by its path."""
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _node_lines(value, (*path, key.value))
            yield (*path, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _node_lines(value, (*path, index))


def _parse_yaml(content: bytes | str, source: str) -> tuple[Any, dict[FieldPath, int]]:
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
        data = loader.construct_document(node) if node is not None else None
        return data, dict(_node_lines(node))
    except yaml.MarkedYAMLError as error:
        mark, message = _in_plain_words(error)
        raise LayoutError(source, (Problem((), mark.line + 1 if mark else None, message),)) from None
    except RecursionError:
        raise LayoutError(source, (Problem((), None, "nested too deeply for a layout"),)) from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        message = f"not valid YAML text: {_one_line(str(error))}"
        raise LayoutError(source, (Problem((), None, message),)) from None


_YAML_WORDS = {
    "character '\\t'": "a tab; YAML is indented with spaces",
    "mapping values are not allowed": "a ':' that does not fit here; is one missing on the line before?",
    "expected <block end>": "starts further to the left or to the right than the lines that it belongs to",
    "could not find expected ':'": "a ':' is missing, or a quote is not closed",
}
_YAML_WORDS_AT_ITS_BEGIN = {
    "expected ',' or ": "a bracket that is opened here is not closed, or a ',' between two of its items is missing",
    "unexpected end of stream": "a quote that is opened here is not closed",
}


def _in_plain_words(error: yaml.MarkedYAMLError) -> tuple[yaml.Mark | None, str]:
    """Where a YAML error is, and what is wrong there."""
    problem, found = error.problem or "", error.problem_mark or error.context_mark
    for mark, known in (found, _YAML_WORDS), (error.context_mark or found, _YAML_WORDS_AT_ITS_BEGIN):
        for jargon, words in known.items():
            if jargon in problem:
                return mark, words
    return found, _one_line(f"{error.context or ''} {problem}")


# --- pydantic's errors, for people ----------------------------------------------------------------------------------

_KEYS_AT: dict[str, type[BaseModel]] = {
    "digit": Digit, "slots": Slot, "noise": Noise, "size": Fit, "output": Output, "crop": Window,
}  # fmt: skip
_VARYING_KEYS = ("uniform", "normal", "choice")
_WORDING = {
    "too_short": "should have at least {min_length} item(s), has {actual_length}",
    "too_long": "should have at most {max_length} items",
    "string_pattern_mismatch": "should be up to 64 letters, digits, '.', '_' and '-', starting with a letter or digit",
}


def _one_line(text: str, limit: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


_TOLD = 20  # problems of one file


def _explain_all(problems: list[Any], data: Any, lines: dict[FieldPath, int]) -> tuple[Problem, ...]:
    """Leave out a problem of a whole that only repeats one of its parts', and all but a list's last missing item."""
    located = [(_locate(problem.get("ctx", {}).get("path", problem["loc"]), lines), problem) for problem in problems]
    wholes = {path[:length] for path, _ in located for length in range(1, len(path))}
    lacking = {path: problem for path, problem in located if _lacks_item(problem)}
    deepest = [
        (path, problem)
        for path, problem in located
        if path not in wholes and (not _lacks_item(problem) or problem is lacking[path])
    ]
    told = [_explain(path, problem, data, lines) for path, problem in deepest[:_TOLD]]
    more = [Problem((), None, f"and {len(deepest) - _TOLD} more problems")] if len(deepest) > _TOLD else []
    return (*told, *more)


def _lacks_item(problem: Any) -> bool:
    return problem["type"] == "missing" and isinstance(problem["loc"][-1], int)


def _locate(loc: FieldPath, lines: dict[FieldPath, int]) -> FieldPath:
    """The part of pydantic's location that is in the file: it also names the members of unions, and missing keys."""
    path: FieldPath = ()
    for part in loc:
        if (*path, part) in lines:
            path = (*path, part)
    return path


def _dotted(path: FieldPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _model_at(path: FieldPath) -> type[BaseModel]:
    return next((_KEYS_AT[part] for part in reversed(path) if isinstance(part, str) and part in _KEYS_AT), LayoutSpec)


def _meaning(path: FieldPath) -> str:
    """What the schema says of a field; nothing of a list's items."""
    fields = {**_model_at(path[:-1]).model_fields, **Uniform.model_fields, **Normal.model_fields}
    return (fields[path[-1]].description or "") if path and path[-1] in fields else ""


def _explain(path: FieldPath, problem: Any, data: Any, lines: dict[FieldPath, int]) -> Problem:
    """Field, value, and what is allowed, in one line."""
    kind: str = problem["type"]
    last: Any = problem["loc"][-1] if problem["loc"] else ""
    if kind == "extra_forbidden":
        owner = path[:-1]
        varying = owner[-1:] and any((*owner, key) in lines for key in _VARYING_KEYS)
        allowed = _VARYING_KEYS if varying else tuple(_model_at(owner).model_fields)
        close = get_close_matches(str(last), allowed, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close and not varying else f"allowed are {', '.join(allowed)}"
        unknown = _one_line(_dotted((*owner, last)), 80)
        line = lines.get((*owner, last), lines.get(path, 1))
        return Problem((*owner, last), line, f"unknown key {unknown!r}; {hint}")
    line = lines.get(path, 1)
    field = _one_line(_dotted(path), 80)
    if kind == "missing" and not _lacks_item(problem):
        return Problem((*path, last), line, f"the key {str(last)!r} is missing{f' in {field}' if field else ''}")
    value = data
    for part in path:
        value = value[part]
    if _lacks_item(problem):
        return Problem(path, line, f"{field} = {_one_line(repr(value), 60)}: should have {last + 1} items")
    meaning = _meaning(path)
    message = _WORDING.get(kind, problem["msg"].removeprefix("Value error, ").replace("Input should", "should"))
    message = message.format(**problem.get("ctx", {})) if kind in _WORDING else message
    if kind == "model_type":
        message = f"should be a mapping; its keys are {', '.join(_model_at(path).model_fields)}"
    elif kind == "tuple_type":
        message = f"should be a list{': ' if meaning else ''}{meaning}"
    elif kind == "literal_error" and "{" in meaning:
        message = f"should be {meaning}"
    if kind == "disagreement":
        return Problem(path, line, message)
    return Problem(path, line, f"{field or 'layout'} = {_one_line(repr(value), 60)}: {message}")
