"""What the library tells of models, each line once on stderr.

A note is said when it comes; what a model is fed with once the work begins, so that bad input stays one line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.markup import escape

from xkd_eval.errors import renamed_within
from xkd_eval.wording import listed

if TYPE_CHECKING:
    from xkd_eval.classifiers.told import ToldInput
    from xkd_eval.cli.console import _Console

_LOG = logging.getLogger("xkd_eval.models")


@contextmanager
def heard_by(handler: logging.Handler, log: logging.Logger) -> Iterator[None]:
    """For as long as it is entered, what a logger is told from INFO on goes to a handler, and nowhere else."""
    level, propagates = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates


class ToldLines(logging.Handler):
    """Says what is logged of models, and keeps what is told of their inputs until that is due.

    Args:
        console: where it is said.
    """

    def __init__(self, console: _Console) -> None:
        super().__init__()
        self._console = console
        self._begin({})

    @contextmanager
    def listening(self, flags: Mapping[str, str]) -> Iterator[None]:
        """For the time of a command; what is due is said in the end, where it does not fail.

        Args:
            flags: argument -> option of the command.
        """
        self._begin(flags)
        with heard_by(self, _LOG):
            yield
            self.say_inputs()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        told: ToldInput | None = getattr(record, "told", None)
        if told is None:
            self._say_note(record.getMessage())
        else:
            # By whatever name a command calls it next, it is the same model.
            self._inputs.setdefault(told if told.model is None else replace(told, name=""), told)

    def say_inputs(self) -> None:
        """Print what is due."""
        due = [told for model, told in self._inputs.items() if model not in self._said]
        self._said |= set(self._inputs)
        for told in due:
            if told.source.assumed:
                self._print("[yellow]warning:[/yellow] ", told.warning(self._remedy(told, alone=len(due) == 1)))
            else:
                self._print("", told.line)

    def _begin(self, flags: Mapping[str, str]) -> None:
        self._flags = flags
        self._inputs: dict[ToldInput, ToldInput] = {}
        self._said: set[ToldInput] = set()
        self._notes: set[str] = set()

    def _say_note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.add(note)
            self._print("[yellow]note:[/yellow] ", renamed_within(note, self._flags, quote=""))

    def _print(self, mark: str, line: str) -> None:
        self._console.print(f"{mark}{escape(line)}", highlight=False, soft_wrap=True)

    def _remedy(self, told: ToldInput, *, alone: bool) -> str:
        """By the command's options where they speak of this model alone, else behind its name."""
        missing = told.source.assumed
        if alone and all(field in self._flags for field in missing):
            return f"give {listed([self._flags[field] for field in missing])}"
        return f"write it as {told.in_words()}"
