"""Figures as a paper prints them: at the width of a column, in the formats that it takes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xkd_eval.errors import XkdError
from xkd_eval.escapes import file_names
from xkd_eval.foreign import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = {"single": 3.25, "double": 6.875}
"""Widths by name, in inches: of a column of a page with two, and of the page."""

FORMATS = ("pdf", "svg", "png")

PRINT_DPI = 300
"""Dots an inch of a picture that is printed."""

_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
_BOUNDS = (1.0, 20.0)  # inches a side
_NUMBER = r"\d{1,4}(?:\.\d{1,4})?"
_PAPER = re.compile(
    rf"(?P<size>[a-z]+|(?P<width>{_NUMBER})(?:x(?P<height>{_NUMBER}))?(?P<unit>in|cm|mm))(?:\.(?P<formats>[a-z,]+))?"
)
_EXPECTED = (
    "expected single (3.25 in wide), double (6.875 in), or a WIDTH or WIDTHxHEIGHT in in, cm or mm, such as 84mm or "
    "84x60mm"
)


@dataclass(frozen=True)
class PaperSize:
    """What a figure takes of a page.

    Attributes:
        name: as it was written; it stands in names of files.
        width: inches.
        height: inches; None is as high as the figure needs.
    """

    name: str
    width: float
    height: float | None = None


@dataclass(frozen=True)
class Paper:
    """A size, and the formats in which figures of it are written; see `read_paper`."""

    size: PaperSize
    formats: tuple[str, ...]


def paper_size(text: str) -> PaperSize:
    """A size as it is written: "single", "double", "84mm", "3.25x2.5in".

    Raises:
        XkdError: nothing of the kind, or a side under 1 or over 20 inches.
    """
    found = _PAPER.fullmatch(text)
    if found is None or found["formats"] is not None:
        raise XkdError(f"paper: {short(text)} found; {_EXPECTED}")
    return _size(found, text)


def read_paper(text: str) -> Paper:
    """A size with its formats behind a dot: "single.pdf", "double.pdf,svg"; without them it is PDF.

    Raises:
        XkdError: another size or format.
    """
    found = _PAPER.fullmatch(text)
    if found is None:
        raise XkdError(f"paper: {short(text)} found; {_EXPECTED}, and formats behind a dot: single.pdf,svg")
    formats = tuple(dict.fromkeys((found["formats"] or FORMATS[0]).split(",")))
    unknown = next((name for name in formats if name not in FORMATS), None)
    if unknown is not None:
        raise XkdError(f"paper: the format {unknown!r} in {short(text)}; expected {', '.join(FORMATS)}, by commas")
    return Paper(_size(found, text), formats)


def _size(found: re.Match[str], text: str) -> PaperSize:
    name, unit = found["size"], found["unit"]
    if unit is None:
        if name not in COLUMNS:
            raise XkdError(f"paper: the size {name!r} in {short(text)}; {_EXPECTED}")
        return PaperSize(name, COLUMNS[name])
    width = float(found["width"]) * _INCHES[unit]
    height = None if found["height"] is None else float(found["height"]) * _INCHES[unit]
    low, high = _BOUNDS
    if not all(low <= side <= high for side in (width, height or low)):
        raise XkdError(f"paper: {short(text)} found; expected sides of {low:g} to {high:g} inches")
    return PaperSize(name, width, height)


_SIZE: ContextVar[PaperSize | None] = ContextVar("size", default=None)


@contextmanager
def printed(size: PaperSize | None) -> Iterator[None]:
    """Figures that are made within are laid out for that size; None for a screen."""
    token = _SIZE.set(size)
    try:
        yield
    finally:
        _SIZE.reset(token)


def current_size() -> PaperSize | None:
    """What figures are laid out for; None for a screen."""
    return _SIZE.get()


def too_small(side: str, needed: float, what: str) -> XkdError:
    """That a figure does not fit what it was asked to fit.

    Args:
        side: "wide" or "high".
        needed: inches.
        what: of the figure takes the room, as the sentence ends.
    """
    size = current_size()
    return XkdError(
        f"paper: {size.name if size else 'the page'} is not {side} enough for {what}; "
        f"expected at least {math.ceil(25.4 * needed)} mm ({math.ceil(100 * needed) / 100:g} in)"
    )


def made_for(paper: str | None, make: Callable[[], Mapping[str, Figure]]) -> dict[str, Figure]:
    """Name -> figure, made for a size that is written as text.

    Figures of others, which need not know of sizes, are given theirs: text and lines keep their points.

    Args:
        paper: see `paper_size`; None is as on a screen.
        make: draws them.
    """
    if paper is None:
        return dict(make())
    asked = paper_size(paper)
    with printed(asked):
        figures = dict(make())
    for figure in figures.values():
        width, height = figure.get_size_inches()
        if abs(width - asked.width) > 1e-6 or (asked.height is not None and abs(height - asked.height) > 1e-6):
            figure.set_size_inches(asked.width, asked.height or height * asked.width / width)
        figure.set_dpi(PRINT_DPI)
    return figures


def write_printed(make: Callable[[], Mapping[str, Figure]], folder: Path, papers: str | Sequence[str]) -> list[Path]:
    """Write figures as FOLDER/NAME-SIZE.FORMAT.

    Args:
        make: draws them; it is called once a size.
        folder: made where it is missing.
        papers: one or several as `read_paper` reads them.

    Returns:
        The files.

    Raises:
        XkdError: another size or format, a figure that does not fit, or a folder that cannot be written.
    """
    from xkd_eval.figures.style import save_figure

    asked = [read_paper(text) for text in ([papers] if isinstance(papers, str) else papers)]
    written = []
    for paper in asked:
        figures = made_for(paper.size.name, make)
        if not figures:
            raise XkdError("paper: there is no figure to write, since none of the tests draws one; leave it out")
        for name, files in printed_files(list(figures), paper).items():
            written += [save_figure(figures[name], folder / file) for file in files]
    return written


def printed_files(names: Sequence[str], paper: Paper) -> dict[str, list[str]]:
    """The name of each figure -> the files that it is written to."""
    stems = file_names([f"{name}-{paper.size.name}" for name in names])
    return {
        name: [f"{stem}.{suffix}" for suffix in paper.formats] for name, stem in zip(names, stems.values(), strict=True)
    }
