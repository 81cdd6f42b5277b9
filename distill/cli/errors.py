"""How a process of this command line ends that does not end well."""

from __future__ import annotations

from distill.runs.interruption import TrainingInterruptedError
from distill.runs.launch import is_first_process, reported
from xkd_eval.cli.console import SIGNALLED, say
from xkd_eval.errors import XkdError


def report(error: XkdError) -> bool:
    """Leave an error to the process that started this one; say an interruption, once for all processes.

    Returns:
        Whether it is said, or will be.

    Raises:
        SystemExit: with 130 after Ctrl-C, 143 after SIGTERM.
    """
    if not isinstance(error, TrainingInterruptedError):
        return reported(error)
    if not reported(error) and is_first_process():
        say(str(error))
    raise SystemExit(SIGNALLED + error.number)
