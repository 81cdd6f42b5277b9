"""How far trainings, sweeps and stored answers are: a bar on a terminal, lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xkd_eval.cli.console import errors, told
from xkd_eval.cli.progress import SECONDS_BETWEEN_LINES, ProgressLines, clock, say_line, stderr_bar
from xkd_eval.launch import is_first_process

if TYPE_CHECKING:
    from distill.training.progress import TrainingPoint, TrainingProgress
    from distill.training.store import StoringPoint


@contextmanager
def training_progress(name: str, seed: int) -> Iterator[TrainingProgress]:
    """Shows the points of one training on stderr, by the one process that speaks."""
    title = f"{name}, seed {seed}"
    if not is_first_process():
        yield lambda point: None
    elif errors.is_interactive:
        with _training_bar(title) as report:
            yield report
    else:
        yield TrainingLines(title)


class TrainingLines:
    """A line a closed epoch, and one every half minute within an epoch: what a log file should hold.

    Args:
        title: at the start of each line.
        between: seconds between lines within an epoch.
        say: prints a line; on stderr by default.
    """

    def __init__(
        self, title: str, between: float = SECONDS_BETWEEN_LINES, say: Callable[[str], None] | None = None
    ) -> None:
        self._title = title
        self._say = say or say_line
        self._between = between
        self._printed = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._loss: float | None = None

    def __call__(self, point: TrainingPoint) -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        for note in point.notes:
            self._print(note)
        if self._first is None:  # when and where this sitting began: what was made before took no time now
            self._first = (now, point.images)
        if point.loss is not None:
            self._loss = point.loss
        if point.metrics is None and (now - self._printed < self._between or self._loss is None):
            return
        self._printed = now
        loss = f", loss {self._loss:.3f}" if point.loss is None and self._loss is not None else ""
        self._print(f"{point}{loss}{self._pace(point, now)}")

    def _pace(self, point: TrainingPoint, now: float) -> str:
        assert self._first is not None
        began, first = self._first
        if point.images <= first:
            return ""
        rate = (point.images - first) / max(now - began, 1e-9)
        left = (point.total_images - point.images) / rate
        return f", {rate:,.0f} images/s, {clock(left)} left"

    def _print(self, said: str) -> None:
        self._say(f"{self._title}: {said}")


@contextmanager
def sweep_progress() -> Iterator[Any]:
    """Shows on stderr what (runs done, runs in all, what is under way) callbacks say: a bar, or a line a change."""
    if not errors.is_interactive:
        yield SweepLines()
        return
    columns = (TextColumn("{task.completed}/{task.total} runs"), BarColumn(), TextColumn("{task.description}"))
    with stderr_bar(*columns) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, where: progress.update(task, completed=done, total=total, description=escape(where))


class SweepLines:
    """A line whenever a run of a sweep starts or ends: what a log file should hold."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, done: int, total: int, where: str) -> None:
        """Print a line if something changed."""
        said = f"{done}/{total} runs" + (f", under way: {where}" if where else "")
        if said != self._said:
            say_line(said)
        self._said = said


@contextmanager
def _training_bar(title: str) -> Iterator[TrainingProgress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with stderr_bar(*columns) as progress:
        task = progress.add_task(escape(title), total=None, rate="starting")
        latest = ""

        def report(point: TrainingPoint) -> None:
            nonlocal latest
            for note in point.notes:
                progress.console.print(f"{title}: {note}", highlight=False, markup=False, soft_wrap=True)
            if point.loss is not None or not latest:
                latest = str(point)
            speed = progress.tasks[0].speed
            rate = f"{speed:,.0f} images/s" if speed else ""
            described = f"{escape(title)}: {escape(latest)}"
            progress.update(task, completed=point.images, total=point.total_images, description=described, rate=rate)

        yield report


@contextmanager
def storing_progress() -> Iterator[Callable[[StoringPoint], None]]:
    """Says on stderr how many bytes answers will have, then shows how far `store_answers` is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    progress, lines = stderr_bar(*columns), ProgressLines("images")

    def report(point: StoringPoint) -> None:
        told.say_inputs()
        if not progress.tasks:
            there = "" if point.bytes_due == point.bytes else f", of which {point.bytes - point.bytes_due:,} are there"
            said = (
                f"{point.rounds} rounds of {point.total_images // point.rounds:,} images: {point.bytes:,} bytes{there}"
            )
            say_line(said)
            progress.start()  # not before: bad input is one line, and no bar beside it
            progress.add_task("answers", total=point.total_images)
        progress.update(progress.task_ids[0], completed=point.images)
        if not errors.is_interactive:
            lines("answers", point.images, point.total_images)

    try:
        yield report
    finally:
        progress.stop()
