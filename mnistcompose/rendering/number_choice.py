"""Choose the number that a sample shows, and the numbers that are held out, for layouts with `numbers`."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cached_property, lru_cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import DigitBank, Split, check_split_name
from ..errors import InputError
from ..layout.model import LayoutSpec
from ..layout.numbers import HeldOutNumbers, HeldOutShare, LongTail, NumberList, Numbers
from ..quantities import counted
from .philox import key_of
from .words import Words, below, multiply

MAX_NUMBERS = 10**6  # that a layout with `numbers` can have: tables of them are kept in memory

_HEAVIEST = 10**9  # weight of the most frequent number of a long tail
_UNSEEN = "_unseen"  # ends the names of splits of held-out numbers
_ROUNDS = 8
_ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_TURNS = np.arange(1, _ROUNDS + 1, dtype=np.uint64) * _ODD[2]

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pool:
    """The numbers of a split.

    Attributes
    ----------
    digits : int64 (m, k)
        Of each number, the most significant first; the numbers are in ascending order.
    weights : int64 (m,)
        1 for each where `balanced` is true.
    balanced
        Whether each m consecutive samples show every number once.
    """

    digits: Integers
    weights: Integers
    balanced: bool

    @cached_property
    def classes(self) -> set[int]:
        """The digits that occur."""
        return set(np.unique(self.digits).tolist())

    @cached_property
    def ends(self) -> Integers:
        """Running sum of the weights, int64 (m,)."""
        return np.cumsum(self.weights)

    @property
    def total(self) -> int:
        """Sum of the weights."""
        return int(self.ends[-1])


def check_split(spec: LayoutSpec, split: str) -> None:
    """Check that a layout has a split.

    Raises
    ------
    InputError
        There is no such split, or the layout holds no numbers out for it.
    """
    check_split_name(split)
    if split.endswith(_UNSEEN) and not spec.holds_out:
        raise InputError(f"{spec.name}: no split {split!r}: the layout holds no numbers out (numbers.held_out)")


def choose_digits(
    spec: LayoutSpec, split: Split, seed: int, index: Integers, words: Words, bank: DigitBank
) -> Integers:
    """Digits int64 (n, k) of samples, the most significant first, from an index and a random word for each.

    Raises
    ------
    InputError
        The layout's `numbers` do not fit the digit set.
    """
    pool = pool_of(spec, split, seed, bank.classes)
    if lacking := pool.classes - set(np.flatnonzero(np.bincount(bank.labels)).tolist()):
        raise InputError(
            f"{spec.name}: numbers: the digit {min(lacking)} has no image in the {split} split of the digit set"
        )
    if pool.balanced:
        block, place = np.divmod(index, len(pool.digits))
        return pool.digits[_permuted(place, block, len(pool.digits), key_of(spec, split, seed))]
    drawn = multiply(words, np.uint64(pool.total))[0].astype(np.int64)
    return pool.digits[np.searchsorted(pool.ends, drawn, side="right")]


def number_digits(numbers: Integers, slots: int, classes: int) -> Integers:
    """Digits int64 (n, k) of numbers, the most significant first."""
    return numbers[:, None] // classes ** np.arange(slots - 1, -1, -1) % classes


def unseen_count(spec: LayoutSpec, split: Split, seed: int, classes: int, seen: int) -> int:
    """Number of samples in a split of held-out numbers: each is as frequent as the others are in `seen` samples.

    Parameters
    ----------
    split
        'test_unseen' or 'validation_unseen'.
    seen
        Number of samples of 'test' or 'validation'.

    Raises
    ------
    InputError
        As `pool_of`.
    """
    mine, others = (pool_of(spec, name, seed, classes).total for name in (split, "test"))
    return (2 * seen * mine + others) // (2 * others)


@lru_cache(maxsize=16)
def pool_of(spec: LayoutSpec, split: str, seed: int, classes: int) -> Pool:
    """Numbers of a split, and their weights, for a digit set of so many classes.

    Raises
    ------
    InputError
        There are too many numbers, or those that are held out are not among them, or leave none.
    """
    rules = spec.numbers
    if not isinstance(rules, Numbers):
        raise InputError(f"{spec.name}: the layout has no `numbers`")
    numbers, weights = _weighted(spec, rules, seed, classes)
    digits = number_digits(numbers, len(spec.slots), classes)
    test, validation = _held_out(spec, rules, seed, classes, digits)
    if not split.endswith(_UNSEEN):
        own = ~(test | validation)
    else:
        own = validation if split.startswith("validation") and validation.any() else test
    balanced = rules.weights == "balanced" or (rules.balanced_test and split not in ("train", "fit"))
    return Pool(digits[own], np.ones(own.sum(), np.int64) if balanced else weights[own], balanced)


# --- which numbers there are ------------------------------------------------------------------------------------------


def _weighted(spec: LayoutSpec, rules: Numbers, seed: int, classes: int) -> tuple[Integers, Integers]:
    """All numbers that occur in any split, in ascending order, and their weights."""
    slots = len(spec.slots)
    if classes**slots > MAX_NUMBERS:
        raise InputError(
            f"{spec.name}: numbers: {slots} digits of {classes} classes make {classes**slots:,} numbers; allowed are "
            f"up to {MAX_NUMBERS:,}"
        )
    numbers = np.arange(classes**slots)
    match rules.weights:
        case NumberList(list=listed):
            for text in listed:
                _check_digits(spec, text, classes)
            chosen = np.array([_value(text, classes) for text in listed])
            order = np.argsort(chosen)
            return chosen[order], np.array(list(listed.values()), np.int64)[order]
        case LongTail(long_tail=rarest):
            weights = np.empty(len(numbers), np.int64)
            weights[_order(spec, "ranks", seed, len(numbers))] = _geometric(rarest, len(numbers))
            return numbers, weights
        case _:
            return numbers, np.ones(len(numbers), np.int64)


def _value(text: str, classes: int) -> int:
    total = 0
    for digit in text:
        total = total * classes + int(digit)
    return total


def _check_digits(spec: LayoutSpec, text: str, classes: int) -> None:
    highest = max(text.replace("*", "0"))
    if int(highest) >= classes:
        raise InputError(f"{spec.name}: numbers: {text!r}: the digit set has the classes 0 to {classes - 1}")


def _geometric(rarest: float, count: int) -> list[int]:
    """Weights that fall from _HEAVIEST to `rarest` times that by equal factors.

    Decimal arithmetic with a fixed number of digits is the same on every machine, unlike a C library's `pow`.
    """
    context = Context(prec=40, rounding=ROUND_HALF_EVEN)
    factor = context.exp(context.divide(context.ln(Decimal(repr(rarest))), Decimal(max(1, count - 1))))
    weights, weight = [], Decimal(_HEAVIEST)
    for _ in range(count):
        weights.append(int(weight.to_integral_value(ROUND_HALF_EVEN)))
        weight = context.multiply(weight, factor)
    return weights


def _order(spec: LayoutSpec, purpose: str, seed: int, count: int) -> Integers:
    """A random order of count things."""
    words = np.random.Philox(key=key_of(spec, purpose, seed)).random_raw(count)
    return np.argsort(words, kind="stable")


# --- which are held out -----------------------------------------------------------------------------------------------


def _held_out(
    spec: LayoutSpec, rules: Numbers, seed: int, classes: int, digits: Integers
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of the numbers only `test_unseen` shows, and which only `validation_unseen`, each bool (m,)."""
    match rules.held_out:
        case HeldOutShare(share=share, validation=validation):
            test, other = (round(Decimal(repr(part)) * len(digits)) for part in (share, validation))
            if not test:
                raise InputError(
                    f"{spec.name}: numbers.held_out: share = {share:g} of {counted(len(digits), 'number')} is none"
                )
            chosen = _spared(digits, _order(spec, "held_out", seed, len(digits)), test + other, classes)
            if len(chosen) < test + other:
                raise InputError(
                    f"{spec.name}: numbers.held_out: {test + other} of {counted(len(digits), 'number')}; at most about "
                    f"{len(chosen)} can be held out so that every digit occurs in every slot among the others"
                )
            masks = np.zeros((2, len(digits)), np.bool_)
            masks[0, chosen[:test]] = masks[1, chosen[test:]] = True
            return masks[0], masks[1]
        case HeldOutNumbers(test=listed, validation=others):
            first, second = (_matching(spec, patterns, digits, classes) for patterns in (listed, others))
            if (both := first & second).any():
                number = "".join(map(str, digits[both.argmax()]))
                raise InputError(f"{spec.name}: numbers.held_out: {number} is in test and in validation")
            if (first | second).all():
                raise InputError(f"{spec.name}: numbers.held_out: all numbers are held out; none is left to train on")
            return first, second
        case _:
            none = np.zeros(len(digits), np.bool_)
            return none, none


