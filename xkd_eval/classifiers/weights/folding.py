"""Weights that are stored as what they are computed from, pruned or normalised, computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from xkd_eval.wording import counted


@dataclass(frozen=True)
class Folded:
    """A state dict in which weights stand for what they were computed from.

    Attributes:
        tensors: by name.
        pruned: names of those that a mask has been multiplied into.
        normalised: names of those that have been put together from direction and length.
    """

    tensors: dict[str, Tensor]
    pruned: frozenset[str]
    normalised: frozenset[str]

    def notes(self, argument: str, names: Mapping[str, Tensor]) -> tuple[str, ...]:
        """What is to be said of some of the tensors, a sentence each.

        Args:
            argument: the option that named the file.
            names: of those that were taken.
        """
        pruned = [self.tensors[name] for name in names if name in self.pruned]
        normalised = [name for name in names if name in self.normalised]
        notes = []
        if pruned:
            zeros = sum(int((tensor == 0).sum()) for tensor in pruned)
            share = 100 * zeros / max(1, sum(tensor.numel() for tensor in pruned))
            notes.append(
                f"{argument}: the masks of torch.nn.utils.prune were multiplied into {counted(len(pruned), 'tensor')}; "
                f"{share:.1f} % of their values are zero"
            )
        if normalised:
            notes.append(
                f"{argument}: {counted(len(normalised), 'tensor')} of weight_norm were computed from the length and "
                "direction that are stored"
            )
        return tuple(notes)


def folded(state_dict: Mapping[str, Tensor], is_wanted: Callable[[str], bool]) -> Folded:
    """Compute weights from what pruning (X_orig, X_mask) and weight_norm (X_g, X_v; original0, original1) store.

    Args:
        state_dict: as the file has it.
        is_wanted: whether the network has a tensor of a name, whatever stands before it.

    Returns:
        Of the tensors that the network has only as a whole, the whole; every other as it was.
    """
    tensors = dict(state_dict)
    found: dict[str, set[str]] = {"pruned": set(), "normalised": set()}
    for name in state_dict:
        for kind, first, second, whole in _pairs(name):
            if second in tensors and first in tensors and whole not in tensors:
                value = _whole(kind, tensors[first], tensors[second])
                if value is not None and is_wanted(whole) and not is_wanted(first):
                    del tensors[first], tensors[second]
                    tensors[whole] = value
                    found[kind].add(whole)
    return Folded(tensors, frozenset(found["pruned"]), frozenset(found["normalised"]))


def _pairs(name: str) -> list[tuple[str, str, str, str]]:
    """Kind, both parts, and the whole, of which a name may be the first part."""
    if name.endswith("_orig"):
        whole = name.removesuffix("_orig")
        return [("pruned", name, f"{whole}_mask", whole)]
    if name.endswith("_g"):
        whole = name.removesuffix("_g")
        return [("normalised", name, f"{whole}_v", whole)]
    path, _, last = name.rpartition(".")
    if last == "original0":
        before, marker, tensor = path.rpartition("parametrizations.")
        return [("normalised", name, f"{path}.original1", f"{before}{tensor}")] if marker else []
    return []


def _whole(kind: str, first: Tensor, second: Tensor) -> Tensor | None:
    if kind == "pruned":
        return first * second.to(first.dtype) if first.shape == second.shape else None
    length, direction = first, second
    if not length.is_floating_point() or not direction.is_floating_point():
        return None
    if length.ndim == 0:
        return torch._weight_norm(direction, length, -1)
    # The dimension that the lengths are of; where several have one entry they come to the same.
    kept = (d for d in range(direction.ndim) if length.shape == _ones_but(direction, d))
    dimension = next(kept, None)
    return None if dimension is None else torch._weight_norm(direction, length, dimension)


def _ones_but(tensor: Tensor, dimension: int) -> torch.Size:
    return torch.Size(size if place == dimension else 1 for place, size in enumerate(tensor.shape))
