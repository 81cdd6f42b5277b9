"""At which size a network is given grids."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xkd_eval import load_classifier
from xkd_eval.engines.sizes import grid_input


class Pooled(nn.Module):
    """A convolution, an average of the map, a head; of the map's first four rows alone where it is cut."""

    def __init__(self, rows: int | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows = rows
        self.conv = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.head = nn.Linear(4, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(images)[:, :, : self.rows].mean((2, 3)))


@pytest.mark.parametrize(("rows", "size"), [(None, (48, 60)), (4, (16, 20))])
def test_the_cam_must_hold_at_the_grids_size_too(rows, size):
    classifier = load_classifier(Pooled(rows), size=(16, 20))
    assert classifier.head is not None
    assert grid_input(classifier, classifier.preprocess, 3).size == size


def test_what_is_found_is_kept_and_the_network_left_as_it_was():
    classifier = load_classifier(Pooled(None), size=(16, 20)).train()
    first = grid_input(classifier, classifier.preprocess, 2)
    classifier.model.head = None  # it would fail, were it asked again
    assert grid_input(classifier, classifier.preprocess, 2) == first
    assert classifier.training
