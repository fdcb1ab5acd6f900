import numpy as np
from hypothesis import given, settings
from strategies import specs

from mnistcompose.layout.reading import parse_spec
from mnistcompose.preview import layout_drawing
from mnistcompose.preview.slot_drawing import _varied


def test_boxes_do_not_depend_on_the_numbers_of_a_digit_set():
    """MNIST has too few numbers to hold out 4 of 1,000; a set of letters has enough."""
    text = "name: x\nslots: [{center: [0, 0]}, {center: [1, 0]}]\n"
    assert _varied(parse_spec(f"{text}numbers: {{held_out: {{share: 0.004}}}}\n")) == _varied(parse_spec(text))


def test_boxes_need_no_colours_and_are_drawn_of_every_slot():
    """A tint by digit fits the digit set's classes, and slots that a short number leaves empty have a place, too."""
    spec = parse_spec("name: x\nslots: [{center: [5, 5]}, {center: [6, 5]}]\nlength: {choice: [1, 2]}")
    assert min(min(box.x, box.y) for sample in _varied(spec) for box in sample) > 4
    colours = "tint: {by_digit: [[255, 0, 0], [0, 255, 0]]}"
    two = parse_spec(f"name: x\nslots: [{{center: [0, 0], {colours}}}]\noutput: {{channels: 3}}")
    assert np.asarray(layout_drawing(two, 200, 150)).min() < 200


@given(spec=specs())
@settings(max_examples=15, deadline=None)
def test_any_layout_can_be_drawn(spec):
    drawing = np.asarray(layout_drawing(spec, 200, 150))
    assert drawing.shape == (150, 200, 3)
    assert drawing.min() < 200
    border = np.concatenate([drawing[0], drawing[-1], drawing[:, 0], drawing[:, -1]])
    assert (border == 255).all()  # nothing is cut off
