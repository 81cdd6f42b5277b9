"""A figure shows itself in a notebook, and pyplot knows nothing of it."""

import io

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image

from xkd_eval.figures.canvas import Canvas
from xkd_eval.figures.shown import ShownFigure


def test_a_figure_shows_itself_as_a_picture():
    drawn = Image.open(io.BytesIO(ShownFigure(figsize=(2, 1))._repr_png_()))
    assert drawn.format == "PNG" and drawn.width == 2 * drawn.height


@pytest.mark.parametrize("figure", [ShownFigure(), Canvas(2, 1).figure])
def test_a_figure_is_matplotlibs_and_none_of_pyplots(figure):
    assert isinstance(figure, Figure) and isinstance(figure, ShownFigure)
    assert pyplot.get_fignums() == []
