"""The contract that the project stands for: everybody who builds a bundled dataset holds the published bytes."""

import pytest

from mnistcompose.building.verify import make_digests, published_digests
from mnistcompose.layout.names import bundled_names, load_spec, spec_names


def test_every_bundled_dataset_has_a_published_digest():
    names = list(published_digests())
    assert names[: len(spec_names())] == spec_names()
    assert set(names) <= set(bundled_names())
    digests = [digest for splits in published_digests().values() for digest in splits.values()]
    assert len(set(digests)) == len(digests) == 30 + 5 * 3 + 2 + 2


@pytest.mark.parametrize("name", published_digests())
def test_a_dataset_has_its_published_digest(name):
    assert make_digests(load_spec(name)) == published_digests()[name]
