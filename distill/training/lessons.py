"""What students that learn in step have in common: the images, and frozen teachers that are asked once a batch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from distill.data.augmentation import derive_seed
from distill.data.batches import HeldOutImages, LabelledBatch, ProcessRank, TrainingImages
from distill.data.draws import OwnDraws
from distill.data.loaders import held_out_images, training_images
from distill.data.mixing import mixed_images
from distill.data.splits import Splits, open_splits
from distill.methods import Method, Pass
from distill.recipe.imports import import_modules
from distill.recipe.schema import Recipe
from distill.training.objective import TeacherChoice, create_methods, is_foreign
from distill.training.precision import autocast
from distill.training.recipe_teachers import make_teachers
from distill.training.taught import Consecutive, TaughtBatch
from distill.training.teacher_answers import TeacherAnswers
from distill.training.teachers import Teachers
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError


@dataclass(frozen=True)
class Lessons:
    """What students that differ in methods, weights and optimisation alone have in common.

    Attributes:
        accelerator: devices and processes.
        splits: of the data, as they lie there.
        teachers: frozen; None where no method needs one.
        digests: the `teacher_digest` of each by name.
        layout: memory format of the networks.
        train, val, test: images for the students; `val` is None without images to validate on.
        answers: of the teachers to images that are not trained on.
        batches: of the training, with what the teachers make of them.
    """

    accelerator: Accelerator
    splits: Splits
    teachers: Teachers | None
    digests: dict[str, str]
    layout: torch.memory_format
    train: TrainingImages
    val: HeldOutImages | None
    test: HeldOutImages
    answers: TeacherAnswers
    batches: Consecutive[TaughtBatch]


class Common:
    """The lessons of some students, made when the first of them is built.

    Args:
        recipes: of one `lesson_key` (runs/in_step.py), or one alone.
        accelerator: devices and processes.
        runs: where a teacher's run is looked for.

    Attributes:
        accelerator, runs: as given.
        rank: this process's.
        methods: of each recipe, still without what depends on the networks' shapes.

    Raises:
        XkdError: unknown method or option; a teacher that no method reads.
    """

    def __init__(self, recipes: Sequence[Recipe], accelerator: Accelerator, runs: Path) -> None:
        self.accelerator = accelerator
        self.rank = ProcessRank(accelerator.process_index, accelerator.num_processes)
        self._recipes = tuple(recipes)
        self.runs = runs
        self._splits: Splits | None = None
        self._lessons: tuple[Preprocess, Lessons] | None = None
        self.methods = [_methods(recipe) for recipe in recipes]
        self.choices = [TeacherChoice(recipe.losses, list(recipe.named_teachers)) for recipe in recipes]

    @property
    def splits(self) -> Splits:
        """The data, opened once."""
        if self._splits is None:
            self._splits = open_splits(self._recipes[0])
        return self._splits

    def lessons(self, student: Preprocess, layout: torch.memory_format) -> Lessons:
        """What the students share.

        Args:
            student: a student's input convention.
            layout: memory format of its network.

        Raises:
            XkdError: bad data, or a teacher that cannot be loaded; a student whose input or layout is not the others'.
        """
        if self._lessons is None:
            # A student's draws must not depend on which teachers are built beside it.
            with OwnDraws(derive_seed(self._recipes[0].seed, "teachers")):
                self._lessons = student, self._made(student, layout)
        its, lessons = self._lessons
        if (its, lessons.layout) != (student, layout):
            raise XkdError("student: its input or memory layout is not that of those that learn in step with it")
        return lessons

    def _made(self, student: Preprocess, layout: torch.memory_format) -> Lessons:
        recipe, accelerator, rank, splits = self._recipes[0], self.accelerator, self.rank, self.splits
        device = accelerator.device
        learning = [
            [
                method
                for methods, choice in zip(self.methods, self.choices, strict=True)
                for method in choice.methods_of(place, methods)
            ]
            for place in range(len(recipe.named_teachers))
        ]
        taught = make_teachers(recipe, self.runs, splits, student, learning, device, layout, rank.processes)
        with accelerator.main_process_first():  # The first to come decodes the images for all.
            train: TrainingImages = training_images(recipe, splits.train, taught.views, device, rank)
            val, test = (
                None if split is None else held_out_images(recipe, split, student, device, rank)
                for split in (splits.val, splits.test)
            )
        assert test is not None
        methods = [method for methods in self.methods for method in methods]
        train = mixed_images(train, recipe, splits.classes.count, methods, rank)
        return Lessons(
            *(accelerator, splits, taught.teachers, taught.digests, layout, train, val, test),
            answers=TeacherAnswers(recipe, taught.teachers, splits, accelerator),
            batches=Consecutive(_Teaching(recipe, train, taught.teachers, self.rank, device, len(self._recipes) > 1)),
        )


class _Teaching:
    """The batches of an epoch from a step on, each with what the teachers make of it."""

    def __init__(
        self,
        recipe: Recipe,
        images: TrainingImages,
        teachers: Teachers | None,
        rank: ProcessRank,
        device: torch.device,
        shared: bool,
    ) -> None:
        self._recipe, self._images, self._teachers = recipe, images, teachers
        self._rank, self._device, self._shared = rank, device, shared
        self._draws = teachers is not None and is_foreign(teachers.networks())

    def __call__(self, epoch: int, first_step: int) -> Iterator[TaughtBatch]:
        batches = self._images.batches(epoch, first_step)
        step = first_step
        while True:
            began = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                return
            parts = batch.micro_batches(self._recipe.accumulate)
            yield TaughtBatch(parts, partial(self._teach, (epoch, step)), self._shared, time.monotonic() - began)
            step += 1

    def _teach(self, place: tuple[int, int], part: LabelledBatch) -> tuple[Pass, ...]:
        if self._teachers is None:
            return ()
        # A teacher that draws does so by itself, whoever learns from it.
        seed = derive_seed(self._recipe.seed, *place, self._rank.rank, "teachers")
        with OwnDraws(seed) if self._draws else nullcontext(), autocast(self._recipe, self._device):
            return self._teachers(part)


def _methods(recipe: Recipe) -> list[Method]:
    import_modules(recipe)
    # By draws of their own, which are the same whoever learns in step.
    with OwnDraws(derive_seed(recipe.seed, "methods")):
        return create_methods(recipe.losses)
