"""Photographs of which grids are made."""

import pytest

from xkd_eval.datasets.base import ImageDataset, Sample
from xkd_eval.datasets.embedded import EmbeddedDataset

EASY = "grid_pointing:confidence=0.5"
LISTED = "grid_pointing:confidence=0,order=listed,correct_only=false"


class Listed(ImageDataset):
    """Photographs that nobody looks at."""

    name, label_kind = "listed", "index"

    def __init__(self, labels):
        self.labels, self.ids = list(labels), [f"i{number}" for number in range(len(labels))]

    def load(self, position: int) -> Sample:
        raise AssertionError(position)


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=40)
