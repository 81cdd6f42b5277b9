"""Batch norm over the images of all processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate.utils import broadcast
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from xkd_eval.errors import XkdError


def synchronise_batch_norms(network: nn.Module, device: torch.device, processes: int) -> None:
    """Let a network's batch norms see the images of all processes; names and weights stay.

    One process sees all of them already, so nothing changes there.

    Args:
        network: on its device.
        device: of this process.
        processes: of the training.

    Raises:
        XkdError: it has no batch norm, or one of another class than torch's and timm's; or several processes on a CPU.
    """
    from timm.layers import BatchNormAct2d, convert_sync_batchnorm

    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        raise XkdError("sync_batch_norm: the student has no batch norm; leave it out")
    for norm in norms:
        if type(norm) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, BatchNormAct2d):
            raise XkdError(
                f"sync_batch_norm: the student's {type(norm).__name__} is a batch norm of its own, which torch cannot "
                "synchronise; leave it out"
            )
    if processes == 1:
        return
    if device.type == "cpu":
        raise XkdError(
            f"sync_batch_norm: {processes} processes on 'cpu' found; torch synchronises on accelerators alone: "
            "leave it out, or train in one process"
        )
    convert_sync_batchnorm(network)


def broadcast_statistics(networks: Iterable[nn.Module], processes: int) -> None:
    """Have every process normalise by the main one's statistics, which are those that are saved."""
    for network in {id(network): network for network in networks}.values() if processes > 1 else ():
        for buffer in network.buffers():
            buffer.copy_(broadcast(buffer.clone()))
