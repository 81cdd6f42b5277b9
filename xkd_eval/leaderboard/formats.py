"""Blocks of a leaderboard as CSV, Markdown, LaTeX (booktabs) and one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from xkd_eval.comparison.formats import booktabs, latex_signed, pipes
from xkd_eval.escapes import csv_bytes, markdown_text, visible
from xkd_eval.leaderboard.blocks import Block, Entry

if TYPE_CHECKING:
    import pandas as pd

    from xkd_eval.evaluations.scores import ScoreSpec

CAPTION = (
    "Bold marks the best value of a column among models on their own maps, and claims no difference: that is what "
    "`xkd-eval compare` and `xkd-eval check` ask."
)
"""What a reader must know below every table."""


@dataclass(frozen=True)
class Figure:
    """A score of one run as it is shown.

    Attributes:
        value, interval: as texts; "" where there is none.
        is_best: whether no other run of the block has a better one.
        number: by which rows are sorted; None where it is undefined.
    """

    value: str
    interval: str
    is_best: bool
    number: float | None


def heads(block: Block) -> list[str]:
    """The scores' headings with their arrows, and their unit."""
    return [f"{spec.head} (%)" if spec.unit == "%" else spec.head for spec in block.specs]


def apart(block: Block) -> str:
    """Why a block is one of its own; "" of the first of its test."""
    return f"Not to be compared with the first table of this test; {block.reason}." if block.reason else ""


def figures(block: Block, entry: Entry, *, intervals: bool) -> list[Figure]:
    """The cells of one row."""
    return [_figure(block, entry, spec, intervals) for spec in block.specs]


def csv(scores: pd.DataFrame) -> bytes:
    """A row a score."""
    return csv_bytes(scores)


def markdown(blocks: Sequence[Block], left_out: Sequence[str], *, intervals: bool) -> bytes:
    """A heading and a pipe table a block."""
    parts = []
    for block in blocks:
        parts.append(f"### {markdown_text(block.title)}\n")
        if block.reason:
            parts.append(f"{markdown_text(apart(block))}\n")
        rows = _rows(block, markdown_text, "**{}**", intervals)
        aligned = ["---", "---", *["---:"] * len(block.specs)]
        parts.append(pipes([markdown_text(head) for head in ("model", "maps", *heads(block))], aligned, rows))
    parts += [f"{CAPTION}\n", *(f"{markdown_text(sentence)}\n" for sentence in left_out)]
    return "\n".join(parts).encode()


def latex(blocks: Sequence[Block], *, intervals: bool) -> bytes:
    """A table of booktabs a block."""
    return "\n".join(_latex_table(block, intervals) for block in blocks).encode()


def html(blocks: Sequence[Block], left_out: Sequence[str], *, intervals: bool) -> bytes:
    """A page by itself: a click on a head sorts by it."""
    from markupsafe import Markup

    from xkd_eval.report.page import filled

    body = fragment(blocks, left_out, intervals=intervals)
    said = "Runs side by side"
    return filled("table.html", "xkd_eval.leaderboard", title=said, verdict=said, about_data="", body=Markup(body))


def fragment(blocks: Sequence[Block], left_out: Sequence[str], *, intervals: bool) -> str:
    """The blocks as HTML, without a page around them."""
    parts = [f'<p class="note">{_html(CAPTION)}</p>', *(_html_block(block, intervals) for block in blocks)]
    parts += [f'<p class="note">{_html(sentence)}</p>' for sentence in left_out]
    return "\n".join(parts)


def _figure(block: Block, entry: Entry, spec: ScoreSpec, intervals: bool) -> Figure:
    if spec.of(entry.result.summary) is None:
        return Figure("", "", False, None)
    value, low, high = entry.value(spec)
    if value is None:
        return Figure("undefined", "", False, None)
    span = f"{spec.text(low)} to {spec.text(high)}" if intervals and low is not None and high is not None else ""
    is_best = not entry.is_beside and value == block.best(spec)
    return Figure(spec.text(value), span, is_best, value)


def _rows(block: Block, escaped: Callable[[str], str], bold: str, intervals: bool) -> list[list[str]]:
    rows = []
    for entry in block.entries:
        cells = [escaped(entry.model), escaped(entry.maps)]
        for figure in figures(block, entry, intervals=intervals):
            value = bold.format(escaped(figure.value)) if figure.is_best else escaped(figure.value)
            cells.append(f"{value} ({escaped(figure.interval)})" if figure.interval else value)
        rows.append(cells)
    return rows


def _latex_table(block: Block, intervals: bool) -> str:
    caption = " ".join(filter(None, [f"{block.title}.", apart(block), CAPTION]))
    head = [latex_signed(text) for text in ("model", "maps", *heads(block))]
    rows = _rows(block, latex_signed, r"\textbf{{{}}}", intervals)
    tabular = booktabs(head, f"ll{'r' * len(block.specs)}", rows)
    return f"\\begin{{table}}\n\\caption{{{latex_signed(caption.replace('`', ''))}}}\n{tabular}\\end{{table}}\n"


def _html_block(block: Block, intervals: bool) -> str:
    names = "".join(_head(name, 'class="name"') for name in ("model", "maps"))
    scores = "".join(
        _head(head, f'data-better="{spec.sign}"') for head, spec in zip(heads(block), block.specs, strict=True)
    )
    rows = "\n".join(_html_row(block, entry, intervals) for entry in block.entries)
    reason = f"<p>{_html(apart(block))}</p>\n" if block.reason else ""
    return (
        f"<section>\n<h2>{_html(block.test.title)}</h2>\n{reason}"
        f'<div class="scroll" tabindex="0">\n<table class="sortable">\n<caption>{_html(block.title)}</caption>\n'
        f"<thead><tr>{names}{scores}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n</section>"
    )


def _head(text: str, attributes: str) -> str:
    return f'<th scope="col" {attributes}><button type="button">{_html(text)}</button></th>'


def _html_row(block: Block, entry: Entry, intervals: bool) -> str:
    cells = [f'<th scope="row">{_html(entry.model)}</th>', f'<td class="name">{_html(entry.maps)}</td>']
    for figure in figures(block, entry, intervals=intervals):
        value = f"<strong>{figure.value}</strong>" if figure.is_best else figure.value
        span = f"<small>{figure.interval}</small>" if figure.interval else ""
        number = "" if figure.number is None else repr(figure.number)
        cells.append(f'<td data-value="{number}">{value}{span}</td>')
    kind = ' class="floor"' if entry.is_beside else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _html(text: str) -> str:
    return escape(visible(text))
