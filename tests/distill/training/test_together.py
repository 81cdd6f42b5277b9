"""Trainings in step: the same files as alone, wherever each of them stood, and one teacher for all."""

from __future__ import annotations

import gc
import signal
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import distill
from distill.recipe.parse import parse_recipe
from distill.recipe.schema import Recipe
from distill.runs.in_step import lesson_key
from distill.runs.interruption import TrainingInterruptedError
from distill.runs.job import TrainingJob
from distill.training.objective import Objective
from distill.training.taught import Consecutive
from distill.training.teachers import FrozenTeacher
from distill.training.together import train_together
from distill.training.train import train
from tests.distill.conftest import EXP_KD, FEWEST, KD, values_of
from xkd_eval.errors import XkdError

CE = [{"method": "ce"}]
CRD = [*CE, {"method": "crd", "negatives": 8, "dimensions": 4}]
STUDENTS = {
    "kd": {"losses": KD},
    "exp_kd": {"losses": EXP_KD, "optimiser": {"name": "adamw", "learning_rate": 0.01}, "epochs": 3},
    "crd": {"losses": CRD, "ema_decay": 0.9, "clip_norm": 1.0},
}
"""They differ in all that those that learn in step may differ in, and one draws at random in its method."""


@pytest.fixture(scope="module")
def cifar10(few_images) -> Path:
    return few_images


@pytest.fixture
def jobs_of(cifar10, teacher, tmp_path):
    """Names of students and what their recipes change -> jobs below a folder."""

    def make(students: dict[str, dict], **common) -> list[TrainingJob]:
        return [
            TrainingJob(
                name=name,
                recipe=recipe_for(cifar10, teacher, common, changes),
                directory=tmp_path / "together" / name,
                runs=tmp_path,
                device="cpu",
                resume=True,
            )
            for name, changes in students.items()
        ]

    return make


def recipe_for(cifar10, teacher, common: dict, changes: dict) -> Recipe:
    return parse_recipe(values_of(cifar10, **{"teacher": {"model": str(teacher)}, **common, **changes}))


def made(jobs: list[TrainingJob], progress=None) -> list:
    """The outcomes of the jobs in step, in order."""
    ended = {}
    train_together(jobs, progress or [lambda point: None] * len(jobs), ended.__setitem__)
    return [ended[number] for number in range(len(jobs))]


def files_of(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in ("student.pt", "best.pt")}


@pytest.fixture(scope="module")
def alone(cifar10, teacher, tmp_path_factory):
    """The files of each student's training by itself, which is made once."""
    made_alone: dict[str, dict[str, bytes]] = {}

    def train_alone(students: dict[str, dict], **common) -> dict[str, dict[str, bytes]]:
        found = {}
        for name, changes in students.items():
            key = repr((common, changes))
            if key not in made_alone:
                directory = tmp_path_factory.mktemp("alone") / name
                train(recipe_for(cifar10, teacher, common, changes), directory, device="cpu")
                made_alone[key] = files_of(directory)
            found[name] = made_alone[key]
        return found

    return train_alone


COMMON = {
    "plain": {},
    "micro-batches, bf16": {"accumulate": 2, "precision": "bf16"},
    "mixed, augmented": {"mixed": True},
    "an engine": {"engine": "onnxruntime"},
}


@pytest.mark.parametrize("common", COMMON.values(), ids=list(COMMON))
def test_each_leaves_what_it_leaves_alone_byte_for_byte(jobs_of, alone, cifar10, teacher, common):
    students = STUDENTS
    if "precision" in common:
        common = {**common, "data": values_of(cifar10)["data"] | FEWEST}
        students = {name: STUDENTS[name] for name in ("kd", "exp_kd")}
    if "engine" in common:
        named = {"model": str(teacher), **common}
        common = {"teacher": named, "data": values_of(cifar10)["data"] | FEWEST, "epochs": 1}
        students = {"kd": {"losses": KD}, "exp_kd": {"losses": EXP_KD}}
    if "mixed" in common:
        data = values_of(cifar10)["data"] | {"mixup": 0.4, "flip": True, "erasing": 0.5, "val_split": 0.2}
        common, students = {"data": data}, {name: STUDENTS[name] for name in ("kd", "exp_kd")}
    expected = alone(students, **common)
    jobs = jobs_of(students, **common)
    results = made(jobs)
    assert {job.name: files_of(job.directory) for job in jobs} == expected
    assert [result.result["epochs"] for result in results] == [job.recipe.epochs for job in jobs]


def test_the_teacher_is_asked_once_a_batch(jobs_of, monkeypatch):
    calls = []
    asked = FrozenTeacher.__call__
    monkeypatch.setattr(
        FrozenTeacher, "__call__", lambda self, pixels: calls.append(len(pixels)) or asked(self, pixels)
    )
    made(jobs_of(STUDENTS, epochs=1))
    # Four batches of 100 images an epoch, of which the first was seen when the students were set up.
    assert sum(calls) == 3 * 100
    assert len(calls) == 3 * 4


