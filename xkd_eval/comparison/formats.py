"""Tables to be read as Markdown, LaTeX and HTML; data frames as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from xkd_eval.escapes import latex_text, markdown_text, visible

if TYPE_CHECKING:
    from xkd_eval.comparison.cells import Cell, Table


def markdown(table: pd.DataFrame) -> str:
    """A pipe table; names from data are escaped."""
    rows = [[markdown_text(_cell(value)) for value in row] for row in table.itertuples(index=False)]
    return pipes([str(name) for name in table.columns], ["---"] * len(table.columns), rows)


def markdown_to_read(table: Table, note: str = "") -> str:
    """A pipe table of values with their intervals, those that are marked in bold.

    Args:
        table: of `xkd_eval.comparison.cells`.
        note: a line below it.
    """
    names, aligned = _columns(table, "---", "---:")
    rows = [
        [*map(markdown_text, line.head), *(_filled(cell, markdown_text, "**{}**") for cell in line.cells)]
        for line in table.lines
    ]
    return pipes([markdown_text(name) for name in names], aligned, rows) + (
        f"\n{markdown_text(note)}\n" if note else ""
    )


def latex_to_read(table: Table, note: str = "") -> str:
    """A booktabs tabular of values with their intervals, those that are marked in bold.

    Args:
        table: of `xkd_eval.comparison.cells`.
        note: a comment above it. The signs need the package amssymb.
    """
    names, aligned = _columns(table, "l", "r")
    rows = [
        [*map(latex_signed, line.head), *(_filled(cell, latex_signed, r"\textbf{{{}}}") for cell in line.cells)]
        for line in table.lines
    ]
    return (f"% {note}\n" if note else "") + booktabs([latex_signed(name) for name in names], "".join(aligned), rows)


def html_to_read(table: Table) -> str:
    """An HTML table of values with their intervals, those that are marked in bold."""
    heads = "".join(f"<th>{_html(head)}</th>" for head in table.heads)
    lines = []
    for line in table.lines:
        names = (f"<th>{_html(text)}</th>" for text in line.head)
        figures = (f"<td>{_filled(cell, _html, '<b>{}</b>')}</td>" for cell in line.cells)
        lines.append(f"<tr>{''.join([*names, *figures])}</tr>")
    return f"<table><tr>{heads}</tr>{''.join(lines)}</table>"


def _html(text: str) -> str:
    return escape(visible(text))


# Signs of our own, which LaTeX's usual fonts have as mathematics alone.
_SIGNS = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$"}
_SIGNS |= {"○": r"$\circ$", "⚑": r"$\dagger$"}


def latex_signed(text: str) -> str:
    """As `latex_text`, our own signs as LaTeX has them."""
    text = latex_text(text)
    for sign, command in _SIGNS.items():
        text = text.replace(sign, command)
    return text


def _columns(table: Table, name: str, figure: str) -> tuple[list[str], list[str]]:
    """The heads, and how each column is aligned."""
    n_names = len(table.lines[0].head) if table.lines else 1
    return list(table.heads), [name if place < n_names else figure for place in range(len(table.heads))]


def _filled(cell: Cell, escaped: Callable[[str], str], bold: str) -> str:
    parts = [cell.value, cell.symbol, f"({cell.interval})" if cell.interval else "", "⚑" if cell.beaten_by else ""]
    first, *others = (escaped(part) for part in parts if part) if any(parts) else ("",)
    return " ".join([bold.format(first) if cell.marked else first, *others])


def pipes(heads: Sequence[str], aligned: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table of cells that are Markdown already."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, aligned, *rows]) + "\n"


def booktabs(heads: Sequence[str], aligned: str, rows: Sequence[Sequence[str]]) -> str:
    """A tabular of cells that are LaTeX already; `aligned` has a letter a column."""
    head, *body = (" & ".join(cells) + r" \\" for cells in [heads, *rows])
    begin = r"\begin{tabular}{" + aligned + "}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
