"""xkd-eval explainers, xkd-eval tests: what there is by name, that of other packages too."""

from __future__ import annotations

from typing import Annotated

import typer

from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command, warnings_as_lines


@app.command(cls=Command)
def explainers() -> None:
    """All explainers, with the paper behind each and its cost."""
    from xkd_eval.cli.output import print_explainers
    from xkd_eval.explainers import list_explainers

    with warnings_as_lines():
        print_explainers(list_explainers())


@app.command(cls=Command)
def tests(
    names: Annotated[list[str] | None, typer.Argument(help="Names, with spaces between; by default all.")] = None,
) -> None:
    """What each test asks, its scores, cost, needs and options, and the paper behind it."""
    from xkd_eval.cli.output import print_tests
    from xkd_eval.evaluations.listing import list_tests

    with warnings_as_lines():
        print_tests(list_tests(list(dict.fromkeys(names or ()))))
