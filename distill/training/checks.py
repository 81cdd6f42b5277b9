"""What of a recipe is refused before a training: settings that each are right, and together are not."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from distill.data.splits import Splits
from distill.methods import Method
from distill.recipe.schema import Recipe
from distill.training.networks import requirements
from distill.training.objective import TeacherChoice
from xkd_eval.errors import XkdError
from xkd_eval.wording import counted


def check_batch(recipe: Recipe, processes: int) -> None:
    """A batch is split into equal parts."""
    parts = processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise XkdError(
            f"batch_size: {recipe.batch_size} images cannot be split into {parts} equal parts ({processes} processes "
            f"x accumulate={recipe.accumulate})"
        )


def check_last_batch(size: int, processes: int, recipe: Recipe, methods: Sequence[Method]) -> None:
    """The others are tried before the training; the last is not."""
    for method in methods:
        images = size // recipe.accumulate // (1 if method.gathers else processes)
        if images < method.needs_images:
            raise XkdError(
                f"batch_size: an epoch's last batch has {counted(images, 'image')} at once, and {method.name} needs "
                f"{method.needs_images}; set data.drop_last=true, or another batch_size"
            )


def check_compiler(device: torch.device) -> None:
    """Without a compiler torch.compile fails only in the first step, and by a page."""
    try:
        torch.compile(torch.neg)(torch.ones(2, device=device))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise XkdError(
            f"compile: torch.compile fails here ({reason}); install what it needs, or leave it out"
        ) from None


def check_draws(recipe: Recipe, draws: bool) -> None:
    """A compiled network must not draw."""
    if draws and recipe.compile:
        raise XkdError(
            "compile: the student or a method draws at random, which a compiled network would do by a generator that "
            "all threads share; set compile=false"
        )


def check_held_out(splits: Splits, processes: int) -> None:
    """Each process has images to evaluate on."""
    for name, part in (("validation", splits.val), ("test", splits.test)):
        if part is not None and len(part.labels) < processes:
            raise XkdError(
                f"data: {len(part.labels)} {name} images found for {processes} processes; expected one each: take "
                "fewer processes, or more images"
            )


def check_selection(recipe: Recipe, splits: Splits) -> None:
    """What selects the epoch is there."""
    if recipe.select_on_test and splits.val is not None:
        raise XkdError("select_on_test: there are validation images, which select the epoch; leave it out")
    if recipe.patience is not None and splits.val is None:
        raise XkdError(
            "patience: no validation images to tell by when to stop; give `val_split`, or a folder val/ beside train/ "
            "and test/"
        )


def check_teachers(recipe: Recipe, methods: Sequence[Method], choice: TeacherChoice) -> None:
    """A loss that distils has a teacher, and reads what it gives."""
    distilling = [method for method in methods if method.requires]
    if distilling and not recipe.named_teachers:
        raise XkdError(f"teacher: missing; {distilling[0].name} distils from one")
    choice.check(recipe.losses, methods)
    if recipe.compile and recipe.gradient_checkpointing:
        raise XkdError("compile: gradient_checkpointing is true; expected one of the two")
    if recipe.compile and "input gradients" in requirements(distilling):
        raise XkdError("compile: a method differentiates twice, which torch.compile cannot; set compile=false")
