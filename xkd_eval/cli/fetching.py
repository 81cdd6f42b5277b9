"""What the library tells of data that it fetches: a bar on a terminal, a line every half minute elsewhere; notes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.markup import escape

from xkd_eval.cli.told import heard_by
from xkd_eval.escapes import visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from xkd_eval.cli.console import _Console
    from xkd_eval.cli.progress import ProgressLines

_LOG = logging.getLogger("xkd_eval.data")
_MEGABYTE = 10**6


class FetchLines(logging.Handler):
    """Says what is logged of data that are fetched.

    Args:
        console: where it is said.
    """

    def __init__(self, console: _Console) -> None:
        super().__init__()
        self._console = console
        self._bar: tuple[Progress, TaskID] | None = None
        self._lines: ProgressLines | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """For the time of a command."""
        with heard_by(self, _LOG):
            try:
                yield
            finally:
                self._end()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        fetched: tuple[str, int, int] | None = getattr(record, "fetched", None)
        if fetched is None:
            self._end()
            note = f"[yellow]note:[/yellow] {escape(record.getMessage())}"
            self._console.print(note, highlight=False, soft_wrap=True)
        elif self._console.is_interactive:
            self._show(*fetched)
        else:
            self._say(*fetched)

    def _say(self, what: str, done: int, total: int) -> None:
        from xkd_eval.cli.progress import ProgressLines

        if self._lines is None:
            self._lines = ProgressLines("MB fetched")
        self._lines(what, done // _MEGABYTE, max(done, total) // _MEGABYTE)

    def _show(self, what: str, done: int, total: int) -> None:
        from rich.errors import LiveError
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

        from xkd_eval.cli.progress import stderr_bar

        if self._bar is None:
            progress = stderr_bar(
                *(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TextColumn("fetched, left")),
                TimeRemainingColumn(),
            )
            try:
                progress.start()
            except LiveError:  # another bar is shown, and a terminal has room for one
                return
            self._bar = progress, progress.add_task("", total=None)
        progress, task = self._bar
        progress.update(task, description=escape(visible(what)), completed=done, total=total or None)
        if done >= total > 0:
            self._end()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None
