"""What all figures share: colours, type sizes, and files that are the same bytes for the same figure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from xkd_eval.errors import XkdError
from xkd_eval.files import replacing, writing

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which vanishes on white paper.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# As many as colours and markers, so that curves are told apart in grey print; from dense to sparse.
LINE_STYLES: tuple[str | tuple[float, tuple[float, ...]], ...] = (
    "-",
    (0, (4, 1.5)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (1.5, 1)),
    (0, (7, 1.5, 1, 1.5, 1, 1.5)),
    (0, (8, 2)),
    (0, (1, 1)),
)

INK = "#1a1a1a"
MUTED = "#5f5f5f"
HAIRLINE = "#9a9a9a"
GRID = "#e4e4e4"
HAIRLINE_WIDTH = 0.75  # points: thinner ones are lost in print

BODY = 8.5
SMALL = 7.0

_DPI = 200
# Agg refuses 2^16 pixels a side; a figure of many rows gets fewer dots an inch before that.
_MAX_SIDE = 20_000
# Drawn from in this order, character by character; those that are not installed are left out.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Arial Unicode MS",
)
METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}


def font_families() -> list[str]:
    """The installed ones among the fonts that figures draw from; DejaVu Sans comes with matplotlib."""
    installed = set(fontManager.get_font_names())
    return [name for name in _FONTS if name in installed]


@contextmanager
def house_style() -> Iterator[None]:
    """The style under which figures are built and saved, whatever the user's matplotlibrc says; also a decorator."""
    settings = {
        "font.family": font_families(),
        "font.size": BODY,
        "axes.titlesize": BODY,
        "axes.labelsize": BODY,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": HAIRLINE,
        "axes.linewidth": HAIRLINE_WIDTH,
        "grid.linewidth": HAIRLINE_WIDTH,
        "xtick.major.width": HAIRLINE_WIDTH,
        "ytick.major.width": HAIRLINE_WIDTH,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "lines.linewidth": 1.4,
        "lines.markersize": 4.0,
        "pdf.fonttype": 42,
        "svg.hashsalt": "xkd",
    }
    with matplotlib.style.context(["default", settings]):
        yield


def check_figure_path(output: Path | str) -> Path:
    """The path, if its suffix names a format that figures are written in.

    Raises:
        XkdError: the suffix is not .png, .pdf or .svg.
    """
    path = Path(output)
    if path.suffix.lower() not in METADATA:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no suffix"
        raise XkdError(f"output: {str(path)!r} {found}; expected a file that ends in .png, .pdf or .svg")
    return path


@house_style()
def svg_of(figure: Figure) -> str:
    """A figure as the text of an SVG file, without a date."""
    drawn = BytesIO()
    figure.savefig(drawn, format="svg", metadata=METADATA[".svg"])
    return drawn.getvalue().decode()


@house_style()
def save_figure(figure: Figure, output: Path | str) -> Path:
    """Write a figure as PNG, PDF or SVG by the path's suffix: whole or not at all, and without a date.

    Args:
        figure: any matplotlib figure.
        output: the file; missing folders are made; an existing file is replaced.

    Returns:
        The path.

    Raises:
        XkdError: another suffix, or a place that cannot be written.
    """
    path = check_figure_path(output)
    suffix = path.suffix.lower()
    dpi = min(max(_DPI, figure.get_dpi()), _MAX_SIDE / max(figure.get_size_inches()))
    drawn = BytesIO()
    figure.savefig(drawn, format=suffix.removeprefix("."), dpi=dpi, metadata=METADATA[suffix])
    with writing(f"output: {str(path)!r}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(drawn.getbuffer())
    return path
