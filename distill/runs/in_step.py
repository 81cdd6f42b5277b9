"""Which trainings can learn in step: of one teacher, on the same batches."""

from __future__ import annotations

import json

from distill.methods.registry import METHODS
from distill.recipe.schema import Recipe

# What of a recipe a student may differ in from those that it learns in step with; of the losses see `lesson_key`.
_OWN = {"losses", "epochs", "optimiser", "schedule", "patience", "ema_decay", "clip_norm", "select_on_test"}
_OF_A_LOSS = {"weight", "ramp_epochs", "schedule", "name"}


def lesson_key(recipe: Recipe) -> str | None:
    """By what trainings can learn in step: those of one key share images, batches and teachers.

    They may differ in methods, weights and optimisation. What a teacher's pass holds beside logits and the last map
    changes how it is computed, so methods on other maps, or on its gradients, share with their like alone.

    Returns:
        None of a training that has no teacher, or whose teacher's answers are stored: it has nothing to share.
    """
    if not recipe.named_teachers or any(teacher.stored for teacher in recipe.named_teachers.values()):
        return None
    looking = [
        loss.model_dump(mode="json", exclude=_OF_A_LOSS)
        for loss in recipe.losses
        if not METHODS[loss.method].requires.isdisjoint(("taps", "input gradients", "explanations"))
    ]
    values = recipe.model_dump(mode="json", exclude=_OWN)
    return json.dumps([values, looking], sort_keys=True)
