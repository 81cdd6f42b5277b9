"""The overlay figure: shapes, alignment and legibility."""

from __future__ import annotations

import numpy as np
import pytest

from tests.figures.legibility import assert_legible, visible_texts
from xkd_eval.errors import XkdError
from xkd_eval.figures.overlay import OverlayPanel, overlay_figure

_SIGNED = np.linspace(-1, 2, 49).reshape(7, 7)
_LONG = "a class whose name, also known as its label, goes on and on without an end in sight, and then some"


def _panel(height=60, width=80, saliency=_SIGNED, title="tabby cat", probability=0.873, model="resnet20", region=None):
    return OverlayPanel(np.full((height, width, 3), 90, np.uint8), saliency, title, probability, model, region)


def _pictures(figure):
    """Frames in inches (left, bottom, width, height) of all axes but the colour bars, in the order of drawing."""
    width, height = figure.get_size_inches()
    frames = [axes.get_position().bounds for axes in figure.axes if axes.images[0].get_array().shape[0] > 1]
    return [(x * width, y * height, w * width, h * height) for x, y, w, h in frames]


def _text(figure):
    return [text.get_text() for text in visible_texts(figure)]


def test_photo_map_and_overlay_stand_side_by_side_at_the_photos_ratio():
    frames = _pictures(overlay_figure([[_panel(60, 80)]]))
    assert len(frames) == 3
    for _, bottom, width, height in frames:
        assert height / width == pytest.approx(60 / 80)
        assert bottom == pytest.approx(frames[0][1])
    assert frames[0][0] + frames[0][2] < frames[1][0]
    assert frames[1][0] + frames[1][2] < frames[2][0]


def test_class_and_probability_stand_in_the_title_and_the_model_above():
    texts = _text(overlay_figure([[_panel()]], row_titles=["a.jpg"]))
    assert {"tabby cat  87.3 %", "resnet20", "a.jpg", "−1.00", "0", "2.00"} <= set(texts)


def test_models_are_columns_and_images_rows_with_aligned_centres():
    rows = [
        [_panel(60, 80, model="a"), _panel(60, 80, model="b")],
        [_panel(80, 60, model="a"), _panel(80, 60, model="b")],
    ]
    frames = _pictures(overlay_figure(rows))
    assert len(frames) == 2 * (1 + 2 * 2)
    centres = np.array([left + width / 2 for left, _, width, _ in frames]).reshape(2, 5)
    np.testing.assert_allclose(centres[0], centres[1])
    assert frames[0][1] > frames[5][1] + frames[5][3], "the second row lies below the first"


_CASES = {
    "landscape": [[_panel(60, 200)]],
    "portrait": [[_panel(200, 60)]],
    "one pixel": [[_panel(1, 1, np.ones((1, 1)))]],
    "panorama": [[_panel(4, 400)]],
    "tower": [[_panel(400, 4)]],
    "tower, constant": [[_panel(400, 4, np.ones((7, 7)))]],
    "constant": [[_panel(saliency=np.full((7, 7), -3.25e-9))]],
    "not finite": [[_panel(saliency=np.full((7, 7), np.nan))]],
    "tiny range": [[_panel(saliency=1e-9 * _SIGNED)]],
    "long names": [[_panel(title=_LONG, model=f"timm/{_LONG}")] * 2],
    "no break": [[_panel(title="x" * 400, model="y" * 400)]],
    "formula": [[_panel(title="$\\frac{$ _a_ 100 $", model="_$x^")]],
    "other scripts": [[_panel(title="кошка γάτα قطة 猫", model="猫")]],
    "no names": [[_panel(title="", probability=float("nan"), model="")]],
    "six models": [[_panel(title=_LONG, model=f"{_LONG} {index}") for index in range(6)]],
    "many rows": [[_panel(60 + 9 * index, 80)] for index in range(8)],
    "mixed": [[_panel(60, 200)] * 3, [_panel(200, 60)] * 3, [_panel(32, 32)] * 3],
    "huge photo": [[_panel(1200, 2000)]],
    "crop": [[_panel(region=(10, 0, 70, 60))]],
}


@pytest.mark.parametrize("name", _CASES)
@pytest.mark.filterwarnings("error")
def test_no_text_is_clipped_or_runs_into_another(name):
    rows = _CASES[name]
    assert_legible(overlay_figure(rows, row_titles=["ILSVRC2012_val_00000001_and_a_long_tail.JPEG"] * len(rows)))


def test_a_formula_is_shown_as_it_is_written():
    assert "$\\frac{$ _a_  50.0 %" in _text(overlay_figure([[_panel(title="$\\frac{$ _a_", probability=0.5)]]))


@pytest.mark.parametrize(("value", "note"), [(0.5, "constant"), (np.inf, "not finite")])
def test_maps_without_a_range_say_so(value, note):
    assert note in _text(overlay_figure([[_panel(saliency=np.full((3, 3), value))]]))


def test_the_users_matplotlibrc_changes_nothing():
    import matplotlib

    with matplotlib.rc_context({"font.size": 40, "text.usetex": False, "axes.edgecolor": "red"}):
        figure = overlay_figure([[_panel()]])
    plain = overlay_figure([[_panel()]])
    figure.canvas.draw()
    plain.canvas.draw()
    np.testing.assert_array_equal(np.asarray(figure.canvas.buffer_rgba()), np.asarray(plain.canvas.buffer_rgba()))


def test_no_figure_is_left_behind_in_pyplot():
    from matplotlib import pyplot

    overlay_figure([[_panel()]])
    assert pyplot.get_fignums() == []


def test_wrong_numbers_of_panels_are_refused():
    with pytest.raises(XkdError, match="rows: no panels"):
        overlay_figure([])
    with pytest.raises(XkdError, match=r"rows: of \[1, 2\] panels"):
        overlay_figure([[_panel()], [_panel(), _panel()]])
    with pytest.raises(XkdError, match=r"rows: .* different sizes"):
        overlay_figure([[_panel(60, 80), _panel(80, 60)]])
    with pytest.raises(XkdError, match="row_titles: got 1 for 2 rows"):
        overlay_figure([[_panel()], [_panel()]], row_titles=["one"])
