"""The best, median and worst maps."""

from __future__ import annotations

import numpy as np
import pytest

from tests.figures.legibility import assert_legible, visible_texts
from xkd_eval.errors import XkdError
from xkd_eval.figures.extremes import Extreme, extremes_figure

_MAP = np.linspace(-1, 2, 49).reshape(7, 7)
_LONG = "ILSVRC2012_val_00000001.JPEG IoU 0.812, a class name that goes on and on without an end in sight"


def _mask(height, width):
    mask = np.zeros((height, width), np.int8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 1
    mask[0] = -1
    return mask


def _extreme(height=60, width=80, saliency=_MAP, caption="a.jpg 0.81", mask=None):
    return Extreme(np.full((height, width, 3), 90, np.uint8), saliency, caption, mask)


def test_rows_are_named_and_pictures_keep_their_ratio():
    figure = extremes_figure([_extreme(60, 80), _extreme(80, 60)], [_extreme()], [_extreme()])
    texts = [text.get_text() for text in visible_texts(figure)]
    assert [text for text in texts if text in ("Best", "Median", "Worst")] == ["Best", "Median", "Worst"]
    width, height = figure.get_size_inches()
    ratios = [axes.get_position().height * height / (axes.get_position().width * width) for axes in figure.axes[:2]]
    assert ratios == pytest.approx([60 / 80, 80 / 60])


def test_a_row_without_images_is_left_out():
    texts = [text.get_text() for text in visible_texts(extremes_figure([_extreme()], [], []))]
    assert "Best" in texts
    assert "Worst" not in texts


def test_the_outline_runs_around_the_object_alone():
    figure = extremes_figure([_extreme(320, 400, mask=_mask(320, 400))], [], [])
    corners = np.concatenate([path.vertices for path in figure.axes[0].collections[0].get_paths()])
    np.testing.assert_allclose(corners.min(0), [99.5, 79.5])
    np.testing.assert_allclose(corners.max(0), [199.5, 159.5])
    assert figure.axes[0].get_xlim() == (-0.5, 399.5)
    assert "highest of each map; outline: the object's mask" in [text.get_text() for text in visible_texts(figure)]


@pytest.mark.filterwarnings("error")
def test_an_empty_mask_has_no_outline_and_a_full_one_the_photos_border():
    empty, full = np.zeros((60, 80), np.int8), np.ones((60, 80), np.int8)
    figure = extremes_figure([_extreme(mask=empty), _extreme(mask=full)], [], [])
    figure.canvas.draw()
    assert [len(axes.collections) for axes in figure.axes[:2]] == [0, 2]


@pytest.mark.parametrize(
    "extremes",
    [
        [_extreme()],
        [_extreme(caption=_LONG, mask=_mask(60, 80))] * 8,
        [_extreme(4, 400, caption=_LONG), _extreme(400, 4, np.ones((1, 1)))],
        [_extreme(1, 1, np.full((3, 3), np.nan), mask=_mask(1, 1))],
        [_extreme(caption="")],
    ],
)
@pytest.mark.filterwarnings("error")
def test_no_text_is_clipped_or_runs_into_another(extremes):
    assert_legible(extremes_figure(extremes, extremes[:1], extremes))


def test_no_maps_are_refused():
    with pytest.raises(XkdError, match="no maps"):
        extremes_figure([], [], [])
