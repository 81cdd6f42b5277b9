"""What a comparison comes to: tidy tables, one row a figure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from xkd_eval.errors import XkdError


@dataclass(frozen=True)
class Comparison:
    """Models scored on the same images under the same protocol.

    Values and bounds are fractions of 1 unless the measure says otherwise; bounds are 95 % intervals over images.

    Attributes:
        models: labels, the reference first.
        scores: model, maps ("cam", or a floor or ceiling), score, value, low, high, n_images.
        differences: score, model, other, value (model - other), low, high, and where a score is a mean over images:
            p, p_holm (corrected over the pairs of models) and effect (rank-biserial).
        agreement: model, of_class ("predicted" or "reference's"), outcome ("all", "both right", ...), measure, value,
            low, high, n_images, uninformative (a map under 4x4). Empty for finished run directories.
        transfer: maps_of, measured_on, score, value, low, high: one model's maps remove pixels, the other answers.
        health: model, test, protocol, images, skipped, degenerate maps, tie_share.
    """

    models: tuple[str, ...]
    scores: pd.DataFrame
    differences: pd.DataFrame
    agreement: pd.DataFrame
    transfer: pd.DataFrame
    health: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Name -> table."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "models"}

    def write(self, directory: Path) -> None:
        """NAME.csv, NAME.md and NAME.tex (booktabs) of every table that is not empty.

        Raises:
            XkdError: the directory cannot be written.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, table in self.tables().items():
                if len(table):
                    (directory / f"{name}.csv").write_text(table.to_csv(index=False))
                    (directory / f"{name}.md").write_text(_markdown(table))
                    (directory / f"{name}.tex").write_text(_latex(table))
        except OSError as error:
            raise XkdError(f"-o {directory}: cannot be written ({error.strerror or error})") from None


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[_cell(value).replace("|", r"\|") for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _latex(table: pd.DataFrame) -> str:
    """A booktabs tabular; names from data are escaped."""

    def line(cells: list[str]) -> str:
        return " & ".join("".join(_LATEX.get(sign, sign) for sign in cell) for cell in cells) + r" \\"

    rows = [line([_cell(value) for value in row]) for row in table.itertuples(index=False)]
    begin = r"\begin{tabular}{" + "l" * len(table.columns) + "}"
    head = line([str(name) for name in table.columns])
    return "\n".join([begin, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]) + "\n"
