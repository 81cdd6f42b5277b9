"""How results show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from xkd_eval.escapes import visible


def table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A small HTML table of names and values under a title; whatever they hold is escaped."""
    lines = "".join(
        f'<tr><td style="text-align: left">{_cell(name)}</td><td style="text-align: left">{_cell(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table><caption style="text-align: left">{_cell(title)}</caption>{lines}</table>'


def _cell(text: str) -> str:
    return escape(visible(text))
