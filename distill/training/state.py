"""Where a training is, and all that it continues from: last.pt as plain values and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distill.training.means import EpochMeans
from distill.training.setup import TrainingSetup
from xkd_eval.errors import XkdError


@dataclass
class Position:
    """Where a training is, beside the weights.

    Attributes:
        epoch: completed ones.
        step: completed ones of the next epoch.
        history: the metrics of each completed epoch.
        best: those of the best epoch.
        means: of the losses in the epoch that is under way.
    """

    epoch: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    means: EpochMeans = field(default_factory=EpochMeans)


def state_of(setup: TrainingSetup, position: Position) -> dict[str, Any]:
    """Everything that a training continues from."""
    return {
        "recipe": setup.recipe.identity(),
        "teacher": None if setup.teacher is None else setup.teacher.classifier.digest(),
        "epoch": position.epoch,
        "step": position.step,
        "history": position.history,
        "best": position.best,
        "means": position.means.state(),
        "student": setup.student.model.state_dict(),
        "methods": setup.objective.adapters.state_dict(),
        "optimiser": setup.optimiser.state_dict(),
        "average": None if setup.average is None else setup.average.state_dict(),
    }


def restore(setup: TrainingSetup, state: Mapping[str, Any]) -> Position:
    """Put the weights and the optimiser's state back.

    Args:
        setup: of the same recipe.
        state: of `state_of`.

    Returns:
        Where the training was.

    Raises:
        XkdError: it was taught by another teacher.
    """
    if setup.teacher is not None and state["teacher"] != setup.teacher.classifier.digest():
        raise XkdError("output: holds a run with another teacher; `overwrite` starts afresh")
    setup.student.model.load_state_dict(state["student"])
    setup.objective.adapters.load_state_dict(state["methods"])
    setup.optimiser.load_state_dict(state["optimiser"])
    if setup.average is not None:
        setup.average.load_state_dict(state["average"])
    return Position(state["epoch"], state["step"], state["history"], state["best"], EpochMeans(state["means"]))
