"""From a recipe to everything that a training loop works on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn

from distill.answers.stored import stored_identities
from distill.data.batches import HeldOutImages, ProcessRank, TrainingImages
from distill.data.draws import OwnDraws
from distill.data.loaders import held_out_images, training_images
from distill.data.mixing import mixed_images
from distill.data.splits import Splits, open_splits
from distill.methods import Method
from distill.methods.results import said_of
from distill.recipe.imports import import_modules
from distill.recipe.schema import Recipe
from distill.runs.origin import Origin, start_digest
from distill.training.batch_norms import synchronise_batch_norms
from distill.training.checkpointing import checkpoint_stages
from distill.training.dot import check_two_gradients
from distill.training.memory_format import memory_format_of
from distill.training.networks import build_student, requirements, tap_notes, taps_of
from distill.training.objective import Objective, TeacherChoice, create_methods
from distill.training.observed import Normaliser, Observed
from distill.training.optimisers import MovingAverage, create_optimiser
from distill.training.precision import autocast, check_precision, gradient_scaler
from distill.training.recipe_teachers import make_teachers
from distill.training.teachers import Teachers
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import XkdError

SplitName = Literal["val", "test"]
"""Images that are not trained on."""


@dataclass(frozen=True)
class TrainingSetup:
    """What a training loop works on.

    Attributes:
        recipe: as resolved.
        origin: what the training comes from.
        arguments: that the student's architecture was built with.
        accelerator: devices and processes.
        objective: student and methods, as one module.
        wrapped: the same as the engine wraps it for several processes.
        optimiser: of student and adapters.
        scaler: of the loss in fp16; does nothing in other precisions.
        average: moving average of the student's weights; None without `ema_decay`.
        normalise: pixels -> the student's input.
        teachers: frozen; None where no method needs one.
        splits: of the data, as they lie there.
        train, val, test: images for the student; `val` is None without images to validate on.
        draws: whether a step draws at random, by dropout or in a method: on its first batch it does.
        may_draw: whether one may: it does, or is of code whose later steps may, as with a queue that is empty at first.
        notes: what was decided where the recipe leaves it open, a sentence each.
    """

    recipe: Recipe
    origin: Origin
    arguments: dict[str, Any]
    accelerator: Accelerator
    objective: Objective
    wrapped: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None
    normalise: Normaliser
    teachers: Teachers | None
    splits: Splits
    train: TrainingImages
    val: HeldOutImages | None
    test: HeldOutImages
    draws: bool
    may_draw: bool
    notes: tuple[str, ...]

    @property
    def student(self) -> Classifier:
        """The network that is trained."""
        return self.objective.student.classifier

    @property
    def bare_optimiser(self) -> torch.optim.Optimizer:
        """The optimiser within what the engine wraps around it."""
        return getattr(self.optimiser, "optimizer", self.optimiser)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and saved: the moving average where there is one."""
        return self.student.model if self.average is None else self.average.module

    @property
    def selection(self) -> SplitName:
        """The images that the best epoch is best on."""
        return "test" if self.val is None else "val"

    def autocast(self, cache: bool = True) -> AbstractContextManager[None]:
        """The recipe's precision; `cache` keeps the weights that it has cast until it is left."""
        return autocast(self.recipe, self.accelerator.device, cache)


def set_up(recipe: Recipe, device: str, runs: Path) -> TrainingSetup:
    """Open the data, build and check the networks and the methods.

    Args:
        recipe: as resolved.
        device: "auto" or "cpu".
        runs: where the teacher's run is looked for.

    Raises:
        XkdError: bad input of any kind; the message names it.
    """
    accelerator = accelerator_of(device)
    rank = ProcessRank(accelerator.process_index, accelerator.num_processes)
    _check_batch(recipe, rank.processes)
    if recipe.compile:
        _check_compiler(accelerator.device)
    with OwnDraws(recipe.seed) as drawn:
        return _set_up(recipe, runs, accelerator, rank, drawn)


