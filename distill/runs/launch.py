"""Several processes for one training: this command again under torchrun."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from xkd_eval.errors import XkdError

_PORT = "29500"
# Set where `relaunch` started the process: it then tells the launcher what went wrong, which says it once.
_LAUNCHED = "XKD_DISTILL_LAUNCHED"
_BAD_INPUT = 2
_INTERRUPTED = 130


def is_launched() -> bool:
    """Whether torchrun, Slurm through torchrun, or `accelerate launch` started this process as one of a group."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def relaunch(arguments: Sequence[str], devices: int, nodes: int) -> None:
    """Run the same command as `devices` processes of torchrun and exit as they did; returns for a single one.

    On several nodes the command is started once a node, as `srun` does. Each needs to know its number and the first
    node's address: NODE_RANK and MASTER_ADDR, or Slurm's SLURM_NODEID and SLURM_LAUNCH_NODE_IPADDR.

    Args:
        arguments: of the command line, without the program's name.
        devices: processes on each node.
        nodes: machines.

    Raises:
        XkdError: what a process refused, or how it died; several nodes, and no environment variables that tell them
            apart.
    """
    if devices * nodes == 1 or is_launched():
        return
    options = [f"--nproc-per-node={devices}", *(["--standalone"] if nodes == 1 else _rendezvous(nodes))]
    # torchrun would give each process a single thread.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // devices, 1)))
    os.environ[_LAUNCHED] = "1"
    _run([*options, "-m", "distill", *arguments])


def reported(error: XkdError) -> bool:
    """Leave an error to the launcher, which says it for all processes; False where `relaunch` started none."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if _LAUNCHED not in os.environ or not file:
        return False
    Path(file).write_text(json.dumps({"message": str(error), "timestamp": int(time.time())}))
    return True


def leave(*, together: bool) -> None:
    """End the group of processes, if there is one; gloo's threads would abort a process that exits without it.

    Args:
        together: wait for the others first, as after a success: whoever leaves early takes their connections down.
    """
    from torch import distributed

    if distributed.is_initialized():
        if together:
            distributed.barrier()
        distributed.destroy_process_group()


def _run(arguments: Sequence[str]) -> NoReturn:
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Of a failure torchrun prints a page beside the processes' own words.
    logging.disable(logging.ERROR)
    try:
        run.run(run.parse_args(list(arguments)))
    except SignalException:
        raise SystemExit(_INTERRUPTED) from None
    except ChildFailedError as error:
        # Whoever waits for a process that has refused dies of it, perhaps within the same second.
        failures = sorted(
            error.failures.values(), key=lambda failure: (failure.exitcode != _BAD_INPUT, failure.timestamp)
        )
        if failures[0].exitcode == _BAD_INPUT:
            raise XkdError(failures[0].message) from None
        raise XkdError(
            f"devices: process {failures[0].local_rank} died with exit code {failures[0].exitcode}; "
            "what it printed is above"
        ) from None
    raise SystemExit(0)


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
