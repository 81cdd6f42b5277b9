"""Boxes of agreement: what is drawn, and that it can be read."""

from __future__ import annotations

import numpy as np
import pytest

from tests.figures.legibility import assert_legible, visible_texts
from xkd_eval.errors import XkdError
from xkd_eval.figures.distributions import Distribution, distribution_panels

_VALUES = np.arange(101) / 100


def test_boxes_are_quartiles_and_whiskers_percentiles():
    axes = distribution_panels({"Rank correlation": [Distribution("kd", _VALUES, 1)]}).axes[0]
    box = axes.patches[0].get_path().vertices[:, 0]
    assert (box.min(), box.max()) == pytest.approx((0.25, 0.75))
    reach = np.concatenate([line.get_xdata() for line in axes.lines])
    assert (reach.min(), reach.max()) == pytest.approx((0.05, 0.95))


def test_the_first_model_stands_on_top():
    axes = distribution_panels({"x": [Distribution("a", _VALUES, 1), Distribution("random", _VALUES)]}).axes[0]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("label", ["_a$", "x" * 200])
def test_it_is_legible(count, label):
    rows = [Distribution(f"{place} {label}", _VALUES, place) for place in range(count)]
    figure = distribution_panels(dict.fromkeys(("Rank correlation", "Overlap of the top 20 %"), rows))
    assert_legible(figure)
    assert "Rank correlation" in [text.get_text() for text in visible_texts(figure)]


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "nothing to draw"),
        ({"a": [Distribution("x", _VALUES)], "b": [Distribution("y", _VALUES)]}, "their rows differ"),
    ],
)
def test_bad_input_is_named(panels, message):
    with pytest.raises(XkdError, match=message):
        distribution_panels(panels)