def test_each_is_continued_from_where_it_stood(jobs_of, alone):
    """Two stop in different epochs, one has not begun; all go on in step, to the same files."""

    def stop_at(epoch, step):
        def progress(point):
            if (point.epoch, point.images) == (epoch, (epoch - 1) * 100 + step * 32):
                signal.raise_signal(signal.SIGTERM)

        return progress

    expected = alone(STUDENTS)
    jobs = jobs_of(STUDENTS)
    for job, progress in zip(jobs, (stop_at(1, 2), stop_at(2, 3)), strict=False):
        with pytest.raises(TrainingInterruptedError):
            train(job.recipe, job.directory, device="cpu", progress=progress)
    assert (jobs[1].directory / "last.pt").is_file()
    assert not jobs[2].directory.exists()
    made(jobs)
    assert {job.name: files_of(job.directory) for job in jobs} == expected


def test_a_stop_saves_all_and_each_goes_on_alone(jobs_of, alone):
    expected = alone(STUDENTS)
    jobs = jobs_of(STUDENTS)
    seen = []

    def progress(point):
        seen.append(point)
        if len(seen) == 8:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TrainingInterruptedError, match="saved in"):
        made(jobs, [progress] + [lambda point: None] * 2)
    assert all((job.directory / "last.pt").is_file() for job in jobs)
    for job in jobs:
        train(job.recipe, job.directory, device="cpu", resume=True)
    assert {job.name: files_of(job.directory) for job in jobs} == expected


class FailsLater(distill.Method):
    name, citation, requires = "fails_later", "a test", frozenset({"logits"})

    def losses(self, student, teacher, labels, indices):
        self.steps = getattr(self, "steps", 0) + 1
        factor = float("nan") if self.steps > 5 else 1.0
        return {"fails_later": factor * F.mse_loss(student.logits, teacher.logits)}


FAULTS = {
    "in a step": [{"method": f"py:{__name__}:FailsLater"}],
    "when it is set up": [{"method": "exp_kd", "top_k": 11}],
    "at its options": [{"method": "exp_kd", "top_k": 1}],
}


@pytest.mark.parametrize("losses", FAULTS.values(), ids=list(FAULTS))
def test_one_that_fails_leaves_the_others_as_they_are(jobs_of, alone, losses):
    expected = alone({"kd": STUDENTS["kd"], "crd": STUDENTS["crd"]})
    jobs = jobs_of({"kd": STUDENTS["kd"], "wrong": {"losses": losses}, "crd": STUDENTS["crd"]})
    kd, wrong, crd = made(jobs)
    assert isinstance(wrong, XkdError)
    assert {"kd": files_of(kd.directory), "crd": files_of(crd.directory)} == expected
    assert not (jobs[1].directory / "result.json").exists()


def test_one_of_another_layout_and_one_that_is_finished_are_made_alone(jobs_of, alone):
    students = {"kd": STUDENTS["kd"], "finished": STUDENTS["crd"]}
    students["deep"] = {"student": {"architecture": "resnet14", "preprocess": {"size": [16, 16]}}, "losses": KD}
    expected = alone(students)
    jobs = jobs_of(students)
    train(jobs[1].recipe, jobs[1].directory, device="cpu")
    results = made(jobs)
    assert {job.name: files_of(job.directory) for job in jobs} == expected
    assert all(isinstance(result, distill.TrainingResult) for result in results)


def test_what_does_not_fit_into_the_memory_waits(jobs_of, alone, monkeypatch):
    expected = alone(STUDENTS)
    monkeypatch.setattr("distill.training.together._memory", lambda device: 1)
    jobs = jobs_of(STUDENTS)
    assert len(made(jobs)) == 3
    assert {job.name: files_of(job.directory) for job in jobs} == expected


TAPS = {"student_taps": ["stage2"], "teacher_taps": ["stage2"]}
SAME = {
    "weight": {"losses": [{"method": "kd", "weight": 3.0}]},
    "method": {"losses": EXP_KD},
    "rate": {"optimiser": {"name": "sgd", "learning_rate": 0.01}},
    "epochs": {"epochs": 7},
}
OTHER = {
    "seed": {"seed": 1},
    "batch": {"batch_size": 64},
    "student": {"student": {"architecture": "resnet14"}},
    "precision": {"precision": "bf16"},
    "maps on the way": {"losses": [{"method": "at"}]},
    "gradients": {"losses": [{"method": "e2kd"}]},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=list(SAME))
def test_methods_weights_and_optimisation_may_differ(recipe_of, changes):
    values = {"losses": KD, "teacher": {"model": "a.pt"}}
    assert lesson_key(recipe_of(**values)) == lesson_key(recipe_of(**{**values, **changes}))


