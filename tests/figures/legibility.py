"""What a reader would see at once: text that leaves the page, or that runs into other text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text


def visible_texts(figure: Figure) -> list[Text]:
    """Every drawn, non-empty text, after a draw."""
    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    undrawn = set(_labels_out_of_view(figure))
    return [text for text in texts if text not in undrawn]


def _labels_out_of_view(figure: Figure) -> Iterator[Text]:
    """Of ticks beyond the ends of an axis, which matplotlib keeps and does not draw."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    yield from (tick.label1, tick.label2)


def assert_legible(figure: Figure) -> None:
    """All text lies on the page, and no two texts overlap."""
    texts = visible_texts(figure)
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    page = figure.bbox
    for content, box in boxes:
        on_page = box.x0 >= page.x0 and box.y0 >= page.y0 and box.x1 <= page.x1 and box.y1 <= page.y1
        assert on_page, f"{content!r} leaves the page: {box} not in {page}"
    for (one, first), (other, second) in combinations(boxes, 2):
        width = min(first.x1, second.x1) - max(first.x0, second.x0)
        height = min(first.y1, second.y1) - max(first.y0, second.y0)
        # A line's box includes the room for accents, so neighbouring lines may touch by a pixel.
        assert width <= 0.5 or height <= 1.5, f"{one!r} runs into {other!r}"