def _set_up(recipe: Recipe, runs: Path, accelerator: Accelerator, rank: ProcessRank, drawn: OwnDraws) -> TrainingSetup:
    import_modules(recipe)
    methods = create_methods(recipe.losses)
    choice = TeacherChoice(recipe.losses, list(recipe.named_teachers))
    needs = requirements(methods)
    _check_teachers(recipe, methods, choice)
    check_two_gradients(recipe, methods, rank.processes)
    check_precision(recipe, accelerator.device, methods)
    splits = open_splits(recipe)
    _check_selection(recipe, splits)
    _check_held_out(splits, rank.processes)
    built = build_student(recipe.student, splits.classes, needs)
    student = built.classifier
    layout = memory_format_of(recipe, student.model, accelerator.device)
    student.to(device=accelerator.device, memory_format=layout)  # type: ignore[call-overload]
    taps = taps_of(methods, student, "student")
    if recipe.sync_batch_norm:
        synchronise_batch_norms(student.model, accelerator.device, rank.processes)
    average = None if recipe.ema_decay is None else MovingAverage(student.model, recipe.ema_decay)
    if recipe.gradient_checkpointing:
        checkpoint_stages(student.model)
    observed = Observed(student, needs, taps, built.frozen)
    _count_classes(methods, splits, accelerator.device)
    objective = Objective(observed, methods, recipe.losses, choice, recipe.epochs)
    taught = make_teachers(recipe, runs, splits, student.preprocess, methods, choice, accelerator.device, layout)
    teachers = taught.teachers
    origin = Origin(
        recipe=recipe.identity(),
        student=start_digest(recipe.student),
        **splits.identities(),
        teachers=taught.digests,
        answers=stored_identities(recipe),
    )
    with accelerator.main_process_first():  # The first to come decodes the images for all.
        train: TrainingImages = training_images(recipe, splits.train, taught.views, accelerator.device, rank)
        val, test = (
            None if split is None else held_out_images(recipe, split, student.preprocess, accelerator.device, rank)
            for split in (splits.val, splits.test)
        )
    assert test is not None
    train = mixed_images(train, recipe, splits.classes.count, methods, rank)
    normalise = Normaliser(student.preprocess, layout).to(accelerator.device)
    with autocast(recipe, accelerator.device):
        batch = next(iter(train.batches(epoch=0, first_step=0))).micro_batches(recipe.accumulate)[0]
        passed = () if teachers is None else teachers(batch)
        if teachers is not None:
            teachers.check_finite()
        draws = objective.prepare(drawn, normalise(batch.pixels), passed, batch.labels, batch.indices, train.n_images)
    _check_draws(recipe, draws)
    if recipe.compile:
        objective.student.compile()
    optimiser = create_optimiser(recipe.optimiser, student.model, objective.parameters())
    may_draw = draws or (not recipe.compile and objective.is_foreign)
    if objective.is_partly_used or (draws and objective.is_foreign):  # which may leave layers out at random
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)
    wrapped, optimiser = accelerator.prepare(objective, optimiser)
    scaler = gradient_scaler(recipe, accelerator.device)
    return TrainingSetup(
        *(recipe, origin, built.arguments, accelerator, objective, wrapped, optimiser, scaler, average, normalise),
        *(teachers, splits, train, val, test, draws, may_draw, (*built.notes, *tap_notes(methods))),
    )


def _count_classes(methods: Sequence[Method], splits: Splits, device: torch.device) -> None:
    """Tell each method how many images that are trained on each class has."""
    counts = torch.tensor(splits.train.labels).bincount(minlength=splits.classes.count).to(device)
    for method in methods:
        with said_of(method.name, "fails on the number of images of each class", "mend it"):
            method.see_classes(counts.clone())


def accelerator_of(device: str) -> Accelerator:
    """Device and processes of "auto" or "cpu".

    Raises:
        XkdError: another device.
    """
    if device not in ("auto", "cpu"):
        raise XkdError(
            f"device: {device!r} found; expected auto or cpu, and CUDA_VISIBLE_DEVICES to choose among several"
        )
    if not torch.accelerator.is_available():
        device = "cpu"
    accelerator = Accelerator(cpu=device == "cpu")
    torch.backends.cudnn.benchmark = accelerator.device.type == "cuda"
    return accelerator


def _check_batch(recipe: Recipe, processes: int) -> None:
    parts = processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise XkdError(
            f"batch_size: {recipe.batch_size} images cannot be split into {parts} equal parts ({processes} processes "
            f"x accumulate={recipe.accumulate})"
        )


def _check_compiler(device: torch.device) -> None:
    """Without a compiler torch.compile fails only in the first step, and by a page."""
    try:
        torch.compile(torch.neg)(torch.ones(2, device=device))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise XkdError(
            f"compile: torch.compile fails here ({reason}); install what it needs, or leave it out"
        ) from None


def _check_draws(recipe: Recipe, draws: bool) -> None:
    if draws and recipe.compile:
        raise XkdError(
            "compile: the student or a method draws at random, which a compiled network would do by a generator that "
            "all threads share; set compile=false"
        )


def _check_held_out(splits: Splits, processes: int) -> None:
    for name, part in (("validation", splits.val), ("test", splits.test)):
        if part is not None and len(part.labels) < processes:
            raise XkdError(
                f"data: {len(part.labels)} {name} images found for {processes} processes; expected one each: take "
                "fewer processes, or more images"
            )


def _check_selection(recipe: Recipe, splits: Splits) -> None:
    if recipe.select_on_test and splits.val is not None:
        raise XkdError("select_on_test: there are validation images, which select the epoch; leave it out")
    if recipe.patience is not None and splits.val is None:
        raise XkdError(
            "patience: no validation images to tell by when to stop; give `val_split`, or a folder val/ beside train/ "
            "and test/"
        )


def _check_teachers(recipe: Recipe, methods: Sequence[Method], choice: TeacherChoice) -> None:
    distilling = [method for method in methods if method.requires]
    if distilling and not recipe.named_teachers:
        raise XkdError(f"teacher: missing; {distilling[0].name} distils from one")
    choice.check(recipe.losses, methods)
    if recipe.compile and recipe.gradient_checkpointing:
        raise XkdError("compile: gradient_checkpointing is true; expected one of the two")
    if recipe.compile and "input gradients" in requirements(distilling):
        raise XkdError("compile: a method differentiates twice, which torch.compile cannot; set compile=false")
