"""How far the work is: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from xkd_eval.cli.console import errors, told
from xkd_eval.escapes import visible

SECONDS_BETWEEN_LINES = 30.0

Report = Callable[[str, int, int], None]
"""Called with what is under way, how much is done and how much there is in all."""


def stderr_bar(*columns: ProgressColumn) -> Progress:
    """A bar of which nothing stays: neither in a log file nor in a terminal, once it is stopped."""
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_interactive)


@contextmanager
def progress_bar(of: str = "scored") -> Iterator[Report]:
    """Shows on stderr how far the work is, with the time left.

    Args:
        of: what is counted, said behind the numbers.
    """
    if not errors.is_interactive:
        yield _telling(ProgressLines(of))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(of),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    progress = stderr_bar(*columns)
    task = progress.add_task("", total=None)

    def report(what: str, done: int, total: int) -> None:
        progress.start()  # not before: bad input is one line, and no bar beside it
        progress.update(task, description=escape(visible(what)), completed=done, total=total)

    try:
        yield _telling(report)
    finally:
        progress.stop()


class ProgressLines:
    """A line every half minute: what a log file should hold. Of work that takes less there is none.

    Args:
        of: what is counted.
    """

    def __init__(self, of: str) -> None:
        self._of = of
        self._printed = time.monotonic()
        self._began: tuple[float, int, int] | None = None
        self._done = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        # What was done before took no time now; where less is done than before, or of more, other work has begun.
        if self._began is None or done < self._done or total != self._began[2]:
            self._began = (now, done, total)
        self._done = done
        if now - self._printed < SECONDS_BETWEEN_LINES:
            return
        self._printed = now
        subject = f"{what}: " if what else ""
        say_line(f"{subject}{done:,} of {total:,} {self._of}{self._left(now, done)}")

    def _left(self, now: float, done: int) -> str:
        assert self._began is not None
        began, first, total = self._began
        if done <= first:
            return ""
        return f", {clock((total - done) * (now - began) / (done - first))} left"


def say_line(line: str) -> None:
    """Print a line on stderr as it is."""
    errors.print(line, highlight=False, markup=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """3725 -> 1:02:05, 65 -> 1:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _telling(report: Report) -> Report:
    """The same; what models are fed with is said once something of the work is done."""

    def tell(what: str, done: int, total: int) -> None:
        if done:
            told.say_inputs()
        report(what, done, total)

    return tell
