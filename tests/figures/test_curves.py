"""Perturbation and precision-recall curves: what is drawn, and that it can be read."""

from __future__ import annotations

import numpy as np
import pytest

from tests.figures.legibility import assert_legible, visible_texts
from xkd_eval.errors import XkdError
from xkd_eval.figures.curves import Curve, perturbation_curves, precision_recall_curve

_X = np.arange(10) / 10


def _curve(label="resnet20", clean=0.9, band=0.05):
    y = clean * (1 - _X)
    return Curve(label, _X, y, y - band, y + band, score=0.4284)


def test_a_panel_a_direction_with_the_curve_in_percent_from_the_clean_accuracy():
    figure = perturbation_curves({"negative": [_curve(clean=0.5)], "positive": [_curve()]})
    positive, negative = figure.axes
    np.testing.assert_allclose(positive.lines[0].get_xdata(), np.arange(0, 100, 10))
    np.testing.assert_allclose(positive.lines[0].get_ydata(), 90 * (1 - _X))
    assert negative.lines[0].get_ydata()[0] == pytest.approx(50)
    assert positive.get_ylim() == negative.get_ylim()
    texts = [text.get_text() for text in visible_texts(figure)]
    assert texts.count("AUC 42.8") == 2
    assert "Positive: most relevant first (lower is better)" in texts


def test_the_band_spans_low_to_high():
    axes = perturbation_curves({"positive": [_curve(band=0.05)]}).axes[0]
    corners = axes.collections[0].get_paths()[0].vertices
    assert corners[np.isclose(corners[:, 0], 0), 1].min() == pytest.approx(85)
    assert corners[np.isclose(corners[:, 0], 0), 1].max() == pytest.approx(95)


def test_chance_is_drawn_where_the_classes_are_counted():
    figure = perturbation_curves({"positive": [_curve()]}, num_classes=20)
    assert figure.axes[0].lines[1].get_ydata() == [5, 5]
    assert "chance, 1 of 20" in [text.get_text() for text in visible_texts(figure)]
    assert len(perturbation_curves({"positive": [_curve()]}).axes[0].lines) == 1


def test_precision_stands_over_recall_with_the_random_maps_level():
    recall = np.array([0.0, 0.5, 1.0])
    precision = np.array([1.0, 0.75, 0.25])
    figure = precision_recall_curve([Curve("cam", recall, precision, score=0.6875)], prevalence=0.25)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0, 100], [50, 75], [100, 25]])
    assert axes.lines[1].get_ydata() == [25, 25]
    assert {"AP 68.8", "AP 25.0"} <= {text.get_text() for text in visible_texts(figure)}


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize(
    "label", ["_a$", "x" * 200, "猫 a rather long name of a model, timm/efficientnet_lite0.ra_in1k"]
)
@pytest.mark.filterwarnings("error")
def test_no_text_is_clipped_or_runs_into_another(label, count):
    curves = [_curve(f"{index} {label}") for index in range(count)]
    assert_legible(perturbation_curves({"positive": curves, "negative": curves}, num_classes=1000))
    assert_legible(perturbation_curves({"negative": curves}))
    assert_legible(precision_recall_curve(curves, prevalence=0.3))


def test_more_curves_than_colours_still_differ():
    curves = [_curve() for _ in range(20)]
    lines = perturbation_curves({"positive": curves}).axes[0].lines
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines}) == 20


@pytest.mark.filterwarnings("error")
def test_zero_accuracy_and_missing_intervals_are_drawn():
    zero, gap = np.zeros(10), np.full(10, np.nan)
    assert_legible(
        perturbation_curves({"positive": [Curve("dead", _X, zero, zero, zero), Curve("gap", _X, zero, gap, gap)]})
    )


def test_bad_curves_are_refused():
    with pytest.raises(XkdError, match="expected 'positive', 'negative' or both"):
        perturbation_curves({"sideways": [_curve()]})
    with pytest.raises(XkdError, match="none; expected 'positive'"):
        perturbation_curves({})
    with pytest.raises(XkdError, match="curves: none"):
        precision_recall_curve([])
    with pytest.raises(XkdError, match="curves: 'a' has x, y, low and high of"):
        precision_recall_curve([Curve("a", [0, 1], [0, 1, 2])])
