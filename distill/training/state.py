"""Where a training is, and all that it continues from: last.pt as plain values and tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from distill.training.means import EpochMeans
from distill.training.optimiser_state import check_tensor, load_optimiser
from distill.training.setup import TrainingSetup
from xkd_eval.foreign import reading, short


@dataclass
class Position:
    """Where a training is, beside the weights.

    Attributes:
        epoch: completed ones.
        step: completed ones of the next epoch.
        seconds: that these steps took.
        history: the metrics of each completed epoch.
        best: those of the best epoch.
        best_file: SHA-256 of its checkpoint; None before the first epoch.
        means: of the losses in the epoch that is under way.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    best_file: str | None = None
    means: EpochMeans = field(default_factory=EpochMeans)


def state_of(setup: TrainingSetup, position: Position) -> dict[str, Any]:
    """Everything that a training continues from."""
    return {
        "origin": setup.origin.model_dump(mode="json"),
        "epoch": position.epoch,
        "step": position.step,
        "seconds": position.seconds,
        "history": position.history,
        "best": position.best,
        "best_file": position.best_file,
        "means": position.means.state(),
        "student": setup.student.model.state_dict(),
        "methods": setup.objective.adapters.state_dict(),
        "optimiser": setup.optimiser.state_dict(),
        "average": None if setup.average is None else setup.average.state_dict(),
        "scaler": setup.scaler.state_dict(),
    }


def restore(setup: TrainingSetup, state: Mapping[str, Any]) -> Position:
    """Put the weights and the optimiser's state back.

    Args:
        setup: of the same recipe.
        state: of `state_of`, its plain values typed.

    Returns:
        Where the training was.

    Raises:
        XkdError: it is of other networks than the recipe's, or its weights are not finite.
    """
    with reading("resume: the state is not one of this recipe", "`overwrite` starts afresh"):
        position = _position(setup, state)
        _load(setup.student.model, state["student"])
        _load(setup.objective.adapters, state["methods"])
        load_optimiser(setup.optimiser, setup.recipe.optimiser, state["optimiser"])
        _load_scaler(setup.scaler, state["scaler"])
        if setup.average is not None:
            _load_average(setup, position, state["average"])
    return position


def _position(setup: TrainingSetup, state: Mapping[str, Any]) -> Position:
    """Where a state is, if a training can be there."""
    epoch, step, history, best, means = (state[name] for name in ("epoch", "step", "history", "best", "means"))
    if epoch > setup.recipe.epochs or step > len(setup.train.steps):
        raise ValueError(f"epoch {epoch}, step {step}: a training of this recipe is never there")
    if [row.get("epoch") for row in history] != list(range(1, epoch + 1)):
        raise ValueError(f"history: {len(history)} epochs found; expected {epoch}")
    score = "test_top1" if setup.val is None else "val_top1"
    if any(row.keys() != history[0].keys() or score not in row for row in history):
        raise ValueError(f"history: expected {score}, and the same keys in each epoch")
    if (best is None) != (state["best_file"] is None) or (best not in history if epoch else best is not None):
        raise ValueError("best: is not among the epochs of the history")
    sums, names = means["sums"], means["names"]
    if means["steps"] != step or (step > 0) != isinstance(sums, Tensor):
        raise ValueError(f"means: of {means['steps']} steps; expected {step}")
    if step and not (sums.shape == (len(names),) and sums.dtype == torch.float32 and bool(sums.isfinite().all())):
        raise ValueError(f"means: no {len(names)} finite numbers")
    return Position(epoch, step, state["seconds"], history, best, state["best_file"], EpochMeans(means))


def _load(module: nn.Module, given: Mapping[str, Any]) -> None:
    """load_state_dict, which checks names and shapes, and would cast other types of number or take any value."""
    parameters = dict(module.named_parameters())
    for name, ours in module.state_dict().items():
        if isinstance(ours, Tensor) and name in given:
            check_tensor(name, given[name], ours)
            if name in parameters and not bool(given[name].isfinite().all()):
                raise ValueError(f"{name} is not finite")
    module.load_state_dict(dict(given))


def _load_average(setup: TrainingSetup, position: Position, given: Mapping[str, Any]) -> None:
    """The moving average, of as many steps as the training has done: they say how fast it goes on."""
    assert setup.average is not None
    _load(setup.average, given)
    steps = position.epoch * len(setup.train.steps) + position.step
    if int(setup.average.n_averaged) != steps:
        raise ValueError(f"average: of {int(setup.average.n_averaged)} steps; expected {steps}")


def _load_scaler(scaler: torch.amp.GradScaler, given: Mapping[str, Any]) -> None:
    """The scale and how long it has held; what it grows by is this release's. Empty but in fp16."""
    ours = scaler.state_dict()
    if given.keys() != ours.keys():
        raise ValueError(f"scaler: {short(sorted(given))} found; expected {sorted(ours)}")
    if not ours:
        return
    scale, held = given["scale"], given["_growth_tracker"]
    if type(scale) is not float or not 0 < scale < math.inf:
        raise ValueError(f"scaler: scale {short(scale)} found; expected a number above 0")
    if type(held) is not int or not 0 <= held < scaler.get_growth_interval():
        raise ValueError(f"scaler: {short(held)} found; expected a number of steps")
    scaler.load_state_dict({**ours, "scale": scale, "_growth_tracker": held})