@pytest.mark.parametrize("changes", OTHER.values(), ids=list(OTHER))
def test_what_the_teacher_or_the_images_depend_on_may_not(recipe_of, changes):
    values = {"losses": KD, "teacher": {"model": "a.pt"}}
    assert lesson_key(recipe_of(**values)) != lesson_key(recipe_of(**{**values, **changes}))


def test_losses_on_the_same_maps_on_the_way_share_a_teacher(recipe_of):
    first, second = (
        recipe_of(teacher={"model": "a.pt"}, losses=[*CE, {"method": "at", "weight": weight, **TAPS}])
        for weight in (1.0, 2.0)
    )
    assert lesson_key(first) == lesson_key(second)


def test_nothing_is_shared_without_a_teacher_or_with_stored_answers(recipe_of, cifar10):
    assert lesson_key(recipe_of()) is None
    stored = {"model": "a.pt", "stored": "answers"}
    assert lesson_key(recipe_of(losses=KD, teacher=stored, data=values_of(cifar10)["data"] | {"rounds": 2})) is None


def test_values_by_their_place_are_made_in_order_and_once():
    started, made_values = [], []

    def start(epoch, step):
        started.append((epoch, step))
        while True:
            made_values.append((epoch, step))
            yield epoch, step
            step += 1

    values = Consecutive(start)
    assert [values.at(0, 0), values.at(0, 1), values.at(0, 1), values.at(0, 2)] == [(0, 0), (0, 1), (0, 1), (0, 2)]
    assert started == [(0, 0)]
    assert values.at(1, 5) == (1, 5)
    assert started == [(0, 0), (1, 5)]
    assert made_values == [(0, 0), (0, 1), (0, 2), (1, 5)]


class RaisesLater(distill.Method):
    name, citation, requires = "raises_later", "a test", frozenset({"logits"})

    def losses(self, student, teacher, labels, indices):
        self.steps = getattr(self, "steps", 0) + 1
        loss = F.mse_loss(student.logits, teacher.logits)
        if self.steps > 5:
            loss.register_hook(lambda gradient: torch.zeros(3) + torch.zeros(4))
        return {"raises_later": loss}


def test_an_error_of_any_kind_ends_one_training(jobs_of, alone):
    expected = alone({"kd": STUDENTS["kd"]})
    jobs = jobs_of({"wrong": {"losses": [{"method": f"py:{__name__}:RaisesLater"}]}, "kd": STUDENTS["kd"]})
    wrong, _ = made(jobs)
    assert isinstance(wrong, XkdError)
    assert str(wrong).startswith("training: it failed (The size of tensor a (3)")
    assert {"kd": files_of(jobs[1].directory)} == expected


def test_a_stop_between_two_groups_is_met(jobs_of, monkeypatch):
    """Of students of which one at a time fits into the memory, the second is not begun."""
    monkeypatch.setattr("distill.training.together._memory", lambda device: 0)
    jobs = jobs_of({"kd": STUDENTS["kd"], "crd": STUDENTS["crd"]}, epochs=1)

    def stop_at_the_end(point):
        if point.metrics is not None:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TrainingInterruptedError):
        made(jobs, [stop_at_the_end, lambda point: None])
    assert (jobs[0].directory / "last.pt").is_file()
    assert not jobs[1].directory.exists()


def test_a_student_that_has_ended_is_let_go(jobs_of, monkeypatch):
    alive = []

    def progress(point):
        if point.epoch == 3 and point.metrics is not None:
            gc.collect()
            alive.append(sum(isinstance(one, Objective) for one in gc.get_objects()))

    gc.collect()  # what other tests have left, which would count before and not after
    before = sum(isinstance(one, Objective) for one in gc.get_objects())
    jobs = jobs_of({"kd": STUDENTS["kd"], "exp_kd": STUDENTS["exp_kd"], "again": STUDENTS["kd"]})
    made(jobs, [lambda point: None, progress, lambda point: None])
    assert alive == [before + 1]


def test_a_method_that_needs_more_by_its_options_shares_with_its_like(recipe_of):
    cam, gradcam = (
        recipe_of(teacher={"model": "a.pt"}, losses=[*CE, {"method": "explanation_kd", "explainer": explainer}])
        for explainer in ("cam", "gradcam")
    )
    assert len({lesson_key(one) for one in (cam, gradcam, recipe_of(losses=KD, teacher={"model": "a.pt"}))}) == 3


def test_a_compiled_student_learns_by_itself(recipe_of):
    assert lesson_key(recipe_of(losses=KD, teacher={"model": "a.pt"}, compile=True)) is None


def test_what_fails_to_be_made_is_asked_for_again():
    def start(epoch, step):
        if step < 2:
            yield step
        raise XkdError("data: an image cannot be read")

    values = Consecutive(start)
    assert values.at(0, 1) == 1
    for _ in range(2):
        with pytest.raises(XkdError):
            values.at(0, 2)
