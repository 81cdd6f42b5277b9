"""How a process of this command line ends that does not end well."""

from __future__ import annotations

from distill.runs.interruption import TrainingInterruptedError
from xkd_eval.cli.console import SIGNALLED, say
from xkd_eval.errors import XkdError
from xkd_eval.launch import handed_over, is_first_process


def report(error: XkdError) -> bool:
    """Say that a training was interrupted, once for all processes.

    Returns:
        False of any other error, which is not said here.

    Raises:
        SystemExit: with 130 after Ctrl-C, 143 after SIGTERM.
    """
    if not isinstance(error, TrainingInterruptedError):
        return False
    if not handed_over(str(error), interruption=True) and is_first_process():
        say(str(error))
    raise SystemExit(SIGNALLED + error.number)
