"""A finished training, to be copied and damaged."""

import shutil

import pytest

from distill.training.train import train
from tests.distill.conftest import values_of


@pytest.fixture(scope="session")
def finished(cifar10, tmp_path_factory):
    """The directory of a finished training of one epoch; not to be changed."""
    directory = tmp_path_factory.mktemp("finished")
    train(values_of(cifar10, epochs=1), directory, device="cpu")
    return directory


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of `finished`, without some of its files."""

    def copy(*left_out):
        return shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns(*left_out))

    return copy
