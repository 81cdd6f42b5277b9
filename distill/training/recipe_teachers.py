"""The teachers that a recipe names: loaded, frozen, and read from stored answers where it says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from distill.answers.index import AnswerSource
from distill.answers.shown import shown
from distill.answers.stored import StoredAnswers
from distill.data.joining import class_places
from distill.data.splits import Splits
from distill.data.views import Views
from distill.methods import Method
from distill.methods.base import Requirement
from distill.recipe.networks import TORCH
from distill.recipe.schema import Recipe
from distill.runs.origin import teacher_digest
from distill.training.networks import load_teacher, requirements, taps_of
from distill.training.observed import Normaliser, Observed
from distill.training.teacher_engine import RunBy, asked_engine, run_on_engine
from distill.training.teachers import FrozenTeacher, StoredTeacher, Teachers
from distill.training.trunk import Tap
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.copies import copied
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.engines.bfloat16 import bf16_is_native, to_bfloat16
from xkd_eval.engines.folding import fold_batch_norms
from xkd_eval.errors import XkdError

# What stored answers hold, and what they hold where maps are stored.
_HELD: frozenset[Requirement] = frozenset({"logits", "indices"})
_HELD_IN_MAPS: frozenset[Requirement] = frozenset({"features", "embedding"})


class RecipeTeachers(NamedTuple):
    """The teachers of a training.

    Attributes:
        teachers: None where the recipe names none.
        digests: the `teacher_digest` of each by name.
        views: of the student and of the teachers that look at the images.
    """

    teachers: Teachers | None
    digests: dict[str, str]
    views: Views


class Running(NamedTuple):
    """What computes a frozen teacher.

    Attributes:
        compiled: torch.compile, where no engine does.
        half: in bfloat16, but for its head.
        asked: of `asked_engine`.
        n_images: that it is given at a time, at most.
    """

    compiled: bool = False
    half: bool = False
    asked: RunBy = RunBy()
    n_images: int = 1


def make_teachers(
    recipe: Recipe,
    runs: Path,
    splits: Splits,
    student: Preprocess,
    learning: Sequence[Sequence[Method]],
    device: torch.device,
    layout: torch.memory_format,
    processes: int,
) -> RecipeTeachers:
    """The recipe's teachers, if it has any.

    Args:
        recipe: names them.
        runs: where the runs lie that a teacher's recipe is looked for among.
        splits: of the data.
        student: the student's input convention.
        learning: for each teacher the methods that learn from it, of all students.
        device: of the training.
        layout: memory format of the networks.
        processes: that share a batch.

    Raises:
        XkdError: a teacher that cannot be loaded, or that its engine does not run; or whose stored answers are not
            those that the training needs.
    """
    names = list(recipe.named_teachers)
    needs = [requirements(methods) for methods in learning]
    loaded = [
        load_teacher(teacher, runs, need) for teacher, need in zip(recipe.named_teachers.values(), needs, strict=True)
    ]
    # As they were loaded: what folding makes of it is the machine's.
    digests = [teacher_digest(*pair) for pair in zip(recipe.named_teachers.values(), loaded, strict=True)]
    views = Views.of(student, [one.preprocess for one in loaded])
    made: dict[str, FrozenTeacher | StoredTeacher] = {}
    looking = []
    n_images = -(-min(recipe.batch_size, len(splits.train.labels)) // (processes * recipe.accumulate))
    for place, (name, teacher) in enumerate(recipe.named_teachers.items()):
        taps = taps_of(learning[place], loaded[place], "teacher")
        places = class_places(splits.classes, loaded[place])
        half = teacher.precision == "bf16"
        if half:
            check_bfloat16(loaded[place], needs[place], device)
        asked = asked_engine(teacher, loaded[place], learning[place], device, recipe.precision)
        running = Running(recipe.compile, half, asked, n_images)
        frozen = freeze(loaded[place], needs[place], taps, places, device, layout, running)
        if teacher.stored is None:
            made[name] = frozen
            looking.append(place)
        else:
            answers = StoredAnswers(Path(teacher.stored))
            source = source_of(recipe, splits, views, place, digests[place])
            _check_answers(recipe, answers, source, learning[place], splits)
            with_maps = not needs[place].isdisjoint(_HELD_IN_MAPS)
            changes = splits.train.own_changes(recipe.seed, recipe.data.rounds)
            made[name] = StoredTeacher(frozen, answers, changes.places, with_maps)
    return RecipeTeachers(Teachers(made) if made else None, dict(zip(names, digests, strict=True)), views.only(looking))


def freeze(
    classifier: Classifier,
    needs: frozenset[Requirement],
    taps: Sequence[Tap],
    places: list[int] | None,
    device: torch.device,
    layout: torch.memory_format,
    running: Running,
) -> FrozenTeacher:
    """A classifier as a teacher on a device.

    Args:
        classifier: is changed.
        needs: what its passes must hold.
        taps: whose outputs are kept.
        places: K, where it has each of the data's classes; None where its classes are the data's.
        device: of the training.
        layout: memory format of the network.
        running: what computes it.

    Raises:
        XkdError: the engine that is asked for does not run it.
    """
    # It is only ever run forward, in eval mode: a seventh of its time is its batch norms.
    fold_batch_norms(classifier, random_images(classifier.preprocess, seed=0), {tap.path for tap in taps})
    classifier.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    run = classifier
    if running.half:
        run = copied(classifier)
        to_bfloat16(run.model, [] if run.head is None else run.head.layers)
    if running.asked.engine != TORCH and classifier.head is not None:
        needs |= {"features"}  # whichever losses learn in step: its logits may depend on what else is put out
    observed = Observed(run, needs, taps, trains=False).eval()
    run_by = run_on_engine(observed, running.asked, running.n_images)
    if running.compiled and run_by.engine == TORCH:
        observed.compile()
    taken = layout if run_by.engine == TORCH else torch.contiguous_format
    normalise = Normaliser(classifier.preprocess, taken).to(device)
    indices = None if places is None else torch.tensor(places, device=device)
    differentiable = "input gradients" in needs
    return FrozenTeacher(observed, normalise, differentiable, indices, classifier, half=running.half, run_by=run_by)


def check_bfloat16(classifier: Classifier, needs: frozenset[Requirement], device: torch.device) -> None:
    """Refuse a teacher that cannot run in bfloat16.

    Args:
        classifier: the teacher.
        needs: what its passes must hold.
        device: of the training.

    Raises:
        XkdError: the device does not multiply bfloat16; a graph of a file; a loss that differentiates the teacher.
    """
    advice = "leave it out"
    if not bf16_is_native(device):
        raise XkdError(f"teacher.precision: bf16 found, and {device.type!r} does not multiply bfloat16; {advice}")
    if not needs.isdisjoint(("input gradients", "explanations")):
        raise XkdError(f"teacher.precision: bf16 found, and a loss differentiates the teacher; {advice}")
    if any(isinstance(module, GraphNetwork) for module in classifier.model.modules()):
        raise XkdError(
            f"teacher.precision: bf16 found, and {classifier.name} is run in the precision that its file says; {advice}"
        )


def check_rounds(recipe: Recipe) -> int:
    """How many augmentations of each image are answered to.

    Raises:
        XkdError: no fixed list of them, or images that are mixed with others.
    """
    if recipe.data.rounds is None:
        raise XkdError(
            "data.rounds: missing; stored answers are to a fixed list of augmentations: give how many each image has"
        )
    if recipe.data.mixing:
        key = recipe.data.mixing[0]
        raise XkdError(f"data.{key}: no stored answer is to a mixed image; leave `{key}` or the teacher's `stored` out")
    return recipe.data.rounds


def source_of(recipe: Recipe, splits: Splits, views: Views, teacher: int, digest: str) -> AnswerSource:
    """What the answers of a recipe's teacher are of.

    Args:
        recipe: its augmentation.
        splits: of the data.
        views: of the student and all teachers.
        teacher: number of the teacher among these.
        digest: its `teacher_digest`.
    """
    n_images = splits.train.own_changes(recipe.seed, None).n_all
    return AnswerSource(
        images=splits.trained, n_images=n_images, teacher=digest, shown=shown(recipe.data, views, teacher)
    )


def _check_answers(
    recipe: Recipe, answers: StoredAnswers, source: AnswerSource, methods: Sequence[Method], splits: Splits
) -> None:
    rounds = check_rounds(recipe)
    for method in methods:
        if others := method.requires - _HELD - _HELD_IN_MAPS:
            raise XkdError(
                f"teacher.stored: {method.name} needs the teacher's {min(others)}, which no stored answer holds; leave "
                "`stored` or that loss out"
            )
        if answers.form.maps is None and not method.requires.isdisjoint(_HELD_IN_MAPS):
            raise XkdError(
                f"teacher.stored: {method.name} needs the teacher's maps, and {str(answers.path)!r} holds none; store "
                "them by `xkd-distill store --maps`"
            )
    answers.check(source, splits.classes.count, rounds)
