"""xkd-eval table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from xkd_eval.cli import options as o
from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command, console, separated
from xkd_eval.errors import XkdError, renamed

if TYPE_CHECKING:
    from xkd_eval.leaderboard import Leaderboard

_EXAMPLES = """[b]Examples[/b]

xkd-eval table runs/

xkd-eval table study/ report/ --score segmentation.miou,clean_accuracy --sort clean_accuracy

xkd-eval table runs/ -o leaderboard.html

xkd-eval table runs/ -o table.tex --no-intervals"""


@app.command(cls=Command, epilog=_EXAMPLES)
def table(
    runs: Annotated[
        list[str],
        typer.Argument(help="Run directories, or folders in which they are looked for: runs/, or what -o left."),
    ],
    scores: Annotated[
        list[str],
        typer.Option(
            "--score",
            help="Which are shown: miou, or segmentation.miou; several by commas, or repeat it. By default the "
            "headline ones and those that stand in printed tables.",
            rich_help_panel=o.WHAT,
        ),
    ] = [],  # noqa: B006 - typer copies it
    sort: Annotated[
        str | None,
        typer.Option(help="By this score, the best first; by default the first headline one.", rich_help_panel=o.WHAT),
    ] = None,
    intervals: Annotated[bool, typer.Option(help="Show the 95 % intervals.", rich_help_panel=o.HOW)] = True,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write .csv, .md, .tex or .html instead.", rich_help_panel=o.HOW),
    ] = None,
) -> None:
    """Finished runs side by side: those that can be compared in one table, the others apart, with the reason."""
    from xkd_eval.leaderboard.table import table as table_of

    found = table_of(runs, scores=separated(scores) or None, sort=sort)
    if output is None:
        _print(found, intervals=intervals)
        return
    try:
        found.write(output, intervals=intervals)
    except XkdError as error:
        error.args = (renamed(str(error), {"path": "output"}),)
        raise
    _print_left_out(found)
    console.print(f"table: {output}", highlight=False, markup=False, soft_wrap=True)


def _print(found: Leaderboard, *, intervals: bool) -> None:
    from xkd_eval.leaderboard.formats import CAPTION, apart, figures, heads

    for block in found.blocks:
        shown = Table("model", "maps", title=escape(block.title), title_justify="left")
        for head in heads(block):
            shown.add_column(escape(head), justify="right")
        for entry in block.entries:
            cells = []
            for figure in figures(block, entry, intervals=intervals):
                value = f"[b]{figure.value}[/b]" if figure.is_best else figure.value
                cells.append(f"{value} [dim]{figure.interval}[/dim]" if figure.interval else value)
            shown.add_row(escape(entry.model), escape(entry.maps), *cells)
        console.print(shown)
        if block.reason:
            console.print(f"[yellow]{escape(apart(block))}[/yellow]", highlight=False, soft_wrap=True)
    console.print(f"[dim]{escape(CAPTION)}[/dim]", highlight=False, soft_wrap=True)
    _print_left_out(found)


def _print_left_out(found: Leaderboard) -> None:
    for sentence in found.left_out:
        console.print(f"[yellow]{escape(sentence)}[/yellow]", highlight=False, soft_wrap=True)
