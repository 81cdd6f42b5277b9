"""xkd-distill: one file a command. Commands parse and print; what they do is imported when it is needed."""

from __future__ import annotations

from typing import NoReturn

import typer

from distill.cli.errors import report
from distill.cli.evaluate import EXAMPLES as EVALUATE_EXAMPLES
from distill.cli.evaluate import evaluate
from distill.cli.export import EXAMPLES as EXPORT_EXAMPLES
from distill.cli.export import export
from distill.cli.recipes import recipes
from distill.cli.store import EXAMPLES as STORE_EXAMPLES
from distill.cli.store import store
from distill.cli.sweep import EXAMPLES as SWEEP_EXAMPLES
from distill.cli.sweep import sweep
from distill.cli.train import EXAMPLES as TRAIN_EXAMPLES
from distill.cli.train import train
from xkd_eval.cli.console import Command, Group, run, takes_version

app = typer.Typer(
    cls=Group,
    name="xkd-distill",
    help="Train small classifiers on what larger ones know: Exp-KD, and the methods that it is compared with.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
takes_version(app)
app.command(cls=Command)(recipes)
app.command(cls=Command, epilog=TRAIN_EXAMPLES)(train)
app.command(cls=Command, epilog=STORE_EXAMPLES)(store)
app.command(cls=Command, epilog=SWEEP_EXAMPLES)(sweep)
app.command(cls=Command, epilog=EVALUATE_EXAMPLES)(evaluate)
app.command(cls=Command, epilog=EXPORT_EXAMPLES)(export)


def main() -> NoReturn:
    """The console script: one-line errors on stderr with exit code 2; 130 after Ctrl-C, 143 after SIGTERM."""
    run(app, report=report)
