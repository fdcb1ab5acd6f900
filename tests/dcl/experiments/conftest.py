from pathlib import Path

import pytest

from dcl.data.numbers import Dataset, open_dataset
from mnistcompose.building.build import build


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small built dataset."""
    root = tmp_path_factory.mktemp("data") / "MNIST-II-01"
    build("MNIST-II-01", root, train=200, test=100)
    return root


@pytest.fixture
def data(folder: Path) -> Dataset:
    return open_dataset(str(folder))
