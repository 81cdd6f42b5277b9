"""store_answers: what a teacher answers to all training images, stored for any number of students."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from distill.answers.folder import AnswerFolder
from distill.answers.form import AnswerForm
from distill.answers.index import AnswerSource
from distill.answers.stored import StoredAnswers
from distill.data.batches import ImagesInOrder, LabelledBatch, ProcessRank
from distill.data.draws import OwnDraws
from distill.data.joining import class_places
from distill.data.loaders import held_out_images, training_images
from distill.data.splits import Splits, open_splits
from distill.data.views import Views
from distill.methods.base import Requirement
from distill.recipe.files import as_recipe
from distill.recipe.imports import import_modules
from distill.recipe.networks import TORCH
from distill.recipe.schema import Recipe
from distill.runs.directory import hold
from distill.runs.origin import teacher_digest
from distill.runs.teachers import called, told_of_teacher
from distill.students.scores import score
from distill.training.memory_format import memory_format_of
from distill.training.networks import load_teacher, student_preprocess
from distill.training.precision import autocast, check_precision, products
from distill.training.recipe_teachers import Running, check_rounds, freeze, source_of
from distill.training.setup import accelerator_of
from distill.training.start import read_start
from distill.training.teacher_answers import AT_ONCE, SplitName, refuse_guessing
from distill.training.teachers import FrozenTeacher
from xkd_eval.ambient import plain_torch
from xkd_eval.arguments import Within, public
from xkd_eval.engines.eager import prepare
from xkd_eval.engines.plan import AUTO
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short
from xkd_eval.registry import nearest

_LOGITS: frozenset[Requirement] = frozenset({"logits"})
_WITH_MAPS: frozenset[Requirement] = frozenset({"logits", "features"})


@dataclass(frozen=True)
class StoringPoint:
    """How far answers are stored: before the first, and after each batch of images.

    Attributes:
        images: answered to, over all rounds, those of former sittings included.
        total_images: in all rounds.
        rounds: how many there are to be.
        bytes: that the files of all rounds have in the end.
        bytes_due: of those that are not there yet.
    """

    images: int
    total_images: int
    rounds: int
    bytes: int
    bytes_due: int


@public()
@plain_torch()
@torch.inference_mode(False)
def store_answers(
    recipe: Recipe | str | Path | Mapping[str, Any],
    output: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    teacher_name: str | None = None,
    top_k: Annotated[int, Within(1)] | Literal["all"] = 10,
    maps: bool = False,
    device: str = "auto",
    runs: str | Path = "runs",
    force: bool = False,
    progress: Callable[[StoringPoint], None] | None = None,
) -> StoredAnswers:
    """Store what a recipe's teacher answers to each training image in each of `data.rounds` augmentations.

    Trainings whose teacher has the folder as `stored` read the answers there instead of running the teacher (fast
    pretraining distillation, Wu et al., ECCV 2022). Images that a training holds out are answered to, too, so that
    students of any seed and `val_split` share the folder. Where an earlier call was killed, or asked for fewer rounds,
    the rounds that are there are kept.

    Args:
        recipe: as for `train`: its data, augmentation, teacher and precision; of the student the input size.
        output: the folder; by default the teacher's `stored`.
        overrides: "key=value" texts that change the recipe, as for `train`.
        teacher_name: which of several `teachers`.
        top_k: how many of the most probable classes are stored of each answer, with the rest spread evenly over the
            others; "all" stores all logits, as is done where there are no more classes.
        maps: store the last map, too, for losses that compare maps or embeddings.
        device: "auto" or "cpu".
        runs: where the trainings of other recipes lie, for a teacher that is named by its recipe.
        force: store the answers of a teacher that is not surely better than guessing on images that are not trained
            on, too; once a round is there, it is not asked again.
        progress: called with a StoringPoint before the first batch and after each.

    Returns:
        The folder, with all rounds.

    Raises:
        XkdError: bad input; no room on the disk, or a teacher that guesses, before the work; a folder that holds other
            answers.

    Example:
        >>> import distill
        >>> changes = ["data.images=96", "data.rounds=2", "teacher.model=embedded/teacher", "teacher.stored=answers"]
        >>> stored = distill.store_answers("quickstart/kd", overrides=changes, top_k=3, device="cpu")
        >>> stored.rounds, stored.source.n_images, stored.bytes
        (2, 96, 2496)
    """
    resolved = as_recipe(recipe, overrides)
    import_modules(resolved)
    rounds = check_rounds(resolved)
    name = _chosen(resolved, teacher_name)
    folder = output if output is not None else resolved.named_teachers[name].stored
    if folder is None:
        raise XkdError("output: missing; give the folder, or the teacher's `stored`")
    accelerator = accelerator_of(device)
    if accelerator.num_processes > 1:
        raise XkdError(f"device: {accelerator.num_processes} processes found; one stores the answers: start one")
    check_precision(resolved, accelerator.device, [])
    with OwnDraws(resolved.seed):
        job = _job(resolved, name, Path(runs), accelerator.device, top_k, maps)
    with hold(Path(folder)), OwnDraws(resolved.seed):
        written = AnswerFolder(Path(folder), job.source, job.form, resolved.precision)
        written.check_room(rounds)
        if not force and len(written.due(rounds)) == rounds:
            job.check_teacher()
        with plain_torch(products(resolved)):
            _write(written, job, rounds, progress or (lambda point: None))
    return StoredAnswers(Path(folder), "output")


@dataclass(frozen=True)
class _Job:
    """Who answers to which images, and how it is stored."""

    source: AnswerSource
    form: AnswerForm
    images: ImagesInOrder
    ask: Callable[[LabelledBatch], np.ndarray]
    check_teacher: Callable[[], None]


def _chosen(recipe: Recipe, name: str | None) -> str:
    names = list(recipe.named_teachers)
    if not names:
        raise XkdError("teacher: missing; give the one whose answers are stored")
    if name is None and len(names) > 1:
        raise XkdError(f"teacher_name: missing; the recipe's teachers are {', '.join(names)}")
    if name is not None and name not in names:
        raise XkdError(f"teacher_name: {short(name)} found; {nearest(name, names)}")
    return name or names[0]


def _job(recipe: Recipe, name: str, runs: Path, device: torch.device, top_k: int | Literal["all"], maps: bool) -> _Job:
    # All images that any training of the recipe may be on, each as often as others.
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"val_split": 0.0})})
    if recipe.named_teachers[name].precision is not None:
        raise XkdError("teacher.precision: stored answers are of the recipe's precision; leave it out")
    if recipe.named_teachers[name].engine not in (TORCH, AUTO):
        engine = recipe.named_teachers[name].engine
        raise XkdError(f"teacher.engine: {engine} found, and answers are stored by torch; leave it out")
    place = list(recipe.named_teachers).index(name)
    loaded = [load_teacher(teacher, runs, _LOGITS) for teacher in recipe.named_teachers.values()]
    teacher, preprocesses = loaded[place], [one.preprocess for one in loaded]
    told_of_teacher(name, recipe.named_teachers[name], teacher).tell()
    if maps and teacher.head is None:
        raise XkdError(f"maps: {teacher.name} has no CAM head, so which its last map is is not known; leave it out")
    splits = open_splits(recipe)
    start = read_start(recipe.student)
    student = student_preprocess(recipe.student, None if start is None else start.preprocess)
    views = Views.of(student, preprocesses)
    source = source_of(recipe, splits, views, place, teacher_digest(recipe.named_teachers[name], teacher))
    layout = memory_format_of(recipe, teacher.model, device)
    places = class_places(splits.classes, teacher)
    needs = _WITH_MAPS if maps else _LOGITS
    frozen = freeze(teacher, needs, (), places, device, layout, Running(recipe.compile))
    shape = _map_shape(recipe, frozen, device) if maps else None
    stored = None if top_k == "all" or top_k >= splits.classes.count else top_k
    form = AnswerForm(classes=splits.classes.count, top_k=stored, maps=shape)

    def ask(batch: LabelledBatch) -> np.ndarray:
        with autocast(recipe, device):
            passed = frozen(batch.others[0])
        return form.encode(passed.logits, passed.features if maps else None)

    check = partial(_check_teacher, recipe, splits, name, frozen, device)
    images = training_images(recipe, splits.train, views.only([place]), device, ProcessRank())
    return _Job(source, form, images, ask, check)


def _check_teacher(recipe: Recipe, splits: Splits, name: str, frozen: FrozenTeacher, device: torch.device) -> None:
    """Refuse a teacher that is not surely better than guessing, as a training would."""
    teacher, named = frozen.classifier, recipe.named_teachers[name]
    split: SplitName = "test" if splits.val is None else "val"
    labelled = splits.val or splits.test
    prepared = prepare(teacher, device)

    def classify(pixels: Tensor) -> Tensor:
        return frozen.of_the_data(prepared(teacher.preprocess.normalise(pixels)))

    images = held_out_images(recipe, labelled, teacher.preprocess, device, ProcessRank())
    top1 = score(classify, images.batches(AT_ONCE)).top1
    told = told_of_teacher(name, named, teacher)
    refuse_guessing(called(name, named), told, top1, labelled.labels, splits.classes.count, split, "stores")


def _map_shape(recipe: Recipe, teacher: FrozenTeacher, device: torch.device) -> tuple[int, int, int]:
    black: Tensor = torch.zeros(1, 3, *teacher.classifier.preprocess.size, dtype=torch.uint8, device=device)
    with autocast(recipe, device):
        channels, height, width = teacher(black).last_map().shape[1:]
    return channels, height, width


def _write(folder: AnswerFolder, job: _Job, rounds: int, progress: Callable[[StoringPoint], None]) -> None:
    due, n_images = folder.due(rounds), job.source.n_images
    done = (rounds - len(due)) * n_images
    sizes = folder.bytes_of(rounds), folder.bytes_of(len(due))

    def told(images: int) -> None:
        progress(StoringPoint(images, rounds * n_images, rounds, *sizes))

    def answers(number: int) -> Iterator[np.ndarray]:
        nonlocal done
        for batch in job.images.in_order(number):
            yield job.ask(batch)
            done += len(batch.labels)
            told(done)

    told(done)
    for number in due:
        folder.write(number, answers(number))
