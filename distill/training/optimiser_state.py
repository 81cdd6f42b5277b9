"""What an optimiser continues from, held to what one of its kind keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.recipe.optimisation import Optimiser
from distill.training.optimisers import optimiser_of
from xkd_eval.foreign import short


def load_optimiser(optimiser: torch.optim.Optimizer, recipe: Optimiser, given: Mapping[str, Any]) -> None:
    """Put an optimiser's moments and counts back; rates and decays stay the recipe's.

    Args:
        optimiser: of the recipe.
        recipe: of the optimiser.
        given: `state_dict` of one.

    Raises:
        ValueError: it is of other parameters or another kind of optimiser, or its values are not finite.
    """
    ours = optimiser.state_dict()["param_groups"]
    if [group["params"] for group in given["param_groups"]] != [group["params"] for group in ours]:
        raise ValueError("optimiser: of other parameters")
    of_parameter, of_group = _kept_by(recipe)
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for number, values in given["state"].items():
        _check(values, of_parameter, parameters[number])
    groups = []
    for group, other in zip(ours, given["param_groups"], strict=True):
        kept = {name: other[name] for name in of_group if name in other}
        if given["state"]:  # before the first step there is none
            _check(kept, of_group, None)
        groups.append({**group, **kept})
    optimiser.load_state_dict({"state": given["state"], "param_groups": groups})


def check_tensor(name: str, given: Any, ours: Tensor) -> None:
    """Raise ValueError for anything but a tensor of the same shape and type of number."""
    if not isinstance(given, Tensor) or given.dtype != ours.dtype or given.shape != ours.shape:
        found = f"{tuple(given.shape)} {given.dtype}" if isinstance(given, Tensor) else short(given)
        raise ValueError(f"{name}: {found} found; expected {tuple(ours.shape)} {ours.dtype}")


def _kept_by(recipe: Optimiser) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an optimiser has after a step on a matrix, by name: of a parameter, and of a group beside its settings."""
    parameter = nn.Parameter(torch.ones(2, 3))
    optimiser = optimiser_of(recipe, [{"params": [parameter]}])
    settings = set(optimiser.param_groups[0])
    parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    group = optimiser.param_groups[0]
    kept = {name: "moment" if _is_moment(value) else value for name, value in optimiser.state[parameter].items()}
    return kept, {name: value for name, value in group.items() if name not in settings}


def _is_moment(value: Any) -> bool:
    return isinstance(value, Tensor) and value.shape == (2, 3)


def _check(given: Mapping[str, Any], expected: Mapping[str, Any], parameter: Tensor | None) -> None:
    """Raise ValueError where values are not of the kinds of the expected ones."""
    if set(given) != set(expected):
        raise ValueError(f"optimiser: {short(sorted(given))} found for a parameter; expected {sorted(expected)}")
    for name, kind in expected.items():
        value = given[name]
        if isinstance(kind, str):
            assert parameter is not None
            check_tensor(name, value, parameter)
        elif isinstance(kind, Tensor):
            check_tensor(name, value, kind)
        elif type(value) is not type(kind):
            raise ValueError(f"optimiser: {name} {short(value)} found; expected {type(kind).__name__}")
        if value is not None and not _is_finite(value):
            raise ValueError(f"optimiser: {name} is not finite")
        if name == "step" and not 1 <= value < math.inf:
            raise ValueError(f"optimiser: step {short(value)} found; expected a number of steps")


def _is_finite(value: Tensor | float) -> bool:
    return bool(value.isfinite().all()) if isinstance(value, Tensor) else math.isfinite(value)
