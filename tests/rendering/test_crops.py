"""The packed crops hold each digit's ink box and a margin of zeros, one after the other."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnistcompose import DigitBank, load_digits
from mnistcompose.rendering import crops as module
from mnistcompose.rendering.crops import crops


def expected(bank: DigitBank) -> list[np.ndarray]:
    framed = []
    for image, (x0, y0, x1, y1) in zip(bank.images, bank.boxes, strict=True):
        framed.append(np.pad(image[y0:y1, x0:x1], 1).reshape(-1))
    return framed


def check(bank: DigitBank) -> None:
    pixels, starts = crops(bank)
    assert (pixels.dtype, starts.dtype) == (np.uint8, np.int64)
    assert not pixels.flags.writeable
    assert not starts.flags.writeable
    parts = expected(bank)
    assert starts.tolist() == [0, *np.cumsum([len(part) for part in parts])]
    assert np.array_equal(pixels[: starts[-1]], np.concatenate(parts))
    assert len(pixels) >= starts[-1] + bank.boxes[:, 2].max() + 3
    assert not pixels[starts[-1] :].any()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(0, 11))
def test_each_crop_is_its_box_with_a_margin(count, height, width, seed, power):
    random = np.random.default_rng(seed)
    x = np.sort(random.integers(0, width + 1, (count, 2)), axis=1)
    y = np.sort(random.integers(0, height + 1, (count, 2)), axis=1)
    x[x[:, 0] == x[:, 1]], y[y[:, 0] == y[:, 1]] = (0, width), (0, height)
    boxes = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1).astype(np.int16)
    images = random.integers(1, 256, (count, height, width), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_STEP", 1 << power)
        check(DigitBank(images, np.zeros(count, np.uint8), boxes, 10, "digest"))


def test_the_bundled_digits_are_packed_whole():
    check(load_digits("test"))
