"""Differences with their intervals: what is drawn, and that it can be read."""

from __future__ import annotations

import numpy as np
import pytest

from tests.figures.legibility import assert_legible, visible_texts
from xkd_eval.errors import XkdError
from xkd_eval.figures.forest import Difference, forest_panels

KD = Difference("kd", -2.0, -3.0, -1.0, -1)
OPEN = Difference("exp_kd", 0.5, -1.0, 2.0, 0)


def test_a_row_is_its_interval_and_its_point_coloured_where_it_is_claimed():
    axes = forest_panels({"mIoU": [KD, OPEN]}, "note").axes[0]
    zero, first, point, second, hollow = axes.lines
    assert list(zero.get_xdata()) == [0, 0]
    assert list(first.get_xdata()) == [-3, -1] and list(second.get_xdata()) == [-1, 2]
    assert list(point.get_xdata()) == [-2] and point.get_markerfacecolor() == point.get_color()
    assert list(hollow.get_xdata()) == [0.5] and hollow.get_markerfacecolor() == "white"
    better = forest_panels({"mIoU": [Difference("kd", 2.0, 1.0, 3.0, 1)]}, "note").axes[0].lines[-1]
    assert len({point.get_color(), hollow.get_color(), better.get_color()}) == 3
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first model stands on top"


def test_what_is_undefined_is_said():
    undefined = Difference("kd", np.nan, np.nan, np.nan, 0)
    assert "undefined" in [text.get_text() for text in visible_texts(forest_panels({"x": [undefined]}, "note"))]
    alone = forest_panels({"x": [Difference("kd", 0.0, np.nan, np.nan, 0)]}, "note").axes[0]
    assert len(alone.lines) == 2 and alone.get_xlim()[0] < 0 < alone.get_xlim()[1]


@pytest.mark.parametrize("count", [1, 5, 20])
@pytest.mark.parametrize("label", ["_a$", "x" * 200])
def test_it_is_legible(count, label):
    rows = [Difference(label, -2.0, -3.0, -1.0, -1), Difference("kd", 1e-5, 0.0, 2e-5, 0)]
    assert_legible(forest_panels({f"Score {place}": rows for place in range(count)}, "a note " * 20))


@pytest.mark.parametrize(
    ("panels", "message"), [({}, "nothing to draw"), ({"a": [KD], "b": [OPEN]}, "their rows differ")]
)
def test_bad_input_is_named(panels, message):
    with pytest.raises(XkdError, match=message):
        forest_panels(panels, "note")
