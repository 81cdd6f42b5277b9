"""Several processes for one training: a file of trainings, handed to the processes of torchrun."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from distill.runs.interruption import TrainingInterruptedError
from distill.runs.job import RUNNER, TrainingJob, write_jobs
from xkd_eval.errors import XkdError

_PORT = "29500"
# A folder, set for the processes that `launch` starts: they leave what went wrong to it, which says it once.
_LAUNCHED = "XKD_DISTILL_LAUNCHED"
_INTERRUPTION = "interruption.txt"
_BAD_INPUT = 2


def is_launched() -> bool:
    """Whether torchrun, Slurm through torchrun, or `accelerate launch` started this process as one of a group."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_first_process() -> bool:
    """Whether this process is the one of its group, over all nodes, that speaks and writes."""
    node = os.environ.get("NODE_RANK") or os.environ.get("SLURM_NODEID") or "0"
    return os.environ.get("RANK", node) == "0"


def launch(jobs: Sequence[TrainingJob], devices: int, nodes: int) -> None:
    """Make trainings one after the other, each by `devices` processes of torchrun on each of `nodes` machines.

    On several nodes it is called once a node, as `srun` does. Each needs to know its number and the first node's
    address: NODE_RANK and MASTER_ADDR, or Slurm's SLURM_NODEID and SLURM_LAUNCH_NODE_IPADDR.

    Args:
        jobs: trainings.
        devices: processes on each node.
        nodes: machines.

    Raises:
        TrainingInterruptedError: by Ctrl-C or SIGTERM; the state is saved.
        XkdError: what a process refused, or how it died; several nodes, and no environment variables that tell them
            apart.
    """
    options = [f"--nproc-per-node={devices}", *(["--standalone"] if nodes == 1 else _rendezvous(nodes))]
    with tempfile.TemporaryDirectory(prefix="xkd-distill-") as folder:
        file = Path(folder) / "jobs.yaml"
        write_jobs(jobs, file)
        # torchrun would give each process a single thread.
        os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // devices, 1)))
        os.environ[_LAUNCHED] = folder
        try:
            _run([*options, "-m", RUNNER, str(file)], Path(folder))
        finally:
            del os.environ[_LAUNCHED]


def reported(error: XkdError) -> bool:
    """Leave an error to the launcher, which says it for all processes; False where `launch` started none."""
    folder = os.environ.get(_LAUNCHED)
    if folder is None:
        return False
    if isinstance(error, TrainingInterruptedError):
        if is_first_process():
            (Path(folder) / _INTERRUPTION).write_text(str(error))
        return True
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
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
        message = said.read_text() if said.is_file() else "stopped before the first step; nothing was saved"
        raise TrainingInterruptedError(message, error.sigval) from None
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
