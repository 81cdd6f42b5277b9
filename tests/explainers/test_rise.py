"""RISE on a network whose answer is known by hand, and derived again, mask by mask."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import nn

from xkd_eval.errors import XkdError
from xkd_eval.explainers import create_explainer

from .conftest import wrap


class Bright(nn.Module):
    """Two classes: the logit of the first grows with one pixel's red."""

    def __init__(self, row, column):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
        self.row, self.column = row, column

    def forward(self, images):
        value = images[:, 0, self.row, self.column]
        return torch.stack([8 * value - 4, torch.zeros_like(value)], 1) + self.bias


def test_the_pixel_that_counts_is_the_brightest():
    images = torch.ones(1, 3, 24, 24)
    maps = create_explainer("rise:masks=2000,cells=6")(wrap(Bright(5, 17), 24, 2), images, torch.tensor([0]))
    row, column = divmod(int(maps[0].argmax()), 24)
    assert abs(row - 5) <= 2 and abs(column - 17) <= 2
    far = maps[0, 14:, :8]
    assert maps[0, 5, 17] > 1.2 * far.mean() and far.std() < 0.05 * far.mean()


def test_it_is_the_average_of_probabilities_weighted_by_masks():
    """The paper's equation 6, with masks up-sampled by SciPy and cut out one by one."""
    count, cells, share, size = 20, 4, 0.3, (20, 26)
    torch.manual_seed(0)
    images = torch.randn(2, 3, *size)
    classifier = wrap(Bright(3, 4), 24, 2)
    maps = create_explainer(f"rise:masks={count},cells={cells},share={share},seed=5")(
        classifier, images, torch.tensor([0, 1])
    )
    generator = torch.Generator().manual_seed(5)
    grids = (torch.rand(count, 1, cells, cells, generator=generator) < share).double().numpy()[:, 0]
    cell = [-(-side // cells) for side in size]
    tops, lefts = (torch.randint(step, (count,), generator=generator).tolist() for step in cell)
    expected = np.zeros((2, *size))
    for grid, top, left in zip(grids, tops, lefts, strict=True):
        rows, columns = (
            (np.arange(start, start + side) + 0.5) * cells / ((cells + 1) * step) - 0.5
            for start, side, step in zip((top, left), size, cell, strict=True)
        )
        places = np.meshgrid(rows.clip(0, cells - 1), columns.clip(0, cells - 1), indexing="ij")
        mask = map_coordinates(grid, places, order=1)
        with torch.no_grad():
            answers = classifier(images * torch.from_numpy(mask).float()).softmax(1)
        for index, label in enumerate((0, 1)):
            expected[index] += float(answers[index, label]) * mask
    np.testing.assert_allclose(maps.numpy(), expected / (count * share), rtol=1e-5, atol=1e-6)


def test_masks_do_not_depend_on_how_many_images_there_are(images, classifier, classes):
    explainer = create_explainer("rise:masks=40")
    together = explainer(classifier, images, classes)
    alone = explainer(classifier, images[1:2], classes[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [("masks=0", "masks is 0"), ("cells=0", "cells is 0"), ("share=0", "share is 0"), ("share=1.0", "share is 1.0")],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(XkdError, match=f"explainer 'rise': {message}"):
        create_explainer(f"rise:{options}")
