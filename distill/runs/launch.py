"""Several processes for one training: a file of trainings, handed to the processes of torchrun."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from distill.runs.interruption import TrainingInterruptedError
from distill.runs.job import RUNNER, TrainingJob, write_jobs
from xkd_eval.launch import InterruptedProcessesError
from xkd_eval.launch import launch as launch_processes


def launch(jobs: Sequence[TrainingJob], devices: int, nodes: int) -> None:
    """Make trainings one after the other, each by several processes; see `xkd_eval.launch.launch`.

    Args:
        jobs: trainings.
        devices: processes on each node.
        nodes: machines.

    Raises:
        TrainingInterruptedError: by Ctrl-C or SIGTERM; the state is saved.
        XkdError: what a process refused, or how it died; several nodes, and no environment variables that tell them
            apart.
    """
    with tempfile.TemporaryDirectory(prefix="xkd-distill-") as folder:
        file = Path(folder) / "jobs.yaml"
        write_jobs(jobs, file)
        try:
            launch_processes(["-m", RUNNER, str(file)], devices, nodes)
        except InterruptedProcessesError as error:
            said = error.said or "stopped before the first step; nothing was saved"
            raise TrainingInterruptedError(said, error.number) from None


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
