import numpy as np
from hypothesis import given, settings
from strategies import specs

from mnistcompose.preview import layout_drawing


@given(spec=specs())
@settings(max_examples=15, deadline=None)
def test_any_layout_can_be_drawn(spec):
    drawing = np.asarray(layout_drawing(spec, 200, 150))
    assert drawing.shape == (150, 200, 3)
    assert drawing.min() < 200
    border = np.concatenate([drawing[0], drawing[-1], drawing[:, 0], drawing[:, -1]])
    assert (border == 255).all()  # nothing is cut off
