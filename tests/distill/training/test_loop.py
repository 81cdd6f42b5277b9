"""Whole trainings: what they leave behind, that they continue to the same bits, and how they stop."""

import csv
import json
import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from distill.data.splits import open_splits
from distill.recipe.files import load_recipe
from distill.recipe.parse import parse_recipe
from distill.runs.interruption import TrainingInterruptedError
from distill.students.evaluate import evaluate
from distill.training.step import OrdinaryStep
from distill.training.train import train
from tests.distill.conftest import EXP_KD, KD, assert_same_bits, values_of, weights_of
from tests.distill.processes import start, wait_for
from xkd_eval import load_classifier
from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.errors import XkdError


def test_a_run_leaves_what_it_came_to(recipe_of, tmp_path, cifar10):
    seen = []
    result = train(recipe_of(), tmp_path, device="cpu", progress=seen.append).result
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["ce"]) > float(rows[1]["ce"]) > 0
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert (result["student"], result["best_on"]) == ("last", "test images")
    assert (seen[-1].images, seen[-1].total_images) == (700, 700)
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe_of()
    measured = evaluate(tmp_path / "student.pt", cifar10).models[0].scores
    assert measured.top1 == pytest.approx(result["last"]["test_top1"])
    assert measured.loss == pytest.approx(result["last"]["test_loss"], abs=1e-4)
    classifier = load_classifier(tmp_path / "student.pt")
    assert classifier.class_names[3] == "class 3"
    assert classifier.head is not None


def test_a_students_file_says_what_it_was_taught_by_and_on(recipe_of, teacher, tmp_path):
    result = train(recipe_of(losses=KD, teacher={"model": str(teacher)}, epochs=1), tmp_path, device="cpu").result
    kept = read_checkpoint(tmp_path / "student.pt").training
    assert (kept["train_images"], kept["best_on"]) == (result["train_images"], "test images")
    assert kept["trained"] == result["origin"]["trained"]["listing"] != kept["tested"]
    told = kept["teachers"]["teacher"]
    assert told == {"digest": result["origin"]["teachers"]["teacher"], **result["teachers"]["teacher"]}
    assert 0 < told["test_top1"] <= 1


def test_it_learns(recipe_of, tmp_path):
    result = train(recipe_of(epochs=8), tmp_path, device="cpu").result
    assert result["last"]["test_top1"] > 0.9


