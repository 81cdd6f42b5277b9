"""The learning rate of every step, as a function of the step alone: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from distill.recipe.optimisation import Constant, Cosine, MultiStep, OneCycle

Schedule = Constant | MultiStep | Cosine | OneCycle


def factor(schedule: Schedule, step: int, steps: int, steps_per_epoch: int) -> float:
    """What the optimiser's learning rate is multiplied by.

    Args:
        schedule: of a recipe.
        step: 0 for the first of the training.
        steps: of the whole training.
        steps_per_epoch: for the warm-up, which rises in proportion to the step and is at 1 in its last.
    """
    if isinstance(schedule, OneCycle):
        return _one_cycle(schedule, step, steps)
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return schedule.warmup_start + (1 - schedule.warmup_start) * ((step + 1) / warmup)
    if isinstance(schedule, MultiStep):
        return schedule.factor ** sum(step >= round(milestone * steps) for milestone in schedule.milestones)
    if isinstance(schedule, Cosine):
        return schedule.final + (1 - schedule.final) * _fall((step - warmup) / max(steps - warmup, 1))
    return 1.0


def _one_cycle(schedule: OneCycle, step: int, steps: int) -> float:
    peak = schedule.rise * steps
    if step < peak:
        return 1 + (schedule.initial - 1) * _fall(step / peak)
    return schedule.final + (1 - schedule.final) * _fall((step - peak) / (steps - peak))


def _fall(progress: float) -> float:
    """Half a cosine: 0 -> 1, 1 -> 0."""
    return (1 + math.cos(math.pi * progress)) / 2
