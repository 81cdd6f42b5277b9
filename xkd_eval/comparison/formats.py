"""Data frames as Markdown and as LaTeX."""

from __future__ import annotations

import pandas as pd

from xkd_eval.escapes import latex_text, markdown_text


def markdown(table: pd.DataFrame) -> str:
    """A pipe table; names from data are escaped."""
    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[markdown_text(_cell(value)) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def latex(table: pd.DataFrame) -> str:
    """A booktabs tabular; names from data are escaped."""

    def line(cells: list[str]) -> str:
        return " & ".join(map(latex_text, cells)) + r" \\"

    rows = [line([_cell(value) for value in row]) for row in table.itertuples(index=False)]
    begin = r"\begin{tabular}{" + "l" * len(table.columns) + "}"
    head = line([str(name) for name in table.columns])
    return "\n".join([begin, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
