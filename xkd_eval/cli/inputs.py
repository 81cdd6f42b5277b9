"""What each model is fed with, a line a model on stderr: once the work begins, so that bad input stays one line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.markup import escape

from xkd_eval.wording import listed

if TYPE_CHECKING:
    from xkd_eval.classifiers.input_source import ToldInput
    from xkd_eval.cli.console import _Console

_LOG = logging.getLogger("xkd_eval.inputs")


class InputLines(logging.Handler):
    """Keeps what the library tells of models' inputs until it is said, each line once.

    Args:
        console: where it is said.
    """

    def __init__(self, console: _Console) -> None:
        super().__init__()
        self._console = console
        self._flags: Mapping[str, str] = {}
        self._due: list[ToldInput] = []
        self._said: set[str] = set()

    @contextmanager
    def listening(self, flags: Mapping[str, str]) -> Iterator[None]:
        """For the time of a command; what is due is said in the end, where it does not fail.

        Args:
            flags: argument -> option of the command.
        """
        self._flags, self._due, self._said = flags, [], set()
        level, propagates = _LOG.level, _LOG.propagate
        _LOG.addHandler(self)
        _LOG.setLevel(logging.INFO)
        _LOG.propagate = False
        try:
            yield
            self.say()
        finally:
            _LOG.removeHandler(self)
            _LOG.setLevel(level)
            _LOG.propagate = propagates

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        self._due.append(record.told)  # type: ignore[attr-defined]

    def say(self) -> None:
        """Print what is due."""
        due, self._due = self._due, []
        for told in due:
            assumed = told.source.assumed
            line = told.warning(self._remedy(told, alone=len(due) == 1)) if assumed else told.line
            if line not in self._said:
                mark = "[yellow]warning:[/yellow] " if assumed else ""
                self._console.print(f"{mark}{escape(line)}", highlight=False, soft_wrap=True)
            self._said.add(line)

    def _remedy(self, told: ToldInput, *, alone: bool) -> str:
        """By the command's options where they speak of this model alone, else behind its name."""
        missing = told.source.assumed
        if alone and all(field in self._flags for field in missing):
            return f"give {listed([self._flags[field] for field in missing])}"
        return f"write it as {told.in_words()}"
