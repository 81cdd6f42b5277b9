"""Which device a run uses, and what it has."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, TypeVar

import torch

from xkd_eval.errors import XkdError

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")


def process_state(device: str = "auto") -> PartialState:
    """This process's place among those that torchrun, Slurm or `accelerate launch` started together.

    Args:
        device: as for `resolve_device`.

    Returns:
        Accelerate's state: `device`, `num_processes`, `process_index`, `is_main_process`, `wait_for_everyone()`.
    """
    from accelerate import PartialState
    from torch import distributed

    grouped = distributed.is_initialized()
    # Accelerate lets processes without an accelerator find each other only when it is told that they have none.
    on_cpu = device == "cpu" or not torch.accelerator.is_available()
    state = PartialState(cpu=on_cpu)
    if state.num_processes == 1 and on_cpu != (state.device.type == "cpu"):
        # It keeps to what the first call in a process asks for, which may be another one's.
        state.device = torch.device("cpu") if on_cpu else state.default_device
    if state.num_processes > 1 and not grouped:
        # gloo's threads would abort a process that exits with its group.
        atexit.register(_leave_group)
    return state


def of_first_process(value: T) -> T:
    """What the first process of a group has for a value; every process has to ask."""
    from accelerate.utils import broadcast_object_list

    found: T = broadcast_object_list([value])[0]
    return found


def of_all_processes(value: T) -> list[T]:
    """What each process of a group has for a value; every process has to ask."""
    from accelerate.utils import gather_object

    return list(gather_object([value]))


def free_memory(device: torch.device) -> int:
    """Bytes of an accelerator's memory that can be had, with what torch keeps for later; 0 where it does not say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        return torch.accelerator.get_memory_info(device)[0]
    except RuntimeError:  # a backend that has no answer
        return 0


def _leave_group() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A CPU's tensor on a device. Out of pinned memory, a copy to CUDA is not waited for; what reads it comes after."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def resolve_device(name: str) -> torch.device:
    """The device that a name means, checked to be there.

    Args:
        name: "auto", this process's accelerator, else the CPU; or torch's own, such as "cpu", "cuda" or "cuda:1".

    Raises:
        XkdError: no such device on this machine.
    """
    asked = str(process_state().device) if name == "auto" else name
    try:
        probe = torch.zeros(1, device=torch.device(asked))
        probe.item()  # "meta" can be allocated on and not computed on
    except (RuntimeError, AssertionError, ValueError) as error:
        found = f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "no CUDA device"
        raise XkdError(
            f"device: {name!r} is not available ({found} here); expected auto, cpu, cuda or cuda:N"
        ) from error
    return probe.device  # "cuda" with its index, as the tensors there say it
