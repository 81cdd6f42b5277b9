"""Gradient checkpointing (Chen et al., 2016): stages computed once more for their gradient, to the same bits."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from distill.training.blocks import block_paths
from xkd_eval.errors import XkdError


def checkpoint_stages(network: nn.Module) -> None:
    """Keep of each stage but its input in training; all else is computed again when its gradient is.

    The libraries' own switches count a batch twice in the running statistics of batch norm, and hooks on a stage do not
    fire under some of them.

    Args:
        network: its stages' `forward` is wrapped; names, weights and values stay.

    Raises:
        XkdError: no stages are known, or one has a `forward` that is not its class's.
    """
    stages = [part for path in block_paths(network) for part in _called(network.get_submodule(path))]
    stages = [stage for stage in stages if any(stage.children())]  # a single layer has nothing to save
    if not stages:
        raise XkdError(
            "gradient_checkpointing: the student has no stages that are known; give its module an attribute `stages`, "
            "a tuple of their module paths, or leave it out"
        )
    for stage in stages:
        if "forward" in vars(stage):
            raise XkdError("gradient_checkpointing: a stage's forward is not its class's own; leave it out")
        stage.forward = MethodType(_forward, stage)


def _called(stage: nn.Module) -> list[nn.Module]:
    """A stage, or what is in a list of modules, which nobody calls."""
    if isinstance(stage, nn.ModuleList):
        return [part for inner in stage for part in _called(inner)]
    return [stage]


def _forward(stage: nn.Module, *arguments: Any, **options: Any) -> Any:
    """A stage's forward, of which nothing but the input is kept."""
    original = partial(type(stage).forward, stage)
    if not stage.training or not torch.is_grad_enabled():
        return original(*arguments, **options)
    versions = [value._version for value in arguments if isinstance(value, Tensor)]

    def run(*given: Any, **others: Any) -> Any:
        made = original(*given, **others)
        if [value._version for value in given if isinstance(value, Tensor)] != versions:
            raise XkdError("gradient_checkpointing: a stage's input is written to; leave it out, or set inplace=False")
        return made

    # What draws at random is refused by OwnDraws, so there is no generator's state to keep.
    return checkpoint(
        run,
        *arguments,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=partial(_contexts, stage),
        **options,
    )


def _contexts(stage: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _KeptBuffers(stage)


class _KeptBuffers:
    """A module's buffers come out as they went in: a batch has counted in its running statistics already."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._before: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> None:
        self._before = [(buffer, buffer.clone()) for buffer in self._module.buffers()]

    def __exit__(self, *error: object) -> None:
        with torch.no_grad():
            for buffer, value in self._before:
                buffer.copy_(value)
        self._before = []
