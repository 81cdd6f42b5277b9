"""A command by several processes: this one starts them and waits, and the first of them prints."""

from __future__ import annotations

import sys

from xkd_eval.cli.console import Terminated, keeping_what_is_done
from xkd_eval.launch import InterruptedProcessesError, is_launched, launch


def handed_out(devices: int, nodes: int) -> bool:
    """Have the same command line run by several processes, unless this is one of them, or one is enough.

    Args:
        devices: processes on each node.
        nodes: machines.

    Returns:
        Whether it was, so that nothing is left to do.
    """
    if devices * nodes == 1 or is_launched():
        return False
    with keeping_what_is_done():
        try:
            launch(["-m", "xkd_eval", *sys.argv[1:]], devices, nodes)
        except InterruptedProcessesError as error:
            raise Terminated(error.number) from None
    return True
