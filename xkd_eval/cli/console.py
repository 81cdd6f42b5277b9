"""What every command shares: the two consoles, and bad input as one line in the command line's own words."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from typer.core import TyperCommand

from xkd_eval.errors import XkdError, renamed
from xkd_eval.escapes import visible


class _Console(Console):
    """Names from outside must not steer the terminal: what would is spelt out."""

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console; every text that is printed, be it a table's cell, comes through here."""
        return super().render_str(visible(text, keep="\n\t"), **options)


console = _Console(emoji=False)
errors = _Console(stderr=True, emoji=False)

BAD_INPUT, INTERRUPTED = 2, 130

# typer brings a click of its own in newer releases and imports it in older ones: this is the class of either.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class Command(TyperCommand):
    """A command whose errors name its options: the library's `class_map: ...` is `--class-map: ...` here."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of the library names the options instead of the arguments."""
        try:
            return super().invoke(ctx)
        except XkdError as error:
            error.args = (renamed(str(error), self._flags(), quote=""),)
            raise

    def _flags(self) -> dict[str, str]:
        """Argument -> option; the library may call one thing `explainer` that is one of several `explainers` here."""
        flags = {
            str(parameter.name): next(flag for flag in parameter.opts if flag.startswith("--"))
            for parameter in self.params
            if parameter.param_type_name == "option"
        }
        return {flag.removeprefix("--").replace("-", "_"): flag for flag in flags.values()} | flags


def run(app: typer.Typer, report: Callable[[XkdError], bool] = lambda error: False) -> NoReturn:
    """A console script: one-line errors on stderr with exit code 2.

    Args:
        app: whose commands are of class Command.
        report: takes an error that somebody else will say, and returns True then.
    """
    try:
        raise SystemExit(app(standalone_mode=False))
    except XkdError as error:
        if not report(error):
            print(f"error: {error}", file=sys.stderr)
    except _UsageError as error:
        print(_one_line(error), file=sys.stderr)
    raise SystemExit(BAD_INPUT)


@contextmanager
def keeping_what_is_done() -> Iterator[None]:
    """Ctrl-C ends the command with a sentence and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; what is done is kept: the same command continues", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Say each warning on one line of stderr, as of another package that fails to import."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        errors.print(f"[yellow]warning:[/yellow] {escape(str(warning.message))}", highlight=False, soft_wrap=True)


def separated(given: Sequence[str]) -> list[str]:
    """Names that are repeated or separated by commas: ["a,b:x=1,y=2", "c"] -> ["a", "b:x=1,y=2", "c"].

    A part that is an option, such as y=2, belongs to the name before it; so does what stands within brackets.
    """
    found: list[str] = []
    for text in given:
        parts = re.split(r",(?![^(\[]*[)\]])", text)
        for place, part in enumerate(parts):
            is_option = "=" in part and ":" not in part.partition("=")[0]
            if place and is_option:
                found[-1] += f",{part}"
            else:
                found.append(part.strip())
    return [name for name in found if name]


def _one_line(error: Any) -> str:
    message, context = error.format_message().rstrip("."), error.ctx
    if not message or "\n" in message:  # no argument at all: the help has been printed, or is the message
        return str(message)
    hint = f" (`{context.command_path} --help` lists what it takes)" if context else ""
    return f"error: {message}{hint}"
