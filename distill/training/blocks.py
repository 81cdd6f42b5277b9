"""The parts that a network runs one after the other, shallow to deep, by what libraries call them."""

from __future__ import annotations

import re

from torch import nn

from xkd_eval.classifiers.outputs import listed_stages
from xkd_eval.foreign import reading

# What torchvision, timm and others call the parts that a network runs one after the other.
_CONTAINERS = ("stages", "blocks", "layers", "features", "trunk_output", "encoder.layers")
_NUMBERED = re.compile(r"(layer|stage|block|s)_?\d+")


def block_paths(network: nn.Module) -> tuple[str, ...]:
    """Module paths of a network's stages, or of its blocks where it knows no stages: whole parts, with their weights.

    Unlike `stages_of` it looks at names alone, and says nothing of maps.

    Args:
        network: lists them as `stages`, or is built as the libraries build theirs.

    Returns:
        Shallow to deep; () where there is nothing to go by.
    """
    listed, modules = listed_stages(network), dict(network.named_modules())
    if listed and all(path in modules for path in listed):
        return listed
    for path in _CONTAINERS:
        container = modules.get(path)
        if isinstance(container, nn.Sequential | nn.ModuleList) and len(container) > 1:
            return tuple(f"{path}.{name}" for name, _ in container.named_children())
    numbered = tuple(name for name, _ in network.named_children() if _NUMBERED.fullmatch(name))
    return numbered if len(numbered) > 1 else ()


def depths(network: nn.Module) -> dict[str, int]:
    """How many layers lie below each parameter, by its name: by timm's own grouping where the network has one, else by
    the stages, the stem below and the head above them.

    Returns:
        From 0 upwards; {} where there is nothing to go by.

    Raises:
        XkdError: the network's own grouping fails.
    """
    matcher = getattr(network, "group_matcher", None)
    if callable(matcher):
        from timm.models import group_parameters

        with reading("optimiser.layer_decay: the student's group_matcher fails", "mend it, or give `rates`"):
            return group_parameters(network, matcher(coarse=False), reverse=True)
    stages, found, depth = block_paths(network), {}, 0
    for name, _ in network.named_parameters():
        within = [number for number, path in enumerate(stages, start=1) if name.startswith(f"{path}.")]
        # Parameters are listed in the order in which the network was built.
        depth = within[0] if within else (0 if depth == 0 else len(stages) + 1)
        found[name] = depth
    ranks = {depth: rank for rank, depth in enumerate(sorted(set(found.values())))}  # some stages have no parameters
    return {name: ranks[depth] for name, depth in found.items()} if stages else {}
