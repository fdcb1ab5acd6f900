"""Charts as plain data: the pixels of lines, dots, ticks and labels. A template draws them as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 546, 12, 262  # of the frame, pixels
COLORS = 8  # number of colours, which are then repeated
_LETTER, _LINE = 6.4, 13  # width of a letter and height of a line in a label, pixels


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` to pixels from `start` to `end`, linearly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Pixel of a value; values outside lie on the nearer border, those that are not finite on the upper one."""
        inside = min(max(value, self.low), self.high) if math.isfinite(value) else self.high
        low, high, inside = map(math.log, (self.low, self.high, inside)) if self.log else (self.low, self.high, inside)
        return self.start + (self.end - self.start) * (inside - low) / (high - low)


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A quantity of one run, one value per epoch."""

    name: str
    color: int
    values: tuple[float, ...]
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """A model: its size, its error, and half the length of a bar that shows the error's spread."""

    name: str
    color: int
    x: float
    y: float
    spread: float = 0


@dataclass(frozen=True)
class Drawn:
    """A line or a dot, in pixels."""

    name: str
    color: int
    dashed: bool
    points: tuple[tuple[float, float], ...]
    values: tuple[str, ...]  # text shown for each point
    bar: tuple[float, float] | None = None
    label: "Label | None" = None


@dataclass(frozen=True)
class Label:
    """A text next to a dot."""

    text: str
    x: float
    y: float
    before: bool  # ends at x


@dataclass(frozen=True)
class Chart:
    """A frame with its axes, and what is drawn in it."""

    title: str
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Drawn, ...]


def scale_over(values: Sequence[float], start: float, end: float, *, log: bool, margin: float = 0.06) -> Scale:
    """Scale over all finite values, with a margin on both sides; logarithmic only if a value is above 0."""
    finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    positive = [v for v in finite if v > 0]
    if log and positive:
        low, high = math.log(min(positive)), math.log(max(positive))
        room = margin * (high - low) or 0.1
        return Scale(math.exp(low - room), math.exp(high + room), start, end, log=True)
    low, high = min(finite), max(finite)
    room = max(margin * (high - low), 0.05 * abs(high)) or 1.0  # so that tiny differences do not look large
    return Scale(low - room, high + room, start, end)


def ticks(scale: Scale, most: int = 6) -> tuple[Tick, ...]:
    """Ticks at round values on a scale, about `most` or fewer."""
    decades = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))) if scale.log else ()
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**power for power in decades for step in steps]
        inside = [value for value in found if scale.low <= value <= scale.high]
        if 3 <= len(inside) <= most + 2:
            return _labelled(scale, inside)
    if len(decades) > most:
        return _labelled(scale, [10.0**power for power in decades[1 :: math.ceil(len(decades) / most)]])
    width = (scale.high - scale.low) / most
    power = 10.0 ** math.floor(math.log10(width))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= width * 0.999)
    first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
    return _labelled(scale, [number * step for number in range(first, last + 1)])


def _labelled(scale: Scale, values: Sequence[float]) -> tuple[Tick, ...]:
    return tuple(Tick(scale.place(value), in_short(value)) for value in values)


def in_short(value: float) -> str:
    """Write a value with at most four digits: 0.05, 12.5, 500k, 1.2M."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * unit or (letter != "k" and abs(value) >= unit):
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def line_chart(title: str, y_title: str, lines: Sequence[Line], unit: str = "") -> Chart:
    """Lines over epochs, on a logarithmic scale: they differ at the end, where values are small."""
    longest = max(len(line.values) for line in lines)
    xs = Scale(1, longest, LEFT + 6, RIGHT - 8) if longest > 1 else Scale(0, 2, LEFT, RIGHT)
    ys = scale_over([value for line in lines for value in line.values], BOTTOM, TOP, log=True)
    marks = [
        Drawn(
            line.name,
            line.color % COLORS,
            line.dashed,
            tuple((xs.place(epoch), ys.place(value)) for epoch, value in enumerate(line.values, 1)),
            tuple(f"epoch {epoch}: {value:.4g}{unit}" for epoch, value in enumerate(line.values, 1)),
        )
        for line in lines
    ]
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, longest) if longest / s <= 10 or s == longest)
    epochs = [1, *range(step, longest + 1, step)] if step > 1 else [*range(1, longest + 1)]
    return Chart(title, "epoch", y_title, _labelled(xs, epochs), ticks(ys), tuple(marks))


def dot_chart(title: str, x_title: str, y_title: str, dots: Sequence[Dot], unit: str = "") -> Chart:
    """Dots with their names; sizes are on a logarithmic scale if one is more than ten times another."""
    sizes = [dot.x for dot in dots]
    xs = scale_over(sizes, LEFT, RIGHT, log=max(sizes) > 10 * min(sizes) > 0, margin=0.12)
    ys = scale_over([dot.y + sign * dot.spread for dot in dots for sign in (-1, 1)], BOTTOM, TOP, log=False, margin=0.1)
    marks = [
        Drawn(
            dot.name,
            dot.color % COLORS,
            False,
            ((xs.place(dot.x), ys.place(dot.y)),),
            (f"{dot.x:,.0f} parameters, {dot.y:.2f}{unit}",),
            (ys.place(dot.y + dot.spread), ys.place(dot.y - dot.spread)) if dot.spread else None,
        )
        for dot in dots
    ]
    return Chart(title, x_title, y_title, ticks(xs, 5), ticks(ys), tuple(_with_labels(marks)))


def _with_labels(marks: Sequence[Drawn]) -> list[Drawn]:
    """Put names next to dots, on the side with more room, below the dots and names that they would cover."""
    dots = [mark.points[0] for mark in marks]
    taken = [(x - 6, x + 6, y) for x, y in dots]  # first and last x, and y
    labelled = []
    for mark in sorted(marks, key=lambda mark: (mark.points[0][1], mark.points[0][0])):
        text = mark.name if len(mark.name) <= 20 else f"{mark.name[:19]}…"
        (x, y), before = mark.points[0], mark.points[0][0] > (LEFT + RIGHT) / 2
        edge, length = (x - 9 if before else x + 9), _LETTER * len(text)
        first, last = (edge - length, edge) if before else (edge, edge + length)
        for left, right, other in sorted(taken, key=lambda each: each[2]):
            if first < right and left < last and abs(y - other) < _LINE:
                y = other + _LINE
        taken.append((first, last, y))
        labelled.append(replace(mark, label=Label(text, edge, y + 4, before)))
    return labelled
