"""A layout's digest, places and equality belong to its fields, however the layout came about."""

import copy
import json
import pickle
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies import scenes, specs

from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.names import load_spec
from mnistcompose.layout.reading import parse_spec

LAYOUTS = specs() | scenes()
few = settings(max_examples=50, deadline=None)


def fresh(spec):
    """The layout read again from its fields as they were given; nothing is cached."""
    return LayoutSpec.model_validate_json(json.dumps(spec.model_dump(mode="json", exclude_unset=True)))


def assert_consistent(spec):
    again = fresh(spec)
    assert (spec.canonical, spec.digest) == (again.canonical, again.digest)
    assert [slot.model_dump() for slot in spec.placed] == [slot.model_dump() for slot in again.placed]
    assert spec == again
    assert hash(spec) == hash(again)


WAYS = {
    "model_copy": lambda spec, changes: spec.model_copy(update=changes),
    "deep model_copy": lambda spec, changes: spec.model_copy(update=changes, deep=True),
    "replace": lambda spec, changes: spec.__replace__(**changes) if hasattr(spec, "__replace__") else None,
    "copy": lambda spec, changes: spec.copy(update=changes),
}


@few
@given(spec=LAYOUTS, other=LAYOUTS, field=st.sampled_from(sorted(LayoutSpec.model_fields)), data=st.data())
def test_a_changed_copy_is_a_layout_of_its_own(spec, other, field, data):
    spec.digest, other.digest, spec.placed  # noqa: B018 -- cached before the copy is made
    way = WAYS[data.draw(st.sampled_from(sorted(WAYS)))]
    try:
        changed = way(spec, {field: getattr(other, field)})
    except ValidationError:  # fields that do not go together, as a tint and a grey image
        with pytest.raises(ValidationError):
            LayoutSpec.model_validate(
                spec.model_dump(exclude_unset=True) | {field: getattr(other, field)},
            )
    else:
        if changed is not None:
            assert getattr(changed, field) == getattr(other, field)
            assert_consistent(changed)


@few
@given(spec=LAYOUTS)
def test_an_unchanged_copy_is_the_same_layout(spec):
    for copied in (copy.copy(spec), copy.deepcopy(spec), pickle.loads(pickle.dumps(spec)), spec.model_copy()):
        assert copied == spec
        assert_consistent(copied)


@few
@given(spec=LAYOUTS)
def test_a_layout_survives_every_way_to_write_it(spec):
    for options in ({}, {"exclude_unset": True}, {"exclude_defaults": True}, {"exclude_none": True}):
        assert LayoutSpec.model_validate(spec.model_dump(**options)) == spec
        assert LayoutSpec.model_validate_json(spec.model_dump_json(**options)) == spec
        assert LayoutSpec.model_validate_json(json.dumps(spec.model_dump(mode="json", **options))) == spec


@few
@given(one=LAYOUTS, other=LAYOUTS)
def test_equal_layouts_have_equal_digests(one, other):
    other = other.model_copy(update={"name": one.name})
    assert (one == other) == (one.digest == other.digest)
    assert one != one.digest
    assert one.model_copy(update={"name": "other"}) != one


def test_a_value_that_is_reset_makes_another_layout():
    plain = parse_spec("name: x\ndigit: {scale: 2}\nslots: [{center: [0, 0]}]\n")
    reset = parse_spec("name: x\ndigit: {scale: 2}\nslots: [{center: [0, 0], scale: 1}]\n")
    assert plain != reset
    assert plain == parse_spec("name: x\nslots: [{center: [0, 0], scale: 2}]\n")


@pytest.mark.parametrize(
    ("of", "changes"),
    [
        (lambda spec: spec, {"composite": "average"}),
        (lambda spec: spec, {"slots": ()}),
        (lambda spec: spec, {"digit": {"tint": [1, 2, 3]}}),
        (lambda spec: spec, {"colour": 3}),
        (lambda spec: spec.digit, {"scale": 99}),
        (lambda spec: spec.slots[0], {"center": (0, 99)}),
        (lambda spec: spec.output, {"width": 3}),
    ],
)
def test_a_change_is_checked(of, changes):
    with pytest.raises(ValidationError):
        of(load_spec("MNIST-III-10")).model_copy(update=changes)


def test_copies_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_spec("MNIST-III-10").copy(update={"train": 3})
