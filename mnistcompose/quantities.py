"""Quantities as people write them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any


def human_bytes(size: float) -> str:
    """Format a number of bytes with a suitable decimal unit."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if float(f"{size:.3g}") < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} PB"


def duration(seconds: float) -> str:
    """Write seconds as in 3 h 05 min, 7 min 09 s, 12 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def counted(number: int, noun: str) -> str:
    """Write a number and a noun, in the plural unless the number is 1."""
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def there_are(number: int, noun: str) -> str:
    """Write how many there are: 'there is 1 image', 'there are 2 images'."""
    return f"there {'is' if number == 1 else 'are'} {counted(number, noun)}"


def counted_by_name(counts: Mapping[Any, int], noun: str) -> str:
    """Write numbers of several kinds: '1 test image', '3 train and 1 test images'."""
    *others, last = (f"{number:,} {name}" for name, number in counts.items())
    return f"{listed([*others, last])} {noun if [*counts.values()] == [1] else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("y"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def number_name(number: int, count: int) -> str:
    """Write a number below `count` with leading zeros, so that names sort in the order of the numbers."""
    return f"{number:0{len(str(count - 1))}d}"


def shown(value: object) -> str:
    """Write a value as in code; of a SHA-256 in hex, as much as tells two apart."""
    return f"{value[:12]}..." if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else repr(value)


def listed(words: Iterable[str]) -> str:
    """Join words as a sentence does: 'a', 'a and b', 'a, b and c'."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
