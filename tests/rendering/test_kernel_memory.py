"""The kernel, run by Python with checked pointers: it stays in its memory, and uses nothing that it has not written."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import scenes

from mnistcompose import InputError, draw, load_digits, load_spec
from mnistcompose.digits.bank import DigitBank
from mnistcompose.rendering import kernel, noise, placing, resize
from mnistcompose.rendering import render as rendering

BANK = load_digits("train")
MASK = 2**64 - 1


class Pointer:
    def __init__(self, array, start=0):
        self.array, self.start = array, start

    def place(self, index):
        assert 0 <= self.start + int(index) < len(self.array)
        return self.start + int(index)

    def __getitem__(self, index):
        value = self.array[self.place(index)].item()
        assert value == value  # 0 * NaN is not 0
        return value

    def __setitem__(self, index, value):
        if self.array.dtype == np.uint32:
            value &= 0xFFFFFFFF  # sums of rows that no pixel uses may be anything
        self.array[self.place(index)] = value  # an integer that does not fit is an error


def at(start, index):
    if isinstance(start, Pointer):
        return Pointer(start.array, start.start + int(index))
    assert start.flags.c_contiguous
    return Pointer(start.reshape(-1), int(index))


def cast(pointer, kind):
    return Pointer(pointer.array[pointer.start :].view(kind.dtype))


def checked(dtype):
    """A conversion that changes no value, but cuts off a fraction."""
    bounds = np.iinfo(dtype)

    def convert(value):
        assert bounds.min <= int(value) <= bounds.max
        return int(value)

    convert.dtype = dtype
    return convert


def word(value):
    return int(value) & MASK


word.dtype = np.uint64


def mix(value):
    """SplitMix64's output function, on Python's integers."""
    value = (value & MASK ^ (value & MASK) >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


CHECKED = SimpleNamespace(
    **{kind: checked(getattr(np, kind)) for kind in ("int32", "int64", "uint32")},
    **{name: getattr(np, name) for name in ("zeros", "floor", "ceil", "rint")},
    uint64=word,
    empty=lambda size: np.full(int(size), -1).view(np.float64),  # NaN, and the largest integers
)


def interpreted(bank, digits, layout, draws, *arrays):
    gaussian, impulse, key, normals = draws
    return kernel.compose(bank, digits, layout, (gaussian, impulse, key.tolist(), normals), *arrays)


@pytest.fixture
def by_python(monkeypatch):
    """Compare a rendering by Python with one by the compiled kernel."""

    def compare(bank, spec, draws):
        wanted = rendering.render_with_masks(bank, spec, draws), rendering.render(bank, spec, draws)
        with monkeypatch.context() as patch:
            for module in (kernel, noise, placing, resize):
                for name, value in list(vars(module).items()):
                    if hasattr(value, "py_func"):
                        patch.setattr(module, name, value.py_func)
                for name, value in {"at": at, "cast": cast, "mix": mix, "np": CHECKED}.items():
                    if hasattr(module, name):
                        patch.setattr(module, name, value)
            patch.setattr(kernel, "prefetch", lambda pointer: None)
            patch.setattr(rendering, "compose", interpreted)
            found = rendering.render_with_masks(bank, spec, draws), rendering.render(bank, spec, draws)
        for one, other in zip(wanted, found, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    return compare


@pytest.mark.parametrize("name", ["MNIST-III-10", "MNIST-colour", "MNIST-lengths", "MNIST-boxes", "MultiMNIST-CapsNet"])
@pytest.mark.parametrize("composite", ["lighten", "add", "screen", "over"])
def test_bundled_layouts(by_python, name, composite):
    spec = load_spec(name).model_copy(update={"composite": composite})
    by_python(BANK, spec, draw(spec, "train", 0, 2, 0, BANK))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=scenes(), seed=st.integers(0, 2**63 - 1))
def test_any_layout(by_python, spec, seed):
    try:
        by_python(BANK, spec, draw(spec, "train", 0, 2, seed, BANK))
    except InputError:
        assume(False)


@pytest.mark.parametrize("sides", [(1, 70), (70, 1), (90, 60)])
def test_source_images_of_other_sizes(by_python, sides):
    images = np.random.default_rng(0).integers(0, 256, (3, *sides), np.uint8)
    images[:, 0, 0] = images[:, -1, -1] = 255
    boxes = np.tile(np.array([0, 0, *sides[::-1]], np.int16), (3, 1))
    bank = DigitBank(images, np.arange(3, dtype=np.uint8), boxes, 3, "")
    for name in ("MNIST-III-07", "MNIST-boxes"):
        spec = load_spec(name)
        by_python(bank, spec, draw(spec, "train", 0, 2, 0, bank))
