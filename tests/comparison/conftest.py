"""The photographs of all comparisons."""

import pytest

from xkd_eval.datasets.embedded import EmbeddedDataset


@pytest.fixture(scope="package")
def images() -> EmbeddedDataset:
    return EmbeddedDataset("test", size=40)
