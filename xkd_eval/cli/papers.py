"""Figures for a paper, as commands write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xkd_eval.cli.console import console
from xkd_eval.figures.drawn import Drawn
from xkd_eval.figures.paper import read_paper


def check_papers(papers: Sequence[str]) -> None:
    """Refuse, before the work for it, what is no size or format."""
    for text in papers:
        read_paper(text)


def print_papers(result: Drawn, directory: Path | None, papers: Sequence[str]) -> None:
    """Write a result's figures into DIRECTORY/figures, and say where they are."""
    if papers and directory is not None:
        for path in result.save_figures(directory / "figures", list(papers)):
            console.print(f"figure: {path}", highlight=False, markup=False, soft_wrap=True)
