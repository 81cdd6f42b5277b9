"""From a recipe to everything that a training loop works on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn

from distill.answers.stored import stored_identities
from distill.data.batches import HeldOutImages, TrainingImages
from distill.data.draws import OwnDraws
from distill.data.splits import Splits
from distill.methods import Method
from distill.methods.results import said_of
from distill.recipe.schema import Recipe
from distill.runs.origin import Origin, start_digest
from distill.training.batch_norms import synchronise_batch_norms
from distill.training.checkpointing import checkpoint_stages
from distill.training.checks import (
    check_batch,
    check_compiler,
    check_draws,
    check_held_out,
    check_last_batch,
    check_selection,
    check_teachers,
)
from distill.training.dot import check_two_gradients
from distill.training.lessons import Common, Lessons
from distill.training.memory_format import memory_format_of
from distill.training.networks import build_student, requirements, tap_notes, taps_of
from distill.training.objective import Objective, is_foreign
from distill.training.observed import Normaliser, Observed
from distill.training.optimisers import MovingAverage, create_optimiser
from distill.training.precision import autocast, check_precision, gradient_scaler
from distill.training.reused_head import reuse_head
from distill.training.teacher_answers import SplitName, TeacherAnswers
from distill.training.teachers import Teachers
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.devices import process_state
from xkd_eval.errors import XkdError


@dataclass(frozen=True)
class TrainingSetup:
    """What a training loop works on.

    Attributes:
        recipe: as resolved.
        origin: what the training comes from.
        arguments: that the student's architecture was built with.
        lessons: images and teachers, which students that learn in step have in common.
        objective: student and methods, as one module.
        wrapped: the same as the engine wraps it for several processes.
        optimiser: of student and adapters.
        scaler: of the loss in fp16; does nothing in other precisions.
        average: moving average of the student's weights; None without `ema_decay`.
        normalise: pixels -> the student's input.
        draws: whether a step draws at random, by dropout or in a method: on its first batch it does.
        may_draw: whether one may: it does, or is of code whose later steps may, as with a queue that is empty at first.
        notes: what was decided where the recipe leaves it open, a sentence each.
    """

    recipe: Recipe
    origin: Origin
    arguments: dict[str, Any]
    lessons: Lessons
    objective: Objective
    wrapped: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None
    normalise: Normaliser
    draws: bool
    may_draw: bool
    notes: tuple[str, ...]

    @property
    def accelerator(self) -> Accelerator:
        """See Lessons, for this and the next six."""
        return self.lessons.accelerator

    @property
    def teachers(self) -> Teachers | None:
        return self.lessons.teachers

    @property
    def answers(self) -> TeacherAnswers:
        return self.lessons.answers

    @property
    def splits(self) -> Splits:
        return self.lessons.splits

    @property
    def train(self) -> TrainingImages:
        return self.lessons.train

    @property
    def val(self) -> HeldOutImages | None:
        return self.lessons.val

    @property
    def test(self) -> HeldOutImages:
        return self.lessons.test

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
    return join(recipe, Common([recipe], accelerator_of(device), runs), 0)


def join(recipe: Recipe, common: Common, place: int) -> TrainingSetup:
    """What `set_up` makes, beside others that learn in step.

    Args:
        recipe: as resolved.
        common: to all of them.
        place: of the recipe among theirs.

    Raises:
        XkdError: as `set_up`; a student that cannot share what the others have.
    """
    check_batch(recipe, common.rank.processes)
    if recipe.compile:
        check_compiler(common.accelerator.device)
    with OwnDraws(recipe.seed) as drawn:
        return _set_up(recipe, common, place, drawn)


def _set_up(recipe: Recipe, common: Common, place: int, drawn: OwnDraws) -> TrainingSetup:
    accelerator, rank, splits = common.accelerator, common.rank, common.splits
    methods, choice = common.methods[place], common.choices[place]
    needs = requirements(methods)
    check_teachers(recipe, methods, choice)
    check_two_gradients(recipe, methods, rank.processes)
    check_precision(recipe, accelerator.device, methods)
    check_selection(recipe, splits)
    check_held_out(splits, rank.processes)
    built = build_student(recipe.student, splits.classes, needs)
    built = reuse_head(built, recipe, common.runs, splits.classes, methods)
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
    _tell_classes(methods, splits, accelerator.device)
    objective = Objective(observed, methods, recipe.losses, choice, recipe.epochs)
    lessons = common.lessons(student.preprocess, layout)
    check_last_batch(lessons.train.steps.sizes[-1], rank.processes, recipe, methods)
    origin = Origin(
        recipe=recipe.identity(),
        student=start_digest(recipe.student),
        **splits.identities(),
        teachers=lessons.digests,
        answers=stored_identities(recipe),
        engines={} if lessons.teachers is None else lessons.teachers.engines,
    )
    normalise = Normaliser(student.preprocess, layout).to(accelerator.device)
    with autocast(recipe, accelerator.device):
        batch, passed = next(iter(lessons.batches.at(epoch=0, step=0)))
        if lessons.teachers is not None:
            lessons.teachers.check_finite()
        n_images = lessons.train.n_images
        draws = objective.prepare(drawn, normalise(batch.pixels), passed, batch.labels, batch.indices, n_images)
    check_draws(recipe, draws)
    if recipe.compile:
        objective.student.compile()
    optimiser = create_optimiser(recipe.optimiser, student.model, objective.parameters())
    foreign = is_foreign([objective])
    may_draw = draws or (not recipe.compile and foreign)
    if objective.is_partly_used or (draws and foreign):  # which may leave layers out at random
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)
    wrapped, optimiser = accelerator.prepare(objective, optimiser)
    scaler = gradient_scaler(recipe, accelerator.device)
    chosen = () if lessons.teachers is None else lessons.teachers.notes
    return TrainingSetup(
        *(recipe, origin, built.arguments, lessons, objective, wrapped, optimiser, scaler, average, normalise),
        *(draws, may_draw, (*built.notes, *tap_notes(methods), *chosen)),
    )


def _tell_classes(methods: Sequence[Method], splits: Splits, device: torch.device) -> None:
    """Tell each method how many images that are trained on each class has, and the class of each."""
    labels = torch.tensor(splits.train.labels)
    counts = labels.bincount(minlength=splits.classes.count).to(device)
    for method in methods:
        with said_of(method.name, "fails on the number of images of each class", "mend it"):
            method.see_classes(counts.clone())
        with said_of(method.name, "fails on the classes of the training images", "mend it"):
            method.see_labels(labels.to(device, copy=True))


def accelerator_of(device: str) -> Accelerator:
    """Device and processes of "auto" or "cpu".

    Raises:
        XkdError: another device.
    """
    if device not in ("auto", "cpu"):
        raise XkdError(
            f"device: {device!r} found; expected auto or cpu, and CUDA_VISIBLE_DEVICES to choose among several"
        )
    state = process_state(device)
    accelerator = Accelerator(cpu=state.device.type == "cpu")
    torch.backends.cudnn.benchmark = accelerator.device.type == "cuda"
    return accelerator
