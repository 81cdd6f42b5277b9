"""Several processes for one training: this command again under torchrun."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from xkd_eval.errors import XkdError

_PORT = "29500"


def is_launched() -> bool:
    """Whether torchrun, Slurm through torchrun, or `accelerate launch` started this process as one of a group."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def relaunch(arguments: Sequence[str], devices: int, nodes: int) -> None:
    """Replace this process by torchrun with `devices` processes of the same command; returns for a single one.

    On several nodes the command is started once a node, as `srun` does. Each needs to know its number and the first
    node's address: NODE_RANK and MASTER_ADDR, or Slurm's SLURM_NODEID and SLURM_LAUNCH_NODE_IPADDR.

    Args:
        arguments: of the command line, without the program's name.
        devices: processes on each node.
        nodes: machines.

    Raises:
        XkdError: several nodes, and no environment variables that tell them apart.
    """
    if devices * nodes == 1 or is_launched():
        return
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={devices}"]
    command += ["--standalone"] if nodes == 1 else _rendezvous(nodes)
    # torchrun would give each process a single thread.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // devices, 1)))
    sys.stdout.flush()
    os.execv(sys.executable, [*command, "-m", "distill", *arguments])


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


def _rendezvous(nodes: int) -> list[str]:
    rank = os.environ.get("NODE_RANK") or os.environ.get("SLURM_NODEID")
    address = os.environ.get("MASTER_ADDR") or os.environ.get("SLURM_LAUNCH_NODE_IPADDR")
    if rank is None or address is None:
        raise XkdError(
            f"--nodes: {nodes} found, and neither NODE_RANK with MASTER_ADDR nor Slurm's variables say which node this "
            "is; set them, or start it through srun"
        )
    port = os.environ.get("MASTER_PORT", _PORT)
    return [f"--nnodes={nodes}", f"--node-rank={rank}", f"--master-addr={address}", f"--master-port={port}"]
