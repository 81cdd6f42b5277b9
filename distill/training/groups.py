"""Parameters by how fast they learn and whether they decay, as a recipe says."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from distill.recipe.optimisation import Optimiser
from distill.training.blocks import depths
from distill.training.patterns import parameters_named
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading


def parameter_groups(recipe: Optimiser, network: nn.Module, parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """What an optimiser is made of.

    Args:
        recipe: its rates and decays.
        network: the student.
        parameters: its own and those of the methods' adapters, which learn at the whole rate.

    Returns:
        Of the parameters that require a gradient, in their order: "params", and the group's "lr", "weight_decay" and
        "factor", what the schedule's learning rate is multiplied by.

    Raises:
        XkdError: a pattern that matches no parameter that is trained, or a network of which no depth is known.
    """
    factors, spared = _factors(recipe, network), _spared(recipe, network)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            decayed = recipe.decay == "all" or (parameter.ndim > 1 and id(parameter) not in spared)
            groups.setdefault((factors.get(id(parameter), 1.0), decayed), []).append(parameter)
    return [
        {
            "params": members,
            "lr": recipe.learning_rate * factor,
            "weight_decay": recipe.weight_decay if decayed else 0.0,
            "factor": factor,
        }
        for (factor, decayed), members in groups.items()
    ]


def _factors(recipe: Optimiser, network: nn.Module) -> dict[int, float]:
    """Of the learning rate, by the id of a parameter of the network."""
    named = dict(network.named_parameters())
    factors = dict.fromkeys(named, 1.0)
    if recipe.layer_decay is not None:
        found = depths(network)
        highest = max(found.values(), default=0)
        if highest == 0:
            raise XkdError(
                "optimiser.layer_decay: the student has neither a group_matcher as timm's networks have, nor stages; "
                "give its module an attribute `stages`, a tuple of their module paths, or give `rates`"
            )
        for name in named:
            factors[name] *= recipe.layer_decay ** (highest - found.get(name, highest))
    for pattern, factor in recipe.rates.items():
        for name in _matching(pattern, network, named):
            factors[name] *= factor
    return {id(parameter): factors[name] for name, parameter in named.items()}


def _matching(pattern: str, network: nn.Module, named: dict[str, nn.Parameter]) -> list[str]:
    """The names of the parameters that a pattern means, some of which train."""
    found = parameters_named(pattern, network, "optimiser.rates")
    if not any(named[name].requires_grad for name in found):
        raise XkdError(f"optimiser.rates: {pattern!r} matches no parameter that trains; leave it out")
    return found


def _spared(recipe: Optimiser, network: nn.Module) -> set[int]:
    """The ids of the parameters that timm's networks do not want decayed, such as embeddings of positions."""
    excepted = getattr(network, "no_weight_decay", None)
    if recipe.decay == "all" or not callable(excepted):
        return set()
    with reading("optimiser.decay: the student's no_weight_decay fails", "mend it, or leave decay out"):
        patterns = [str(pattern) for pattern in excepted()]
    return {
        id(parameter)
        for name, parameter in network.named_parameters()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
