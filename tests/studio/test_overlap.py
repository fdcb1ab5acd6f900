import dataclasses

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from strategies import specs

from mnistcompose import InputError, draw, load_digits, load_spec
from mnistcompose.digits.ink import INK
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.reading import parse_spec
from mnistcompose.rendering.render import render_with_masks
from mnistcompose.studio.overlap import overlap

BANK = load_digits("train")


def measured(spec, count=32):
    draws = draw(spec, "train", 0, count, 0, BANK)
    return overlap(render_with_masks(BANK, spec, draws)[2])


def on_the_canvas(spec, draws, monkeypatch):
    """The share by the independent renderer, whose layers lie on one canvas."""
    layers, layer_of = [], reference.layer_of
    monkeypatch.setattr(reference, "layer_of", lambda *given: layers.append(layer_of(*given)) or layers[-1])
    for n in range(len(draws)):
        reference.render_one(BANK, spec, draws, n)
    covers = [sum((layer >= INK).astype(int) for layer in each) for each in batched(layers, len(spec.slots))]
    return np.array([(each > 1).sum() / (each > 0).sum() for each in covers])


def batched(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


@pytest.mark.parametrize("name", ["MNIST-II-05", "MNIST-III-10"])
def test_it_is_the_share_that_the_canvas_has(name, monkeypatch):
    spec = load_spec(name)
    draws = draw(spec, "train", 0, 24, 0, BANK)
    expected = on_the_canvas(spec, draws, monkeypatch)
    found = measured(spec, 24)
    assert abs(found - expected).max() < 0.05
    assert abs(found - expected).mean() < 0.01


def test_digits_apart_do_not_overlap_and_the_same_place_does():
    def row(gap):
        return parse_spec(f"name: x\nslots: [{{center: [0, 0]}}, {{center: [{gap}, 0]}}]\n")

    assert measured(row(3)).max() == 0
    close = [measured(row(gap)).mean() for gap in (0, 0.3, 0.6, 0.9)]
    assert close == sorted(close, reverse=True)
    assert close[0] > 0.2


def test_noise_is_no_ink():
    layout = "name: x\nslots: [{center: [0, 0]}, {center: [0.7, 0]}]\n"
    quiet = parse_spec(layout)
    loud = LayoutSpec.model_validate({**quiet.model_dump(), "noise": {"gaussian": 100, "impulse": 0.5}})
    draws = draw(loud, "train", 0, 32, 0, BANK)
    still = dataclasses.replace(draws, gaussian=0 * draws.gaussian, impulse=0 * draws.impulse)
    masks, without = (render_with_masks(BANK, loud, each)[2] for each in (draws, still))
    assert np.array_equal(masks, without)


@given(spec=specs())
@settings(max_examples=20, deadline=None)
def test_any_layout_has_a_share(spec):
    try:
        shares = measured(spec, 8)
    except InputError:
        return  # a digit without ink
    assert ((shares >= 0) & (shares <= 1)).all()
    assert len(spec.slots) > 1 or not shares.any()
