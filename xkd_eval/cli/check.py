"""xkd-eval check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from xkd_eval.cli import options as o
from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command, console, keeping_what_is_done, separated
from xkd_eval.errors import XkdError, renamed
from xkd_eval.evaluations.perturbation.options import PerturbationOptions
from xkd_eval.files import check_output
from xkd_eval.study.options import RunOptions
from xkd_eval.wording import listed

if TYPE_CHECKING:
    from xkd_eval.gate import Gate

EXIT_CODES = {"pass": 0, "fail": 1, "undecided": 3}
"""Verdict -> exit code; 2 is bad input, as of every command."""

_EXAMPLES = """[b]Examples[/b]

xkd-eval check embedded/exp_kd embedded/plain --margin 5

xkd-eval check baseline.pt candidate.pt --data imagenet/val --margin 1 --margin perturbation.between.auc_common=3

xkd-eval check runs/baseline candidate.pt --data imagenet/val --summary "$GITHUB_STEP_SUMMARY" --junit check.xml

xkd-eval check runs/baseline runs/candidate --margin segmentation.miou=2"""

_SIDE = (
    "MODEL, or NAME=MODEL, with options behind it; or a finished run directory, or a folder of those of one model "
    "(FOLDER,model=NAME of several's)."
)
_REPORTS = "What is written"


@app.command(cls=Command, epilog=_EXAMPLES)
@o.takes(RunOptions, PerturbationOptions, without=("maps", "save_maps", "figures", "output"))
def check(
    options: dict[str, Any],
    baseline: Annotated[str, typer.Argument(help=_SIDE)],
    candidate: Annotated[
        str, typer.Argument(help="The same; a model beside a run directory is evaluated by the rules that it records.")
    ],
    margins: Annotated[
        list[str],
        typer.Option(
            "--margin",
            metavar="[SCORE=]NUMBER",
            help="By how much a score may be worse, in points for shares: of the default scores (2), or of one: "
            "perturbation.clean_accuracy=1. Repeat it.",
            rich_help_panel=o.WHAT,
        ),
    ] = [],  # noqa: B006 - typer copies it
    data: o.Data = "embedded",
    masks: o.Masks = None,
    explainer: Annotated[
        str | None,
        typer.Option(
            "--explainer",
            "-e",
            help="By default cam; of run directories with several, the one that is meant.",
            rich_help_panel=o.WHAT,
        ),
    ] = None,
    tests: Annotated[
        list[str],
        typer.Option(
            "--test",
            help="By default those of `compare`, or of the run directory; several by commas, or repeat it.",
            rich_help_panel=o.WHAT,
        ),
    ] = [],  # noqa: B006
    summary: Annotated[Path | None, typer.Option(help="Markdown for a pull request.", rich_help_panel=_REPORTS)] = None,
    junit: Annotated[
        Path | None,
        typer.Option(help="JUnit XML: worse is a failure, undecided an error.", rich_help_panel=_REPORTS),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(help="Where runs lie; what is finished there is shared. By default runs/.", rich_help_panel=o.HOW),
    ] = None,
) -> None:
    """A gate: exit code 0 if the candidate is shown to be no worse, 1 if worse, 3 if the images do not decide."""
    from xkd_eval.cli.output import warn_of_slow_precision
    from xkd_eval.cli.progress import progress_bar
    from xkd_eval.gate.check import check as check_models

    files = {"summary": summary, "junit": junit}
    for name, path in files.items():
        if path is not None:
            check_output(path, what=name)
    warn_of_slow_precision(options)
    given = {"margins": _read_margins(margins)} if margins else {}
    with keeping_what_is_done(), progress_bar() as report:
        gate = check_models(
            baseline,
            candidate,
            data,
            explainer=explainer,
            tests=separated(tests) or None,
            masks=masks,
            runs=runs or Path("runs"),
            progress=report,
            **given,
            **options,
        )
    for name, path in files.items():
        if path is not None:
            _write(name, path, gate.write_summary if name == "summary" else gate.write_junit)
    _print(gate)
    raise typer.Exit(EXIT_CODES[gate.verdict])


def _read_margins(given: Sequence[str]) -> dict[str, float]:
    """["2", "perturbation.clean_accuracy=1"] -> {"default": 2.0, "perturbation.clean_accuracy": 1.0}"""
    from xkd_eval.gate.margins import DEFAULT

    found: dict[str, float] = {}
    for text in given:
        score, equals, number = text.rpartition("=")
        name = score.strip() if equals else DEFAULT
        try:
            value = float(number)
        except ValueError:
            name = ""
        if not name:
            raise XkdError(f"margins: {text!r:.100} found; expected a number, or SCORE=NUMBER")
        if name in found:
            raise XkdError(f"margins: {'one' if name == DEFAULT else name} is given twice; leave one out")
        found[name] = value
    return found


def _write(option: str, path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
    except XkdError as error:
        error.args = (renamed(str(error), {"path": option}),)
        raise


def _print(gate: Gate) -> None:
    shown = gate.table().drop(columns=["baseline", "candidate", "images", "note"])  # a log has 80 columns
    table = Table()
    for name in shown.columns:
        table.add_column(name, justify="left" if name in ("score", "verdict") else "right")
    for row in shown.itertuples(index=False):
        table.add_row(*map(escape, row))
    console.print(table)
    for reason in dict.fromkeys(score.reason for score in gate.verdicts if score.reason):
        names = listed([score.name for score in gate.verdicts if score.reason == reason])
        console.print(f"[dim]{escape(f'{names}: {reason}')}[/dim]", highlight=False, soft_wrap=True)
    for sentence in gate.left_out:
        console.print(f"[yellow]{escape(sentence)}[/yellow]", highlight=False, soft_wrap=True)
    console.print(escape(gate.sentence), highlight=False, soft_wrap=True)
