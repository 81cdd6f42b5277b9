"""Which trainings can learn in step: of one teacher, on the same batches."""

from __future__ import annotations

import json

from distill.data.draws import OwnDraws
from distill.methods.registry import create_method
from distill.recipe.losses import WeightedMethod
from distill.recipe.networks import TORCH
from distill.recipe.schema import Recipe
from xkd_eval.errors import XkdError

# What of a recipe a student may differ in from those that it learns in step with; of the losses see `lesson_key`.
_OWN = {"losses", "epochs", "optimiser", "schedule", "patience", "ema_decay", "clip_norm", "select_on_test"}
_CHANGING = frozenset({"taps", "input gradients", "explanations"})
_OF_A_LOSS = {"weight", "ramp_epochs", "schedule", "name"}


def lesson_key(recipe: Recipe) -> str | None:
    """By what trainings can learn in step: those of one key share images, batches and teachers.

    They may differ in methods, weights and optimisation. What a teacher's pass holds beside logits and the last map
    changes how it is computed, so methods on other maps, or on its gradients, share with their like alone.

    Returns:
        None of a training that has no teacher, or whose teacher's answers are stored: it has nothing to share. None of
        a compiled student: torch compiles what it sees in a process, so that several would change each other's bits.
    """
    stored = any(teacher.stored for teacher in recipe.named_teachers.values())
    if not recipe.named_teachers or stored or recipe.compile:
        return None
    # What an engine puts out beside the logits may change how it computes them; the last map it always does.
    by_torch = all(teacher.engine == TORCH for teacher in recipe.named_teachers.values())
    changing = _CHANGING if by_torch else _CHANGING | {"embedding"}
    looking = [
        loss.model_dump(mode="json", exclude=_OF_A_LOSS)
        for loss in recipe.losses
        if not _needs(loss).isdisjoint(changing)
    ]
    values = recipe.model_dump(mode="json", exclude=_OWN)
    for teacher in [values["teacher"], *(values["teachers"] or {}).values()]:
        if teacher is not None:
            teacher.pop("expected_top1")
    return json.dumps([values, looking], sort_keys=True)


def _needs(loss: WeightedMethod) -> frozenset[str]:
    """What a method needs of the passes by its options; of one that cannot be made, whatever changes a pass."""
    try:
        with OwnDraws(0):
            return frozenset(create_method(loss.method, **loss.options).requires)
    except XkdError:
        return _CHANGING
