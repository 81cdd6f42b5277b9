"""Several processes for one command: torchrun starts them, and what goes wrong in them is said once."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from xkd_eval.errors import XkdError

_PORT = "29500"
# A folder, set for the processes that `launch` starts: they leave what went wrong to it, which says it once.
_LAUNCHED = "XKD_LAUNCHED"
_INTERRUPTION = "interruption.txt"
_BAD_INPUT = 2
_NOBODY_READS = 141  # 128 + SIGPIPE
LEFT_ALONE = 75
"""Exit code of a process that waited for one which has gone."""


class InterruptedProcessesError(Exception):
    """A signal ended the processes.

    Args:
        number: of the signal.
        said: what the first process handed over; empty where it said nothing.
    """

    def __init__(self, number: int, said: str) -> None:
        super().__init__(said)
        self.number, self.said = number, said


def is_launched() -> bool:
    """Whether torchrun, Slurm through torchrun, or `accelerate launch` started this process as one of a group."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_first_process() -> bool:
    """Whether this process is the one of its group, over all nodes, that speaks and writes."""
    node = os.environ.get("NODE_RANK") or os.environ.get("SLURM_NODEID") or "0"
    return os.environ.get("RANK", node) == "0"


def is_silent() -> bool:
    """Whether another process of a group speaks and writes for this one."""
    return is_launched() and not is_first_process()


def local_processes() -> int:
    """How many processes of this one's group share the machine; 1 without a group."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if is_launched() else 1


def own_cores() -> int:
    """How many cores are this process's: its share of those that its group may use."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, bound // local_processes())


def launch(arguments: Sequence[str], devices: int, nodes: int = 1) -> None:
    """Run a Python program by `devices` processes of torchrun on each of `nodes` machines.

    On several nodes it is called once a node, as `srun` does. Each needs to know its number and the first node's
    address: NODE_RANK and MASTER_ADDR, or Slurm's SLURM_NODEID and SLURM_LAUNCH_NODE_IPADDR.

    Args:
        arguments: ["-m", MODULE, ...] or [SCRIPT, ...].
        devices: processes on each node.
        nodes: machines.

    Raises:
        InterruptedProcessesError: by Ctrl-C or SIGTERM.
        BrokenPipeError: nobody reads what they print any more.
        XkdError: what a process refused, or how it died; several nodes, and no environment variables that tell them
            apart.
    """
    options = [f"--nproc-per-node={devices}", *(["--standalone"] if nodes == 1 else _rendezvous(nodes))]
    with tempfile.TemporaryDirectory(prefix="xkd-") as folder:
        # torchrun would give each process a single thread.
        os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // devices, 1)))
        os.environ[_LAUNCHED] = folder
        try:
            _run([*options, *arguments], Path(folder))
        finally:
            del os.environ[_LAUNCHED]


def handed_over(message: str, *, interruption: bool = False) -> bool:
    """Leave the last words of this process to the one that launched it.

    Args:
        message: one line.
        interruption: whether a signal ended it; of several processes the first one's words count.

    Returns:
        False where `launch` did not start this process, so that it has to say them itself.
    """
    folder, file = os.environ.get(_LAUNCHED), os.environ.get("TORCHELASTIC_ERROR_FILE")
    if folder is None or not is_launched():
        return False
    if interruption:
        if is_first_process():
            (Path(folder) / _INTERRUPTION).write_text(message)
        return True
    if not file:
        return False
    Path(file).write_text(json.dumps({"message": message, "timestamp": int(time.time())}))
    return True


def is_left_alone(error: BaseException) -> bool:
    """Whether an error says that another process of the group has gone, which is not this one's to explain."""
    if not is_launched() or not isinstance(error, RuntimeError):
        return False
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"DistBackendError", "DistNetworkError", "DistStoreError"}) or "gloo" in str(error)


def _run(arguments: Sequence[str], folder: Path) -> None:
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Of a failure torchrun prints a page beside the processes' own words.
    logging.disable(logging.ERROR)
    try:
        run.run(run.parse_args(list(arguments)))
    except SignalException as error:
        said = folder / _INTERRUPTION
        raise InterruptedProcessesError(error.sigval, said.read_text() if said.is_file() else "") from None
    except ChildFailedError as error:
        # Whoever waits for a process that has gone ends of it, perhaps within the same second.
        failures = sorted(
            error.failures.values(),
            key=lambda failure: (failure.exitcode != _BAD_INPUT, failure.exitcode == LEFT_ALONE, failure.timestamp),
        )
        if failures[0].exitcode == _NOBODY_READS:
            raise BrokenPipeError from None
        if failures[0].exitcode == _BAD_INPUT:
            raise XkdError(failures[0].message) from None
        raise XkdError(
            f"devices: process {failures[0].local_rank} died with exit code {failures[0].exitcode}; "
            "what it printed is above, and what is done is kept"
        ) from None
    finally:
        logging.disable(logging.NOTSET)


def _rendezvous(nodes: int) -> list[str]:
    rank = os.environ.get("NODE_RANK") or os.environ.get("SLURM_NODEID")
    address = os.environ.get("MASTER_ADDR") or os.environ.get("SLURM_LAUNCH_NODE_IPADDR")
    if rank is None or address is None:
        raise XkdError(
            f"nodes: {nodes} found, and neither NODE_RANK with MASTER_ADDR nor Slurm's variables say which node this "
            "is; set them, or start it through srun"
        )
    port = os.environ.get("MASTER_PORT", _PORT)
    return [f"--nnodes={nodes}", f"--node-rank={rank}", f"--master-addr={address}", f"--master-port={port}"]
