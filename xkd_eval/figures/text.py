"""Text that fits: class and model names of any length and script, wrapped and shortened to a width in inches."""

from __future__ import annotations

import re
from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

from xkd_eval.escapes import visible
from xkd_eval.figures.style import font_families

LINE_HEIGHT = 1.28

_POINTS_PER_INCH = 72.0
_MISSING = "\N{REPLACEMENT CHARACTER}"
# A path or a model name may break behind these, as a sentence does at its spaces.
_ATOMS = re.compile(r"\s?[^\s/_\-,]+[/_\-,]*|\s?[/_\-,]+")


def line_height(size: float) -> float:
    """Inches from baseline to baseline at a type size in points."""
    return LINE_HEIGHT * size / _POINTS_PER_INCH


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Inches that one line of text takes at a type size in points."""
    return _width_of_point(text, weight) * size


def printable(text: str) -> str:
    """The text on one line, `visible`, since an SVG says it in its comments too.

    Characters that no installed font has become U+FFFD, and nothing warns about them.
    """
    one_line = visible(" ".join(text.split()))
    return "".join(char if char in "\u200c\u200d" or _has_glyph(char) else _MISSING for char in one_line)


def fit_text(
    text: str, width: float, lines: int, size: float, *, weight: str = "normal", suffix: str = ""
) -> list[str]:
    """Wrap a text into at most `lines` lines of `width` inches; what does not fit ends in an ellipsis.

    Args:
        text: any; white space is collapsed.
        width: inches.
        lines: at least 1.
        size: points.
        weight: "normal" or "bold".
        suffix: follows the text and is never shortened (a probability).

    Returns:
        1 to `lines` lines; none where text and suffix are empty.
    """

    def fits(line: str) -> bool:
        return text_width(line, size, weight) <= width

    wrapped = _wrap(printable(text[: 400 * lines]), width, size, weight)
    if not wrapped:
        return [suffix.strip()] if suffix.strip() else []
    if len(wrapped) <= lines and fits(wrapped[-1] + suffix):
        return [*wrapped[:-1], wrapped[-1] + suffix]
    if len(wrapped) < lines:
        return [*wrapped, suffix.strip()]
    last = wrapped[lines - 1]
    while last and not fits(last.rstrip() + "…" + suffix):
        last = last[:-1]
    return [*wrapped[: lines - 1], last.rstrip() + "…" + suffix]


def _wrap(text: str, width: float, size: float, weight: str) -> list[str]:
    lines: list[str] = []
    current = ""
    for atom in _ATOMS.findall(text):
        if text_width(current + atom, size, weight) <= width:
            current += atom
            continue
        if current:
            lines.append(current.strip())
        current = atom.lstrip()
        while text_width(current, size, weight) > width and len(current) > 1:
            cut = _longest_prefix(current, width, size, weight)
            lines.append(current[:cut])
            current = current[cut:]
    return [*lines, current.strip()] if current.strip() else lines


def _longest_prefix(word: str, width: float, size: float, weight: str) -> int:
    length = 1
    while length < len(word) and text_width(word[: length + 1], size, weight) <= width:
        length += 1
    return length


@lru_cache(maxsize=4096)
def _width_of_point(text: str, weight: str) -> float:
    properties = FontProperties(family=font_families(), weight=weight, size=100)
    return text_to_path.get_text_width_height_descent(text, properties, False)[0] / 100 / _POINTS_PER_INCH


@lru_cache(maxsize=4096)
def _has_glyph(char: str) -> bool:
    return any(
        get_font(findfont(FontProperties(family=[family]))).get_char_index(ord(char)) for family in font_families()
    )
