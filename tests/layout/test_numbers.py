"""A layout's `numbers`: what is allowed, one spelling, and the CSV files."""

import re

import pytest

from mnistcompose.errors import InputError
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.names import load_spec
from mnistcompose.layout.reading import dump_spec, parse_spec

TWO = "name: x\nslots: [{center: [0, 0]}, {center: [1, 0]}]\n"


def layout(numbers: str, more: str = "") -> LayoutSpec:
    return parse_spec(f"{TWO}{more}numbers: {numbers}\n")


def test_a_layout_without_numbers_has_the_canonical_form_that_it_had():
    plain = parse_spec(TWO)
    assert plain.canonical == '{"slots":[{"center":[0.0,0.0]},{"center":[1.0,0.0]}]}'
    assert layout("any").canonical == plain.canonical
    assert layout("{}").canonical != plain.canonical  # the number is drawn first: other pixels


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{held_out: "5*"}', '{held_out: {test: ["5*"]}}'),
        ('{held_out: ["57", "12", "57"]}', '{held_out: {test: ["12", "57"], validation: []}}'),
        ('{weights: {list: {"07": 1, "12": 2}}}', '{weights: {list: {"12": 2, "07": 1}}, held_out: none}'),
        ("{held_out: {share: 0.5}}", "{weights: uniform, held_out: {share: 0.5, validation: 0}}"),
    ],
)
def test_two_spellings_of_the_same_numbers_are_one_layout(one, other):
    assert layout(one) == layout(other)
    assert layout(one).digest == layout(other).digest


@pytest.mark.parametrize(
    "numbers",
    [
        "any",
        "{}",
        "{weights: balanced, held_out: {share: 0.2, validation: 0.1}}",
        "{weights: {long_tail: 0.01}, balanced_test: true}",
        '{weights: {list: {"07": 3, "12": 1}}, held_out: "0*"}',
    ],
)
def test_numbers_survive_their_yaml(numbers):
    spec = layout(numbers)
    assert parse_spec(dump_spec(spec)) == spec
    assert LayoutSpec.model_validate(spec.model_dump(mode="json", exclude_unset=True)) == spec


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ("{weights: blanced}", "numbers.weights = 'blanced': should be uniform, balanced"),
        ("{weights: {lst: 3}}", "unknown key 'numbers.weights.lst'; did you mean 'list'?"),
        ('{weights: {list: {"7": 3}}}', "numbers: '7': should have 2 digits, one for each slot"),
        ('{weights: {list: {"7x": 3}}}', "numbers.weights.list.7x = 3: should be digits such as '007'"),
        ('{weights: {list: {"07": 0}}}', "numbers.weights.list.07 = 0: should be greater than or equal to 1"),
        ("{weights: {list: {07: 3}}}", "a key should be a word; '07' is one in quotes only"),
        ("{weights: {long_tail: 2}}", "numbers.weights.long_tail = 2: should be less than or equal to 1"),
        ("{weights: {csv: a.csv}}", "numbers.weights.csv = 'a.csv': a CSV is read next to the file of a layout"),
        ("{held_out: [12]}", "numbers.held_out[0] = 12: should be text; write numbers in quotes"),
        ('{held_out: "5x"}', "numbers.held_out = '5x': should be none, {share: 0.2}"),
        ("{held_out: {share: 1.2}}", "numbers.held_out.share = 1.2: should be less than 1"),
        ("{held_out: {share: 0.7, validation: 0.5}}", "share + validation = 1.2: should be less than 1"),
        ('{held_out: {test: ["12"], share: 0.2}}', "numbers.held_out.share: not together with the other keys there"),
        ("{held_out: {}}", "the key 'share' is missing in numbers.held_out"),
    ],
)
def test_an_error_names_the_field_the_value_and_the_remedy(numbers, message):
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        layout(numbers)
    assert "\n" not in str(raised.value)
    assert "<spec>:3: " in str(raised.value)


@pytest.mark.parametrize("other", ["distinct: true\n", "length: {choice: [1, 2]}\n"])
def test_numbers_and_another_choice_of_digits_are_refused(other):
    with pytest.raises(InputError, match=r"both choose which digits occur; leave out one of them"):
        layout("{}", other)


# --- files next to the layout ---------------------------------------------------------------------------------------


def in_folder(folder, numbers, content):
    (folder / "layout.yaml").write_text(f"{TWO}numbers: {numbers}\n")
    (folder / "some.csv").write_text(content)
    return load_spec(folder / "layout.yaml")


def test_a_csv_of_weights_becomes_part_of_the_layout(tmp_path):
    spec = in_folder(tmp_path, "{weights: {csv: some.csv}}", "# a comment\nnumber,weight\n07,3\n\n12,1\n")
    assert spec == layout('{weights: {list: {"07": 3, "12": 1}}}')
    assert "csv" not in dump_spec(spec)


def test_a_csv_of_uses_says_which_numbers_are_held_out(tmp_path):
    content = "number,use\n07,train\n12,test\n13,validation\n"
    spec = in_folder(tmp_path, "{held_out: {csv: some.csv}}", content)
    assert spec == layout('{held_out: {test: ["12"], validation: ["13"]}}')


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("other.csv", "", "cannot be read next to the layout: No such file or directory"),
        ("../some.csv", "", "should be the name of a file next to the layout, without a folder"),
        ("some.csv", "", "the first line that is no comment should be number,weight"),
        ("some.csv", "number,weight\n07\n", "line 2: should have 2 columns, has 1"),
        ("some.csv", "number,weight\n07,1\n07,2\n", "line 3: 07 is there twice"),
        ("some.csv", "number,weight\n07,1.5\n", "line 2: weight = '1.5': should be a whole number from 1"),
        (
            "some.csv",
            "number,weight\n07,1\n08,0\n",
            "line 3: weight = '0': should be a whole number from 1 to 1,000,000",
        ),
        ("some.csv", "number,weight\n07,2000000\n", "line 2: weight = '2000000': should be a whole number from 1"),
        ("some.csv", "number,weight\n07,1\n1x,1\n", "line 3: number = '1x': should be digits, as in 007"),
        ("some.csv", "number,weight\n07,1\n" + "1" * 200_000 + ",1\n", "field larger than field limit"),
    ],
)
def test_a_csv_that_cannot_be_used_is_told_with_its_line(tmp_path, name, content, message):
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        in_folder(tmp_path, f"{{weights: {{csv: {name}}}}}", content)
    assert "layout.yaml:3: numbers.weights.csv = " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_use_is_one_of_three(tmp_path):
    with pytest.raises(InputError, match="line 2: use = 'dev': should be train, test or validation"):
        in_folder(tmp_path, "{held_out: {csv: some.csv}}", "number,use\n07,dev\n")
