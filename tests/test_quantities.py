"""Quantities in messages: one thing is never written in the plural, and no digest in full."""

import re
from hashlib import sha256
from importlib.util import find_spec

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from idx_files import digits, mnist_like, write

from mnistcompose import ShardedDigits, build, load_spec
from mnistcompose.arguments import positions
from mnistcompose.cli import cli
from mnistcompose.preview import compose_samples, read_samples
from mnistcompose.quantities import counted, counted_by_name, shown, there_are

NOUNS = {"image": "images", "class": "classes", "entry": "entries"}
AMOUNT = st.integers(0, 10**7)


@given(AMOUNT, st.sampled_from(sorted(NOUNS)))
def test_only_one_is_singular(number, noun):
    word = noun if number == 1 else NOUNS[noun]
    assert counted(number, noun) == f"{number:,} {word}"
    assert there_are(number, noun) == f"there {'is' if number == 1 else 'are'} {number:,} {word}"
    assert counted_by_name({"train": number}, noun) == f"{number:,} train {word}"
    assert counted_by_name({"train": number, "test": 1}, noun) == f"{number:,} train and 1 test {NOUNS[noun]}"


@given(st.binary())
def test_a_digest_is_shortened_and_any_other_value_is_written_in_full(content):
    digest = sha256(content).hexdigest()
    assert shown(digest) == f"{digest[:12]}..."
    for other in (digest[1:], f"{digest}0", digest.upper() + "G", content, len(content), None):
        assert shown(other) == repr(other)


def test_messages_about_one_thing(tmp_path):
    folder = write(tmp_path / "ones", mnist_like(digits(3, 1), digits(3, 1)))
    spec = load_spec("MNIST-II-01")
    build(spec, tmp_path / "x", train=1, test=0, digits=folder)
    with pytest.raises(IndexError, match=r"there is 1 image$"):
        positions(1, 1)
    with pytest.raises(IndexError, match=r"the mask has 1 entry: there are 2 images$"):
        positions([True], 2)
    said = [compose_samples(spec, 4, 0, folder).note, read_samples(tmp_path / "x", 4).note]
    said += [CliRunner().invoke(cli, ["verify", str(tmp_path / "x"), "--digits", str(folder)]).output]
    assert "1 image is fine" in said[-1]
    if find_spec("torch"):
        said += [repr(ShardedDigits(tmp_path / "x", "train"))]
    assert not [text for text in said if re.search(r"\b1 (images|classes|digits)\b", text)]
