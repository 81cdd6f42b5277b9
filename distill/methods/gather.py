"""The whole batch of a step where each process holds a part of it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.autograd import Function

from xkd_eval.errors import XkdError


def gather_batch(values: Tensor) -> Tensor:
    """All processes' values, in the order of their ranks: (B, ...) on each of N -> (N B, ...) on all.

    The gradient reaches every process's own part, once per process that uses it: when each one back-propagates the same
    loss of the whole batch and the gradients of the parameters are averaged over processes, as DDP does, the result is
    the gradient of that loss.
    """
    if processes() == 1:
        return values
    gathered: Tensor = _Gathered.apply(values.contiguous())
    return gathered


class _Gathered(Function):
    """As torch.distributed.nn's all_gather, which newer torch deprecates for what older torch has not."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(processes())]
        torch.distributed.all_gather(parts, values)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        summed = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(summed)
        return summed.chunk(processes())[torch.distributed.get_rank()]


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
