import json
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mnistcompose.errors import InputError
from mnistcompose.layout.model import Fit, FlipChoice, LayoutSpec
from mnistcompose.layout.names import load_spec, spec_names
from mnistcompose.layout.problems import LayoutError
from mnistcompose.layout.reading import dump_spec, parse_spec
from mnistcompose.layout.varying import Choice, support

GOOD = "name: x\nslots:\n  - center: [0, 0]\n"
SLOT = GOOD + "    "

BAD = {
    "unknown key": (GOOD + "nois: {gaussian: 3}\n", ":4", "nois", "did you mean 'noise'"),
    "unknown key in a slot": (SLOT + "scal: 2\n", ":4", "slots[0].scal", "did you mean 'scale'"),
    "unknown key in a quantity": (SLOT + "scale: {uniform: [1, 2], x: 3}\n", ":4", "scale.x", "uniform"),
    "unknown kind of quantity": (SLOT + "scale: {unifrom: [1, 2]}\n", ":4", "slots[0].scale", "uniform"),
    "wrong type": (SLOT + "scale: big\n", ":4", "slots[0].scale", "number"),
    "boolean for a number": (SLOT + "scale: true\n", ":4", "slots[0].scale", "number"),
    "text for a number": (SLOT + "scale: '1.0'\n", ":4", "slots[0].scale", "number"),
    "nan": (SLOT + "scale: .nan\n", ":4", "slots[0].scale", "finite"),
    "inf in a range": (SLOT + "scale: {uniform: [1, .inf]}\n", ":4", "slots[0].scale.uniform[1]", "finite"),
    "negative scale": (SLOT + "scale: -1\n", ":4", "slots[0].scale", "0.4 to 4"),
    "min above max": (SLOT + "scale: {uniform: [2, 1]}\n", ":4", "slots[0].scale.uniform", "lowest comes first"),
    "negative std": (SLOT + "rotation: {normal: [0, -3]}\n", ":4", "rotation.normal[1]", "greater than or equal to 0"),
    "unbounded normal": (SLOT + "rotation: {normal: [0, 300]}\n", ":4", "slots[0].rotation", "-360 to 360"),
    "unknown kind of flip": (SLOT + "flip: {choices: [none]}\n", ":4", "flip.choices", "did you mean 'choice'"),
    "unknown kind of length": (GOOD + "length: {choices: [1]}\n", ":4", "length.choices", "did you mean 'choice'"),
    "unknown kind of tint": (SLOT + "tint: {choices: [[1, 2, 3]]}\n", ":4", "tint.choices", "did you mean 'choice'"),
    "unknown key in a length": (GOOD + "length: {choice: [1], weights: [2]}\n", ":4", "length.weights", "allowed"),
    "long number": ("name: x\ntrain: 0x" + "f" * 4000 + "\nslots:\n  - center: [0, 0]\n", ":2", "train", "integer"),
    "misspelt flip": (SLOT + "flip: sideways\n", ":4", "slots[0].flip", "horizontal"),
    "size out of bounds": (SLOT + "size: {width: 9, height: 1}\n", ":4", "slots[0].size.width", "4"),
    "small box": (SLOT + "size: {width: 0.5, height: 1, keep_aspect: true}\n    scale: 0.5", ":4", "slots[0]", "0.32"),
    "zero slots": ("name: x\nslots: []\n", ":2", "slots", "at least 1"),
    "ten slots": ("name: x\nslots:\n" + "  - center: [0, 0]\n" * 10, ":2", "slots", "at most 9"),
    "grey tint": (SLOT + "dx: 1\n    tint: [1, 2, 3]\n", ":5", "slots[0]", "output.channels: 3"),
    "tint in a word": (SLOT + "tint: red\n", ":4", "slots[0].tint = 'red'", "[red, green, blue]"),
    "length as a number": (GOOD + "length: 3\n", ":4", "length = 3", "{choice: [1, 2, ...]}"),
    "more digits than slots": (GOOD + "length: {choice: [1, 2]}\n", ":4", "length: 2 digits", "slots"),
    "noise as a number": (GOOD + "noise: 6\n", ":4", "noise = 6", "gaussian, impulse"),
    "slot as a number": ("name: x\nslots:\n  - 3\n", ":3", "slots[0] = 3", "center"),
    "tab": (GOOD + "noise:\n\tgaussian: 3\n", ":5", "tab", "spaces"),
    "indentation": (SLOT + "dx: 1\n   dy: 1\n", ":5", "left", "right"),
    "open bracket": (SLOT + "scale: {uniform: [1, 2}\n", ":4", "bracket", "not closed"),
    "open quote": (GOOD + "description: 'that's all\n", ":4", "", ""),
    "open quote at the end": (GOOD + "description: 'all\n", ":4", "quote", "not closed"),
    "no colon": (SLOT + "scale 2\n    dx: 1\n", ":5", "':'", "missing"),
    "half a centre": ("name: x\nslots:\n  - center: [1]\n", ":3", "slots[0].center = [1]", "2 items"),
    "a colour of nothing": (SLOT + "tint: []\n", ":4", "slots[0].tint = []", "3 items"),
    "no name": ("slots:\n  - center: [0, 0]\n", ":1", "name", "missing"),
    "empty": ("", "", "name and slots", "nothing"),
    "only a comment": ("# nothing\n", "", "name and slots", "nothing"),
    "not a mapping": ("- 1\n", "", "mapping", "list"),
    "duplicate key": (GOOD + "name: y\n", ":4", "name", "duplicate"),
    "alias": ("a: &a [x, x]\nb: *a\n", ":2", "alias", "not allowed"),
    "alias bomb": (
        "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True)),
        ":2", "alias", "not allowed",
    ),
    "python tag": ("name: !!python/object/apply:os.system [true]\n", ":1", "tag", "python"),
    "binary garbage": (b"\x00\x01\xff\xfe\x80", "", "YAML", ""),
    "deep nesting": ("[" * 100_000, "", "deep", ""),
    "many images": (GOOD + "train: 10000000000000\n", ":4", "train", "1000000000000"),
    "fraction of an image": (GOOD + "train: 1.5\n", ":4", "train", "integer"),
    "name that leaves its folder": (GOOD.replace("x", "../x"), ":1", "name", "letters"),
    "two documents": (GOOD + "---\n" + GOOD, ":4", "document", ""),
    "key that is no text": (GOOD + "3: 4\n", ":4", "'3'", "word"),
}  # fmt: skip


