"""Scalars mean what YAML 1.2's core schema says, and JSON is read as JSON."""

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mnistcompose.errors import InputError
from mnistcompose.layout.names import bundled_names, folder_of, load_spec, read_source
from mnistcompose.layout.reading import parse_spec, read_fields
from mnistcompose.layout.yaml import dump_fields

GOOD = "name: x\nslots:\n  - center: [0, 0]\n"
# text, and value in the core schema (YAML 1.2.2, section 10.3.2)
CORE = {
    "010": 10, "0o10": 8, "0x1F": 31, "+7": 7, "-08": -8, "0b11": "0b11", "1_000": "1_000", "0o8": "0o8",
    "-0x1": "-0x1", "1e-2": 0.01, "1E+2": 100.0, "1.": 1.0, ".5": 0.5, "-.5e1": -5.0, "1_0.5": "1_0.5", "1:30": "1:30",
    "1:30.5": "1:30.5", "yes": "yes", "No": "No", "on": "on", "OFF": "OFF", "y": "y", "true": True, "FALSE": False,
    "tRue": "tRue",
    "null": None, "~": None, "": None, "nUll": "nUll", "2001-01-01": "2001-01-01", "=": "=", "<<": "<<", "NaN": "NaN",
    ".inf": math.inf, "-.INF": -math.inf, "inf": "inf", "Infinity": "Infinity", "1e999": math.inf,
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), CORE.items(), ids=map(repr, CORE))
def test_a_plain_scalar_is_read_by_the_core_schema(text, value):
    for layout in (f"a: {text}", f"a:\n  {text}\n", f'{{"a": {text}}}'):
        found = read_fields(layout)["a"]
        assert (found, type(found)) == (value, type(value))
    assert read_fields(f"a: '{text}'")["a"] == text


@given(st.integers(), st.integers(0, 9))
def test_leading_zeros_change_no_integer(value, zeros):
    text = f"{'-' if value < 0 else ''}{'0' * zeros}{abs(value)}"
    assert read_fields(f"a: {text}") == {"a": value}


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["r", ".17e", ".17E", ".17g"]))
def test_every_spelling_of_a_float_is_its_value(value, form):
    text = repr(value) if form == "r" else format(value, form)
    assert read_fields(f"a: {text}") == {"a": value}


def values(texts):
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=10,
    )


TEXTS = st.text(max_size=9)


@given(st.dictionaries(TEXTS, values(TEXTS), min_size=1), st.sampled_from([None, 2, "\t"]))
def test_json_is_read_as_json(fields, indent):
    text = json.dumps(fields, indent=indent)
    assert json.dumps(read_fields(text)) == json.dumps(fields)


WORDS = st.text("aeE01:._-+ny~", max_size=6) | st.text(st.characters(codec="ascii", min_codepoint=32), max_size=9)


@given(st.dictionaries(WORDS, values(WORDS | st.sampled_from([*CORE])), min_size=1))
def test_what_is_written_is_read_back(fields):
    assert read_fields(dump_fields(fields)) == fields


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (GOOD + "train: .inf", 4, "train = inf"),
        (GOOD + "noise: {impulse: .nan}", 4, "noise.impulse = nan: should be a finite number"),
        (GOOD + "noise: {impulse: 1e999}", 4, "noise.impulse = inf: should be a finite number"),
        (GOOD + "train: 1_000", 4, "train = '1_000'"),
        (GOOD + "distinct: yes", 4, "distinct = 'yes': should be a valid boolean"),
        (GOOD + "train: !!int 1_000", 4, "'1_000' is not a valid int"),
        (GOOD + "train: !!timestamp 2001-01-01", 4, "tag"),
        (GOOD + "train: !!set {a}", 4, "tag"),
        (GOOD + f"train: {'9' * 5000}", 4, "is not a valid int"),
        ('{"name": "x",\n"name": "y"}', 2, "duplicate key 'name'"),
        ('{"name": "x",\n"n\\u0061me": "y"}', 2, "duplicate key 'name'"),
        ('{"name": "x", "train":\n1e999, "slots": [{"center": [0, 0]}]}', 1, "train = inf"),
        ('{"name": "x",\n"noise": {"impulse": NaN}, "slots": [{"center": [0, 0]}]}', 2, "noise.impulse = 'NaN'"),
        ('{"name":\n"\\ud83d", "slots": []}', 2, "surrogate"),
        (GOOD + "yes: 3", 4, "unknown key 'yes'"),
        (GOOD + "null: 3", 4, "should be a word"),
        (GOOD + "010: 3", 4, "should be a word"),
    ],
)
def test_what_is_not_meant_is_refused_at_its_line(text, line, words):
    with pytest.raises(InputError) as caught:
        parse_spec(text, "bad")
    assert str(caught.value).splitlines()[0].startswith(f"bad:{line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_layouts_mean_the_same_in_yaml_1_1_and_1_2(name):
    content, _ = read_source(name)
    fields = read_fields(content)
    assert fields == yaml.safe_load(content)
    assert parse_spec(json.dumps(fields, indent=2), beside=folder_of(name)).digest == load_spec(name).digest
