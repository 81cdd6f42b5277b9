"""The stages of any network: which modules a method that lists no taps compares, shallow to deep."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from torch import nn

from distill.training.trunk import Output, Tap, Trunk, spread
from xkd_eval.classifiers.outputs import Classifying, listed_stages

# As ResNets and their kin call their stages, at whose stem nobody looks.
_LAYER = re.compile(r"layer[1-9]\d*")
_COLUMN_STAGES = 4  # of a network whose maps are all of one size
_SMALLEST_COLUMN = 3


def stages_of(network: nn.Module, trunk: Trunk) -> tuple[Tap, ...]:
    """A network's stages, each read as a map.

    Its own `stages`, where they are a tuple of module paths; else its `layer1`, `layer2`, ..., as ResNets have them;
    else what timm says of it (`feature_info`), held to what the run shows; else, by the run alone, of each size of map
    the last one that all of the logits come through, the outermost module where several put it out. Of a network whose
    maps are all of one size (ViT), four of its blocks.

    Args:
        network: as it was traced.
        trunk: of it.

    Returns:
        Shallow to deep; empty where there is none.
    """
    if named := listed_stages(network):
        return tuple(tap for path in named if (tap := trunk.tap(path)) is not None)
    if layers := _layers(network, trunk):
        return layers
    listed = _listed_by_timm(network, trunk)
    if listed:
        return tuple(spread(listed, _COLUMN_STAGES) if len({tap.grid for tap in listed}) == 1 else listed)
    return tuple(_found(list(trunk.cuts())))


def _layers(network: nn.Module, trunk: Trunk) -> tuple[Tap, ...]:
    """`layer1`, `layer2`, ..., if there are several and all of them put out a map."""
    prefix, inner = ("network.", network.network) if isinstance(network, Classifying) else ("", network)
    paths = [prefix + name for name, _ in inner.named_children() if _LAYER.fullmatch(name)]
    taps = tuple(tap for path in paths if (tap := trunk.tap(path)) is not None)
    return taps if len(taps) == len(paths) > 1 else ()


def _listed_by_timm(network: nn.Module, trunk: Trunk) -> list[Tap]:
    """The taps of `feature_info` if its modules all run; those of a single place are left out."""
    info = getattr(network, "feature_info", None)
    if not isinstance(info, Sequence) or not info or not all(isinstance(entry, Mapping) for entry in info):
        return []
    taps = [trunk.tap(str(entry.get("module"))) for entry in info]
    known = [tap for tap in taps if tap is not None]
    return [tap for tap in known if math.prod(tap.grid) > 1] if len(known) == len(taps) else []


def _found(cuts: list[tuple[Output, Tap]]) -> list[Tap]:
    sizes: dict[tuple[int, int], list[tuple[Output, Tap]]] = defaultdict(list)
    for output, tap in cuts:
        sizes[tap.grid].append((output, tap))
    if len(sizes) == 1 and (column := _column(cuts)):
        return spread(column, _COLUMN_STAGES)
    stages: list[Tap] = []
    for several in sizes.values():
        outermost = min(_depth(tap) for _, tap in several)
        last = [tap for _, tap in several if _depth(tap) == outermost][-1]
        if not stages or math.prod(last.grid) < math.prod(stages[-1].grid):  # a pool may also enlarge
            stages.append(last)
    return stages


def _column(cuts: list[tuple[Output, Tap]]) -> list[Tap]:
    """The largest family of blocks of one kind beside each other."""
    families: dict[tuple[str, type[nn.Module]], list[Tap]] = defaultdict(list)
    for output, tap in cuts:
        families[output.path.rpartition(".")[0], type(output.module)].append(tap)
    largest = max(families.values(), key=len)
    return largest if len(largest) >= _SMALLEST_COLUMN else []


def _depth(tap: Tap) -> int:
    return tap.path.count(".")