def _spared(digits: Integers, order: Integers, wanted: int, classes: int) -> Integers:
    """The first `wanted` places of an order, less those without which a digit no longer occurs in its slot."""
    cells = digits + classes * np.arange(digits.shape[1])
    counts = np.bincount(cells.ravel(), minlength=classes * digits.shape[1])
    if (counts - np.bincount(cells[order[:wanted]].ravel(), minlength=len(counts)) >= (counts > 0)).all():
        return order[:wanted]
    left, chosen = counts.tolist(), list[int]()
    for place, own in zip(order.tolist(), cells[order].tolist(), strict=True):
        if len(chosen) < wanted and all(left[cell] > 1 for cell in own):
            for cell in own:
                left[cell] -= 1
            chosen.append(place)
    return np.array(chosen, np.int64)


def _matching(spec: LayoutSpec, patterns: tuple[str, ...], digits: Integers, classes: int) -> NDArray[np.bool_]:
    """Which numbers match one of the patterns, bool (m,)."""
    found = np.zeros(len(digits), np.bool_)
    for pattern in patterns:
        _check_digits(spec, pattern, classes)
        own = np.ones(len(digits), np.bool_)
        for slot, digit in enumerate(pattern):
            if digit != "*":
                own &= digits[:, slot] == int(digit)
        if not own.any():
            raise InputError(f"{spec.name}: numbers.held_out: {pattern!r} is none of the numbers that occur")
        found |= own
    return found