@pytest.mark.parametrize("content", BAD.values(), ids=list(BAD))
def test_an_error_is_one_line_that_names_file_line_field_and_remedy(content):
    text, line, *words = content
    with pytest.raises(InputError) as caught:
        parse_spec(text, "bad.yaml")
    message = str(caught.value)
    assert message.startswith(f"bad.yaml{line}:")
    assert "\n" not in message
    assert all(word in message for word in words)


def test_every_problem_of_a_file_is_told_at_once():
    with pytest.raises(InputError) as caught:
        parse_spec("slots:\n  - centre: [0, 0]\nnoise: 3\n", "bad.yaml")
    assert len(str(caught.value).splitlines()) == 3  # name, centre, noise


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MNIST-III-1O", "MNIST-III-10"),
        ("mnist-iii-05", "MNIST-III-05"),
        ("nothing", "mnistcompose list"),
        ("./no.yaml", "No such"),
    ],
)
def test_a_misspelt_name_gets_a_hint(name, hint):
    with pytest.raises(InputError, match=hint):
        load_spec(name)


def test_a_folder_or_a_huge_file_is_no_layout(tmp_path):
    with pytest.raises(InputError, match="directory"):
        load_spec(tmp_path)
    (tmp_path / "huge.yaml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(InputError, match="larger than 1 MiB"):
        load_spec(tmp_path / "huge.yaml")


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_no_content_gets_another_error(content):
    with suppress(InputError):
        parse_spec(content)


def test_two_spellings_of_one_layout_are_one_layout():
    wide = parse_spec("name: a\ndigit: {scale: 1.5}\nslots: [{center: [0, 0]}, {center: [1, 0], scale: 2}]\n")
    slotwise = parse_spec(
        "name: b\ndescription: other words\ntrain: 300\nnoise: {gaussian: 0}\ncomposite: lighten\n"
        "slots: [{center: [0.0, 0.0], scale: 1.5, rotation: 0}, {center: [1, 0], scale: 2}]\n"
    )
    assert wide.canonical == slotwise.canonical
    assert wide.digest == slotwise.digest


def test_zero_has_one_sign():
    assert parse_spec(GOOD).digest == parse_spec(GOOD.replace("[0, 0]", "[-0.0, -0.0]")).digest


def test_pixels_in_the_canonical_form_and_nothing_else():
    assert json.loads(parse_spec(GOOD + "description: words\ntrain: 3\n").canonical) == {"slots": [{"center": [0, 0]}]}
    changes = ["digit: {dx: 0.1}", "composite: add", "noise: {impulse: 0.1}", "digit: {size: {width: 1, height: 1}}"]
    assert len({parse_spec(GOOD + change).digest for change in ["", *changes]}) == 1 + len(changes)


def test_a_published_canonical_form_never_changes():
    """New optional fields must not change it: this is what every published digest hangs on."""
    spec = parse_spec(
        "name: x\ndigit: {rotation: {normal: [0, 5]}, flip: {choice: [none, both]}}\n"
        "slots: [{center: [0, 0.5]}, {center: [1, 0], size: {width: 1, height: 2}}]\nnoise: {gaussian: 3}\n"
    )
    digit = '"flip":{"choice":["none","both"]},"rotation":{"normal":[0.0,5.0]}'
    assert spec.canonical == (
        '{"noise":{"gaussian":3.0},"slots":[{"center":[0.0,0.5],' + digit + "},"
        '{"center":[1.0,0.0],' + digit + ',"size":{"height":2.0,"width":1.0}}]}'
    )


@pytest.mark.parametrize("name", spec_names())
def test_a_layout_survives_its_yaml(name):
    spec = load_spec(name)
    assert spec.name == name
    assert parse_spec(dump_spec(spec)) == spec
    assert LayoutSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_slot_that_resets_the_datasets_value_survives_its_yaml():
    spec = parse_spec("name: x\ndigit: {flip: both, scale: 2}\nslots: [{center: [0, 0], flip: none, scale: 1}]\n")
    assert parse_spec(dump_spec(spec)).canonical == spec.canonical == parse_spec(GOOD).canonical


def test_the_schema_describes_every_field():
    schema = LayoutSpec.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    assert all(field.get("description") for model in models for field in model["properties"].values())


def test_the_schema_has_the_bounds_that_are_checked():
    schema = LayoutSpec.model_json_schema()
    bounds = {name: schema["$defs"]["Slot"]["properties"][name] for name in ("scale", "rotation", "dx", "dy")}
    for name, field in bounds.items():
        for bound, beyond in ((field["minimum"], -0.01), (field["maximum"], 0.01)):
            parse_spec(f"{SLOT}{name}: {bound}\n")
            with pytest.raises(InputError, match=f"slots.0..{name} = "):
                parse_spec(f"{SLOT}{name}: {bound + beyond}\n")


def test_a_problem_of_a_whole_that_repeats_one_of_its_parts_is_left_out():
    with pytest.raises(LayoutError) as caught:
        parse_spec("name: x\nslots: [{center: [0, 0, 0]}, {center: [a, 99]}, 3]\n")
    paths = [problem.path for problem in caught.value.problems]
    assert ("slots", 0, "center") in paths
    assert ("slots", 1, "center") not in paths
    assert {("slots", 1, "center", 0), ("slots", 1, "center", 1), ("slots", 2)} <= set(paths)


# --- the bundled ladder ---------------------------------------------------------------------------------------------


def test_there_are_five_and_ten():
    slots = [len(load_spec(name).slots) for name in spec_names()]
    assert slots == [2] * 5 + [3] * 10
    assert all((spec.train, spec.test) == (60_000, 10_000) for spec in map(load_spec, spec_names()))


def test_no_two_share_a_geometry():
    assert len({yaml.dump([s.model_dump() for s in load_spec(name).placed]) for name in spec_names()}) == 15
    assert len({tuple(s.center for s in load_spec(name).slots) for name in spec_names()}) == 15


def _varies(quantity):
    low, high = support(quantity)
    return low < high


def _overlap(spec):
    """Whether two neighbours' nominal digits, 14 x 20 pixels, share more than a tenth of a slot unit both ways."""
    places = [slot.center for slot in spec.slots]
    return any(
        abs(a[0] - b[0]) < 0.7 and abs(a[1] - b[1]) < 0.9 for i, a in enumerate(places) for b in places[:i]
    ) or any(slot.scale != 1 and support(slot.scale)[0] > 1.2 for slot in spec.placed)  # fmt: skip


AXES = {
    "fitted": lambda spec: any(isinstance(slot.size, Fit) for slot in spec.placed),
    "natural": lambda spec: any(slot.size == "natural" for slot in spec.placed),
    "scale": lambda spec: any(_varies(slot.scale) for slot in spec.placed),
    "rotation": lambda spec: any(_varies(slot.rotation) for slot in spec.placed),
    "shift": lambda spec: any(_varies(slot.dx) or _varies(slot.dy) for slot in spec.placed),
    "flip": lambda spec: any(slot.flip != "none" for slot in spec.placed),
    "noise": lambda spec: spec.noise.gaussian != 0 or spec.noise.impulse != 0,
    "overlap": _overlap,
}


@pytest.mark.parametrize("family", ["MNIST-II-", "MNIST-III-"])
@pytest.mark.parametrize("axis", AXES)
def test_every_axis_is_exercised_twice_in_each_family(family, axis):
    assert sum(AXES[axis](load_spec(name)) for name in spec_names() if name.startswith(family)) >= 2


def test_each_kind_of_flip_and_noise_is_somewhere():
    specs = [load_spec(name) for name in spec_names()]
    flips = [slot.flip for spec in specs for slot in spec.placed]
    assert {"horizontal", "vertical"} <= {flip for flip in flips if isinstance(flip, str)}
    assert sum(isinstance(flip, FlipChoice) for flip in flips) >= 2
    assert sum(spec.noise.gaussian != 0 for spec in specs) >= 2
    assert sum(spec.noise.impulse != 0 for spec in specs) >= 2
    assert support(Choice(choice=(1.0, 2.0))) == (1, 2)


def test_of_very_many_problems_the_first_are_told():
    with pytest.raises(InputError) as caught:
        parse_spec(f"name: x\nslots: {[0] * 500}", "bad.yaml")
    told = str(caught.value).splitlines()
    assert len(told) == 21
    assert told[-1].startswith("bad.yaml: and ")
    assert told[-1].endswith("more problems")


def test_old_pickles_find_the_quantities_where_they_were():
    from mnistcompose.layout import model, varying

    assert (model.Uniform, model.Normal, model.Choice) == (varying.Uniform, varying.Normal, varying.Choice)
