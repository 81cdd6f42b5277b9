"""The whole batch of a step where each process holds a part of it."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor

from xkd_eval.errors import XkdError


def gather_batch(values: Tensor) -> Tensor:
    """All processes' values, in the order of their ranks: (B, ...) on each of N -> (N B, ...) on all.

    The gradient reaches every process's own part, once per process that uses it: when each one back-propagates the same
    loss of the whole batch and the gradients of the parameters are averaged over processes, as DDP does, the result is
    the gradient of that loss.
    """
    if processes() == 1:
        return values
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(values.contiguous()))


def refuse_several_processes(name: str) -> None:
    """For methods whose state lives in one process.

    Raises:
        XkdError: there are several.
    """
    if processes() > 1:
        raise XkdError(f"{name}: {processes()} processes found; its memory lives in one, so train on one device")


def processes() -> int:
    """How many there are."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()
