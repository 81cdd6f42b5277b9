"""Figures for papers: their size, type, lines, fonts and colours, as a publisher checks them."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from tests.figures.legibility import assert_legible, visible_texts
from xkd_eval.errors import XkdError
from xkd_eval.figures.curves import Curve, perturbation_curves, precision_recall_curve, removal_curves
from xkd_eval.figures.distributions import Distribution, distribution_panels
from xkd_eval.figures.forest import Difference, forest_panels
from xkd_eval.figures.overlay import OverlayPanel, overlay_figure
from xkd_eval.figures.paper import made_for, paper_size, read_paper, write_printed

_X = np.arange(10) / 10
_NAMES = ("teacher", "plain", "kd", "a rather long name of a student")
_TITLES = ("Accuracy ↑", "Area between the curves ↑ *", "mIoU ↑", "KL from the reference, nats ↓", "Pointing game ↑")


def _curves() -> list[Curve]:
    return [Curve(name, _X, 0.9 - _X / 2, 0.8 - _X / 2, 1 - _X / 2, 0.4) for name in _NAMES]


def _overlays(models: int, shape: tuple[int, int] = (60, 80), rows: int = 3) -> Figure:
    photo = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    saliency = np.linspace(-17.8, 30.6, 16).reshape(4, 4)
    names = [f"runs/{name}" for name in _NAMES]
    panels = [OverlayPanel(photo, saliency, "tabby cat", 0.981, name) for name in names[:models]]
    return overlay_figure([panels] * rows, row_titles=["photo.jpg"] * rows)


_FIGURES = {
    "perturbation": lambda: perturbation_curves({"positive": _curves(), "negative": _curves()}, num_classes=10),
    "removal": lambda: removal_curves({title: _curves() for title in ("Deletion", "Insertion")}),
    "precision": lambda: precision_recall_curve(_curves(), prevalence=0.3),
    "forest": lambda: forest_panels(
        {
            title: [Difference(name, -2, -4, -1, place - 1) for place, name in enumerate(_NAMES[1:])]
            for title in _TITLES
        },
        "Less teacher; intervals hold together at 95 %. Arrow up: claimed better; arrow down: claimed worse",
    ),
    "distributions": lambda: distribution_panels(
        {title: [Distribution(name, _X, place) for place, name in enumerate(_NAMES)] for title in _TITLES[:4]}
    ),
    "overlay": lambda: _overlays(2),
    "overlays": lambda: _overlays(4),
    "foreign": lambda: Figure(figsize=(10, 5)),
}
_SIZES = {"single": 3.25, "double": 6.875, "89mm": 89 / 25.4}


def _printed(name: str, size: str) -> Figure:
    return made_for(size, lambda: {name: _FIGURES[name]()})[name]


@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize("name", _FIGURES)
@pytest.mark.filterwarnings("error")
def test_a_figure_is_as_wide_as_its_column_and_legible_there(name, size):
    figure = _printed(name, size)
    assert figure.get_figwidth() == pytest.approx(_SIZES[size])
    assert figure.get_figheight() < 9  # of a page
    assert_legible(figure)
    assert all(6.5 <= text.get_size() <= 9 for text in visible_texts(figure))
    lines = [line for line in figure.findobj(Line2D) if line.get_linestyle() != "None"]
    assert min((line.get_linewidth() for line in lines), default=1) >= 0.75
    drawn = [width for drawn in figure.findobj(Collection) for width in np.atleast_1d(drawn.get_linewidth()) if width]
    assert min(drawn, default=1) >= 0.75


@pytest.mark.parametrize("name", ["perturbation", "precision", "forest", "distributions", "overlays"])
def test_a_figure_has_the_height_that_is_asked_for(name):
    figure = _printed(name, "6.875x5.5in")
    assert tuple(figure.get_size_inches()) == pytest.approx((6.875, 5.5))
    assert_legible(figure)


@pytest.mark.parametrize("name", ["perturbation", "forest", "distributions", "overlays"])
def test_a_paper_that_is_too_small_is_refused_with_what_is_needed(name):
    with pytest.raises(XkdError, match=r"^paper: 6.875x1in is not high enough .*expected at least \d+ mm \(.* in\)"):
        _printed(name, "6.875x1in")
    with pytest.raises(XkdError, match=r"^paper: 26mm is not wide enough .*expected at least \d+ mm"):
        _printed(name, "26mm")


def test_what_is_needed_is_enough():
    with pytest.raises(XkdError) as refused:
        _printed("overlays", "84x26mm")
    needed = re.search(r"at least (\d+) mm", str(refused.value))[1]
    assert _printed("overlays", f"84x{needed}mm").get_figheight() == pytest.approx(int(needed) / 25.4)


def test_a_column_has_overlays_alone_where_maps_would_be_too_small():
    def pictures(models: int, size: str) -> int:
        figure = made_for(size, lambda: {"": _overlays(models, rows=1)})[""]
        return sum(axes.images[0].get_array().shape[0] > 1 for axes in figure.axes)

    assert pictures(1, "single") == 3 and pictures(2, "single") == 3 and pictures(2, "double") == 5
    assert pictures(4, "double") == 5


def test_models_of_one_name_in_two_folders_are_told_apart():
    panels = [OverlayPanel(np.zeros((8, 8, 3), np.uint8), np.eye(2), "", model=f"{name}/net") for name in "ab"]
    figure = made_for("double", lambda: {"": overlay_figure([panels])})[""]
    assert {"a/net", "b/net"} <= {text.get_text() for text in visible_texts(figure)}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("papers")

    def draw() -> dict[str, Figure]:
        return {"curves": _FIGURES["perturbation"]()}

    written = write_printed(draw, folder, ["single.pdf,svg,png", "84x120mm.png"])
    again = write_printed(draw, folder / "again", "single.pdf,svg,png")
    assert [path.name for path in written] == [
        *("curves-single.pdf", "curves-single.svg", "curves-single.png", "curves-84x120mm.png")
    ]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written[:3]]
    return {path.name: path.read_bytes() for path in written}


def _check_fonts(pdf: bytes) -> None:
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    whole = pdf + b"".join(zlib.decompressobj().decompress(stream) for stream in streams if stream[:1] == b"\x78")
    assert b"/FontFile2" in whole and b"/CIDFontType2" in whole
    assert b"/Type3" not in whole


def test_a_pdf_embeds_its_fonts_has_no_date_and_the_size_of_the_column(files):
    pdf = files["curves-single.pdf"]
    _check_fonts(pdf)
    assert b"CreationDate" not in pdf
    width, height = map(float, re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf).groups())
    assert width == pytest.approx(3.25 * 72, rel=0.01) and height > width


def test_what_a_user_saves_embeds_its_fonts_too(tmp_path):
    figure = _printed("precision", "single")
    figure.savefig(tmp_path / "mine.pdf")
    figure.savefig(tmp_path / "mine.png")
    _check_fonts((tmp_path / "mine.pdf").read_bytes())
    assert b"CreationDate" not in (tmp_path / "mine.pdf").read_bytes()
    assert Image.open(tmp_path / "mine.png").width == 975


def test_an_svg_has_the_size_of_the_column_and_text_as_outlines(files):
    svg = files["curves-single.svg"].decode()
    assert float(re.search(r'<svg[^>]* width="([\d.]+)pt"', svg)[1]) == pytest.approx(3.25 * 72, rel=0.01)
    assert "<text" not in svg


def test_a_png_has_300_dots_an_inch(files, tmp_path):
    for name, width, height in (("single", 3.25, None), ("84x120mm", 84 / 25.4, 120 / 25.4)):
        (tmp_path / "a.png").write_bytes(files[f"curves-{name}.png"])
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.width == pytest.approx(300 * width, abs=1)
            assert height is None or picture.height == pytest.approx(300 * height, abs=1)
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("single.eps", "the format 'eps' in 'single.eps'; expected pdf, svg, png"),
        ("single.pdf,", "the format '' in"),
        ("column", "the size 'column' in 'column'; expected single .*double .*WIDTHxHEIGHT in in, cm or mm"),
        ("84x60", "'84x60' found; expected single .*formats behind a dot: single.pdf,svg"),
        ("", "'' found; expected single"),
        ("5mm.pdf", "'5mm.pdf' found; expected sides of 1 to 20 inches"),
        ("900x60mm", "'900x60mm' found; expected sides of 1 to 20 inches"),
    ],
)
def test_another_size_or_format_is_refused_with_those_that_are_allowed(text, message):
    with pytest.raises(XkdError, match=f"^paper: {message}"):
        read_paper(text)


def test_sizes_and_formats_are_read():
    assert read_paper("double").formats == ("pdf",)
    assert read_paper("3.25x2.5in.pdf,svg,pdf").formats == ("pdf", "svg")
    size = read_paper("84.5x60mm.png").size
    assert size.name == "84.5x60mm"
    assert (size.width, size.height) == pytest.approx((84.5 / 25.4, 60 / 25.4))
    assert paper_size("8.5cm").width == pytest.approx(8.5 / 2.54)
    with pytest.raises(XkdError, match=r"^paper: 'single.pdf' found; expected single"):
        paper_size("single.pdf")


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(XkdError, match="paper: there is no figure to write"):
        write_printed(dict, tmp_path, "single")
