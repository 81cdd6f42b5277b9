"""What every command shares: the two consoles, how it ends, and bad input as one line in the command line's words."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from io import StringIO, TextIOWrapper
from types import FrameType
from typing import Any, NoReturn, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from xkd_eval import __version__
from xkd_eval.cli.fetching import FetchLines
from xkd_eval.cli.told import ToldLines
from xkd_eval.errors import XkdError, renamed
from xkd_eval.escapes import visible
from xkd_eval.files import advice
from xkd_eval.foreign import reason
from xkd_eval.launch import LEFT_ALONE, handed_over, is_left_alone, is_silent


class _Console(Console):
    """Names from outside must not steer the terminal: what would is spelt out."""

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console; every text that is printed, be it a table's cell, comes through here."""
        return super().render_str(visible(text, keep="\n\t"), **options)

    def on_broken_pipe(self) -> None:
        """See Console; `run` says how a command ends whose reader has gone."""
        raise BrokenPipeError


console = _Console(emoji=False)
errors = _Console(stderr=True, emoji=False)
told = ToldLines(errors)
fetching = FetchLines(errors)

BAD_INPUT = 2
SIGNALLED = 128
"""Added to a signal's number it is the exit code of a command that the signal has ended."""

_SIGPIPE = 13
_SPINS = "5000"  # benchmarks/waiting.py

# typer brings a click of its own in newer releases and imports it in older ones: this is the class of either.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class Command(TyperCommand):
    """A command whose errors name its options: the library's `class_map: ...` is `--class-map: ...` here."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of the library names the options instead of the arguments."""
        try:
            with told.listening(self._flags()), fetching.listening():
                return super().invoke(ctx)
        except XkdError as error:
            error.args = (renamed(str(error), self._flags(), quote=""),)
            raise
        except KeyboardInterrupt as error:
            raise typer.Exit(_say_interruption(error, "")) from None

    def _flags(self) -> dict[str, str]:
        """Argument -> option; the library may call one thing `explainer` that is one of several `explainers` here."""
        flags = {
            str(parameter.name): next(flag for flag in parameter.opts if flag.startswith("--"))
            for parameter in self.params
            if parameter.param_type_name == "option"
        }
        return {flag.removeprefix("--").replace("-", "_"): flag for flag in flags.values()} | flags


class Group(TyperGroup):
    """The commands; a signal before one began is said here, since typer would end with 130 and no word."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the first words."""
        with _saying_interruption():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse the others, and run the command."""
        with _saying_interruption():
            return super().invoke(ctx)


def takes_version(app: typer.Typer) -> None:
    """Give an application `--version`, which prints its name and the version, and imports nothing for it."""

    def show(asked: bool) -> None:
        if asked:
            console.print(f"{app.info.name} {__version__}", highlight=False)
            raise typer.Exit

    @app.callback()
    def options(
        version: bool = typer.Option(False, "--version", callback=show, is_eager=True, help="Print the version."),
    ) -> None:
        pass


def run(app: typer.Typer, report: Callable[[XkdError], bool] = lambda error: False) -> NoReturn:
    """A console script: one-line errors on stderr with exit code 2; 130 after Ctrl-C, 143 after SIGTERM.

    Args:
        app: whose commands are of class Command.
        report: takes an error that somebody else will say, and returns True then.
    """
    end(lambda: app(standalone_mode=False), report)


def end(work: Callable[[], int | None], report: Callable[[XkdError], bool] = lambda error: False) -> NoReturn:
    """Do the work of a process and end it, as `run` does.

    A full disk behind stdout is an error like others. Where nobody reads stdout any more, as behind `| head`, the
    process ends as if SIGPIPE had ended it: silently, with 141.

    Args:
        work: returns the exit code; None is 0.
        report: takes an error that somebody else will say, and returns True then.
    """
    code: int | None = BAD_INPUT
    asked: list[int] = []
    try:
        _let_threads_wait()
        _escape_what_cannot_be_printed()
        console.quiet = errors.quiet = is_silent()
        with terminable(asked):
            code = work()
            _flush()
    except XkdError as error:
        if not report(error) and not handed_over(str(error)):
            say(f"error: {error}")
    except _UsageError as error:
        say(_one_line(error))
    except (typer.Abort, KeyboardInterrupt) as error:  # before a command began
        code = _say_interruption(error.__cause__ or error, "")
    except OSError as error:
        code = _say_failure(error)
    except Exception as error:
        # Some library swallowed the interruption, as within an import, and failed of it: that is no other failure.
        if asked:
            code = _say_interruption(Terminated(asked[0]), "")
        elif is_left_alone(error):
            code = LEFT_ALONE
        else:
            raise
    _let_go(sys.stdout)
    _let_go(sys.stderr)
    raise SystemExit(code or 0)


def say(line: str) -> None:
    """Print a line on stderr, if anybody can read it."""
    with suppress(OSError, ValueError):  # full, or closed
        print(line, file=sys.stderr or StringIO(), flush=True)


class Terminated(KeyboardInterrupt):
    """SIGTERM, SIGHUP or SIGINT, raised where Ctrl-C is: whatever cleans up after the one does so after the other.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def terminable(asked: list[int] | None = None) -> Iterator[None]:
    """Within, the first SIGTERM or SIGHUP raises Terminated in the main thread; later ones wait for what cleans up.

    Args:
        asked: gets the numbers of the signals that came, Ctrl-C's too, whatever became of what they raised.
    """
    met = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        met.append(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        met = []
    came = [] if asked is None else asked

    def raise_once(number: int, frame: FrameType | None) -> None:
        again = number != signal.SIGINT and any(other != signal.SIGINT for other in came)
        came.append(number)
        if not again:
            raise Terminated(number)

    # What is ignored, as SIGHUP is behind nohup, stays so.
    former = {number: signal.getsignal(number) for number in met if signal.getsignal(number) is not signal.SIG_IGN}
    for number in former:
        signal.signal(number, raise_once)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def keeping_what_is_done() -> AbstractContextManager[None]:
    """Ctrl-C and SIGTERM end the command with a sentence that says that it continues, and exit code 130 or 143."""
    return _saying_interruption("; what is done is kept: the same command continues")


@contextmanager
def _saying_interruption(outcome: str = "") -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise typer.Exit(_say_interruption(error, outcome)) from None


def _say_interruption(error: BaseException, outcome: str) -> int:
    """Say that a signal ended the command, once for all processes; returns the exit code."""
    said = f"interrupted{outcome}"
    if not handed_over(said, interruption=True) and not is_silent():
        say(said)
    return SIGNALLED + getattr(error, "number", signal.SIGINT)


def _say_failure(error: OSError) -> int:
    """Say what the system refused; returns the exit code. The library says where its files failed: this is stdout."""
    if isinstance(error, BrokenPipeError):
        return SIGNALLED + _SIGPIPE
    line = f"{error.filename or 'stdout'}: {reason(error)}; {advice(error)}"
    if not handed_over(line):
        say(f"error: {line}")
    return BAD_INPUT


def _let_threads_wait() -> None:
    """Threads that have nothing to do give their core away, as spinning on it stalls them all beside another process.

    GNU's OpenMP, which is torch's on Linux, spins for some tenth of a millisecond first: the layers of a network follow
    one another faster than a thread wakes up. It is read once, when torch is imported; what the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def _escape_what_cannot_be_printed() -> None:
    """A character that the terminal's encoding has not must not end a command after its work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _let_go(stream: TextIO | None) -> None:
    """What is left in a stream's buffer and cannot be written Python would try to write once more, with a traceback."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
