"""The application: what all commands stand on."""

from __future__ import annotations

import typer

from xkd_eval.cli.console import Group, takes_version

app = typer.Typer(
    cls=Group,
    name="xkd-eval",
    help="Does a compressed classifier still look at the right thing, and where its teacher looks?",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
takes_version(app)