def test_the_same_seed_gives_the_same_bits_and_another_others(recipe_of, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(recipe_of(seed=seed, epochs=1), tmp_path / name, device="cpu")
    assert_same_bits(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    assert any(
        not torch.equal(value, weights_of(tmp_path / "c")[name]) for name, value in weights_of(tmp_path / "a").items()
    )


EVERYTHING = {
    "losses": [{"method": "ce", "label_smoothing": 0.1}, {"method": "crd", "negatives": 16}, {"method": "kd"}],
    "ema_decay": 0.9,
    "accumulate": 2,
    "clip_norm": 1.0,
    "epochs": 3,
}


class Dropping(nn.Module):
    """Drops at random while it is trained."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten())
        self.head = nn.Linear(512, num_classes)

    def forward(self, images):
        return self.head(self.layers(images))


DROPPING = {"architecture": f"py:{__name__}:Dropping", "preprocess": {"size": [32, 32]}}


class DroppingLater(Dropping):
    """Draws nothing at first, when a training is set up."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        self.layers[2].train(self.training and self.calls > 4)
        return super().forward(images)


def test_what_draws_from_a_later_step_on_draws_by_the_seed_too(recipe_of, tmp_path):
    recipe = recipe_of(student={**DROPPING, "architecture": f"py:{__name__}:DroppingLater"}, epochs=1)
    for seed, name in enumerate("ab"):
        before = torch.manual_seed(seed).get_state()
        train(recipe, tmp_path / name, device="cpu")
        assert torch.equal(torch.get_rng_state(), before)
    assert_same_bits(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))


def test_threads_that_draw_or_train_change_nothing_and_the_generator_stays(recipe_of, tmp_path):
    recipe = recipe_of(student=DROPPING, epochs=1)
    train(recipe, tmp_path / "alone", device="cpu")
    done = threading.Event()

    def draw():
        while not done.is_set():
            torch.rand(7)

    drawing = threading.Thread(target=draw)
    trainings = [
        threading.Thread(target=train, args=(recipe, tmp_path / name), kwargs={"device": "cpu"}) for name in "abc"
    ]
    for thread in (drawing, *trainings):
        thread.start()
    for thread in trainings:
        thread.join()
    done.set()
    drawing.join()
    before = torch.get_rng_state()
    train(recipe, tmp_path / "after", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    for name in ("a", "b", "c", "after"):
        assert_same_bits(weights_of(tmp_path / name), weights_of(tmp_path / "alone"))


def test_the_generator_stays_where_workers_read_the_images(recipe_of, tmp_path, cifar10):
    data = {"loader": "workers", "workers": 1, "path": str(cifar10)}
    before = torch.get_rng_state()
    train(recipe_of(data=data, student=DROPPING, epochs=1, batch_size=175), tmp_path, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def plainly(cifar10, tmp_path_factory):
    """A training by a caller who has set nothing."""
    directory = tmp_path_factory.mktemp("plainly")
    train(parse_recipe(values_of(cifar10, epochs=1)), directory, device="cpu")
    return weights_of(directory)


@pytest.mark.parametrize(
    "ambient",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.device("meta"),
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: default_dtype(torch.float64),
        lambda: default_dtype(torch.bfloat16),
    ],
)
def test_what_the_caller_has_set_changes_nothing(recipe_of, tmp_path, plainly, ambient):
    with ambient():
        train(recipe_of(epochs=1), tmp_path, device="cpu")
    assert_same_bits(weights_of(tmp_path), plainly)


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    yield
    assert torch.get_default_dtype() == dtype
    torch.set_default_dtype(torch.float32)


def test_agreement_is_with_the_teacher_on_the_images_of_its_split(recipe_of, tmp_path, cifar10, teacher):
    """As many images are held out as there are for the test, so that their places are the same."""
    data = {"loader": "device", "path": str(cifar10), "val_split": 0.2857}
    recipe = recipe_of(data=data, losses=KD, teacher={"model": str(teacher)}, epochs=2)
    result = train(recipe, tmp_path / "whole", device="cpu").result
    measured = evaluate(tmp_path / "whole" / "student.pt", cifar10, teacher=teacher).models[0].scores
    assert result["best"]["test_agreement"] == measured.agreement

    def stop(point):
        if point.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train(recipe, tmp_path / "cut", device="cpu", progress=stop)
    continued = train(recipe, tmp_path / "cut", device="cpu", resume=True).result
    for epoch in ("best", "last"):
        assert {**continued[epoch], "seconds": 0} == {**result[epoch], "seconds": 0}


@pytest.mark.parametrize("student", [{}, {"student": DROPPING}], ids=["plain", "dropout"])
def test_interrupted_within_an_epoch_it_continues_to_the_same_bits(recipe_of, few_images, tmp_path, teacher, student):
    everything = {**EVERYTHING, **student}
    if student:  # without features for crd
        everything["losses"] = KD
    data = values_of(few_images)["data"]
    recipe = recipe_of(**everything, data=data, teacher={"model": str(teacher)})
    whole = train(recipe, tmp_path / "whole", device="cpu").result

    def stop(point):
        if point.images == 96 + 2 * 32:  # four of the hundred are too few for two micro-batches
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError, match=r"epoch 2 after step 2; saved in .*`resume`"):
        train(recipe, tmp_path / "cut", device="cpu", progress=stop)
    with pytest.raises(XkdError, match="holds an unfinished run of 1 epochs; `resume` continues it"):
        train(recipe, tmp_path / "cut", device="cpu")
    continued = train(recipe, tmp_path / "cut", device="cpu", resume=True).result
    assert_same_bits(weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole"))
    for row in (continued["last"], whole["last"]):
        row.pop("seconds")
    assert continued["last"] == whole["last"]


def test_the_seconds_of_a_continued_epoch_are_those_of_all_its_steps(recipe_of, tmp_path, monkeypatch):
    recipe, pause = recipe_of(epochs=1), 0.2
    step = OrdinaryStep.__call__

    def slow(*arguments):
        time.sleep(pause)
        return step(*arguments)

    monkeypatch.setattr(OrdinaryStep, "__call__", slow)

    def wait(point):
        if point.images == 5 * 32:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train(recipe, tmp_path, device="cpu", progress=wait)
    row = train(recipe, tmp_path, device="cpu", resume=True).result["last"]
    assert row["seconds"] > 11 * pause


def test_killed_it_continues_to_the_same_bits(recipe_file, tmp_path):
    file = recipe_file(epochs=6)
    train(load_recipe(str(file)), tmp_path / "whole", device="cpu")
    process = start("-m", "distill", "train", file, "--device", "cpu", "-o", tmp_path / "cut")
    wait_for(tmp_path / "cut" / "last.pt")
    process.kill()
    process.communicate()
    assert not (tmp_path / "cut" / "result.json").is_file()
    train(file, tmp_path / "cut", device="cpu", resume=True)
    assert_same_bits(weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole"))


def test_a_loss_that_is_not_finite_stops_with_its_name(recipe_of, tmp_path):
    recipe = recipe_of(optimiser={"name": "sgd", "learning_rate": 1e12}, schedule={"name": "constant"})
    with pytest.raises(
        XkdError, match=r"the loss ce is not finite in step \d+ of epoch \d; the last good checkpoint is"
    ):
        train(recipe, tmp_path, device="cpu")
    assert not (tmp_path / "student.pt").exists()


def test_held_out_images_select_and_are_not_trained_on(recipe_of, tmp_path, cifar10):
    data = {"loader": "device", "path": str(cifar10), "val_split": 0.2}
    result = train(recipe_of(data=data, epochs=3), tmp_path, device="cpu").result
    assert (result["student"], result["best_on"], result["train_images"]) == ("best", "held-out training images", 280)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert max(float(row["val_top1"]) for row in rows) == result["best"]["val_top1"]
    assert not any("test_top1" in row for row in rows)
    measured = evaluate(tmp_path / "student.pt", cifar10).models[0].scores
    assert measured.top1 == pytest.approx(result["best"]["test_top1"])
    splits = open_splits(recipe_of(data=data))
    assert not set(splits.train.dataset.ids) & set(splits.val.dataset.ids)
    assert torch.bincount(torch.tensor(splits.val.labels)).tolist() == [7] * 10


def test_a_student_from_another_library(recipe_of, tmp_path, teacher):
    student = {"architecture": "timm/resnet10t", "preprocess": {"size": [64, 64]}}
    recipe = recipe_of(losses=EXP_KD, teacher={"model": str(teacher)}, student=student, epochs=1)
    result = train(recipe, tmp_path / "run", device="cpu").result
    assert result["last"]["exp_kd"] > 0
    assert load_classifier(tmp_path / "run" / "student.pt").preprocess.size == (64, 64)
