"""xkd-eval: one file a command, in the order in which `--help` lists them.

Commands parse and print; what they do is imported when it is needed.
"""

from __future__ import annotations

from xkd_eval.cli import (  # noqa: F401
    card,
    check,
    compare,
    demo,
    evaluate,
    inspect,
    lists,
    overlay,
    perturbation,
    segmentation,
    table,
)
from xkd_eval.cli.app import app
from xkd_eval.cli.console import run


def main() -> None:
    """What `xkd-eval` starts; ends the process with 0, with 2 after bad input, 130 after Ctrl-C, 143 after SIGTERM."""
    run(app)