# --- balance ----------------------------------------------------------------------------------------------------------


def _permuted(places: Integers, blocks: Integers, size: int, key: Words) -> Integers:
    """Where each place of its block of `size` goes: a permutation for each block, int64 (n,).

    A Feistel network on pairs (left, right) that are at least `size` many; a result outside is permuted again until it
    is inside, so that any place can be computed alone.
    """
    height = isqrt(size - 1) + 1
    width = -(-size // height)
    base = _mixed(blocks.astype(np.uint64) * _ODD[0] + key[0]) ^ key[1]
    moved = _moved(places, base, height, width)
    while len(outside := np.flatnonzero(moved >= size)):
        moved[outside] = _moved(moved[outside], base[outside], height, width)
    return moved


def _moved(places: Integers, base: Words, height: int, width: int) -> Integers:
    left, right = np.divmod(places, width)
    for turn in range(0, _ROUNDS, 2):
        left = (left + _shift(right, base, turn, height)) % height
        right = (right + _shift(left, base, turn + 1, width)) % width
    return left * width + right


def _shift(half: Integers, base: Words, turn: int, bound: int) -> Integers:
    """Random shifts 0 .. bound - 1 that depend on one half."""
    words = _mixed(base + half.astype(np.uint64) * _ODD[1] + _TURNS[turn])
    return below(words, bound).astype(np.int64)


def _mixed(words: Words) -> Words:
    """Mix all bits of each word (the finaliser of SplitMix64)."""
    words = (words ^ words >> np.uint64(30)) * _ODD[1]
    words = (words ^ words >> np.uint64(27)) * _ODD[2]
    return words ^ words >> np.uint64(31)
