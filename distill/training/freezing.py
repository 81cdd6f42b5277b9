"""Parts of a student that do not train: their weights stay, and their batch norms' statistics too."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from distill.training.patterns import parameters_named
from xkd_eval.errors import XkdError


def freeze(network: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Take parameters out of the training.

    Args:
        network: changed; its frozen parameters require no gradient.
        patterns: a module's path, for all that lies within, or a glob over parameters' names ("*.bias").

    Returns:
        Paths of the layers with running statistics that have to stay in eval mode: those within a frozen module, and
        those all of whose own parameters are frozen.

    Raises:
        XkdError: a pattern that nothing matches, or all that trains would be frozen.
    """
    norms: list[str] = []
    names = [name for name, _ in network.named_parameters()]
    frozen = {name for pattern in patterns for name in parameters_named(pattern, network, "student.freeze")}
    if frozen and frozen.issuperset(names):
        raise XkdError(f"student.freeze: all {len(names)} parameters would be frozen; leave some that train")
    for name, parameter in network.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    for path, module in network.named_modules():
        own = [f"{path}.{name}".removeprefix(".") for name, _ in module.named_parameters(recurse=False)]
        inside = any(fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*") for pattern in patterns)
        if _has_statistics(module) and (inside or (own and frozen.issuperset(own))):
            norms.append(path)
    return tuple(norms)


def _has_statistics(module: nn.Module) -> bool:
    """Whether it measures its inputs while it trains, as batch norms of any library do."""
    return isinstance(getattr(module, "running_mean", None), Tensor)
