"""The maps in front of the ReLUs that end a network's stages, and the batch norms that these maps come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from distill.training.stage_maps import stages_of
from distill.training.trunk import Tap, Trunk
from xkd_eval.classifiers.outputs import BEFORE, listed_preactivations

_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def preactivations_of(network: nn.Module, trunk: Trunk) -> tuple[Tap, ...]:
    """A network's stages before their ReLU, each read as a map.

    Its own `preactivations`, where it lists them; else, of each of its stages, what is given to the ReLU within it that
    puts out the same map: in a residual block that is the sum, which no module puts out. A stage that ends otherwise is
    taken as it is.

    Args:
        network: as it was traced.
        trunk: of it.

    Returns:
        Shallow to deep; empty where there is none.
    """
    if listed := listed_preactivations(network):
        return tuple(tap for name in listed if (tap := trunk.tap(name)) is not None)
    return tuple(_before_relu(stage, trunk) or stage for stage in stages_of(network, trunk))


def norms_in_front(taps: Iterable[Tap], trunk: Trunk) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and deviation of the maps that come from a batch norm, by its bias and weight.

    Of a sum it is the norm of its first summand that has one in the same block, as `residual + shortcut` has.

    Args:
        taps: of the network.
        trunk: of it.

    Returns:
        By the taps' names, (C,) each; without those whose norm is not known.
    """
    found = {tap.name: _norm_in_front(tap, trunk) for tap in taps}
    return {name: _moments(norm) for name, norm in found.items() if norm is not None}


def _before_relu(stage: Tap, trunk: Trunk) -> Tap | None:
    made = trunk.outputs[stage.path].values.tensor
    for path, output in trunk.outputs.items():
        is_relu = isinstance(output.module, nn.ReLU | nn.ReLU6)
        if is_relu and output.values.tensor is made and f"{path}.".startswith(f"{stage.path}."):
            return trunk.tap(BEFORE + path)
    return None


def _norm_in_front(tap: Tap, trunk: Trunk) -> nn.Module | None:
    """The batch norm that a map is the output of, or one summand of it."""
    # Others of the same name may do more, as timm's do, which end in an activation.
    norms = {output.values.node: output for output in trunk.outputs.values() if type(output.module) in _NORMS}
    values = trunk.values(tap.name)
    node: Any = None if values is None else values.node
    if node is None:
        return None
    if node in norms:
        return norms[node].module
    block, is_sum = _block(tap, trunk), type(node).__name__.startswith("AddBackward")
    summands = [norms.get(summand) for summand, _ in node.next_functions] if is_sum else []
    return next((norm.module for norm in summands if norm is not None and norm.path.startswith(block)), None)


def _block(tap: Tap, trunk: Trunk) -> str:
    """How the paths begin that lie in the innermost module around the place where a map is made."""
    if tap.before:
        return tap.path.removesuffix(tap.path.rpartition(".")[2])
    made = trunk.outputs[tap.path].values.tensor
    same = [f"{path}." for path, output in trunk.outputs.items() if output.values.tensor is made]
    return max((path for path in same if path.startswith(f"{tap.path}.")), key=len)


def _moments(norm: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm)
    if not norm.affine:
        return torch.zeros(norm.num_features), torch.ones(norm.num_features)
    return norm.bias.detach().clone(), norm.weight.detach().abs()
