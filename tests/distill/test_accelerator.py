"""Everything that trains runs on an accelerator, mixes no devices there, and comes to what the CPU comes to.

The accelerator is pretended (tests/pretended.py), as for what evaluates (tests/test_accelerator.py).
"""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import distill
from distill.methods import METHODS, create_method
from distill.runs.interruption import TrainingInterruptedError
from distill.runs.outcome_file import read_result
from distill.testing import _BATCH, _CLASSES, _DATASET_SIZE, _SIZE, _labels, _Network, _tell_classes, _total
from distill.training.setup import accelerator_of
from distill.training.step import OrdinaryStep
from distill.training.store import store_answers
from distill.training.train import train
from tests.distill.conftest import weights_of
from tests.distill.methods.test_contract import OPTIONS
from tests.distill.training.combinations import combinations
from tests.distill.training.matrix import loss_of, values_for, write_images, write_teachers

pretended = pytest.importorskip("tests.pretended", reason="this torch has no backends in Python", exc_type=ImportError)

AWAITED = ("crd",)
"""Losses that wait for the accelerator: how many images of other classes there are says how negatives are drawn."""
LOOKING = ("ofd", "vitkd", "simkd", "e2kd", "explanation_kd", "exp_kd")
"""Losses that differ in what they need of the two networks: taps, gradients, explanations, another head."""


@pytest.fixture(autouse=True)
def device():
    with pretended.accelerator() as device:
        yield device


def computed(name: str, device: torch.device) -> dict[str, Tensor]:
    """A method's losses on the networks of its contract, and their gradients."""
    torch.manual_seed(0)
    method = create_method(name, **OPTIONS.get(name, {}))
    _tell_classes(method, _CLASSES, device=device)
    student, teacher = _Network(8, seed=1).to(device), _Network(12, seed=2).requires_grad_(False).to(device)
    images = torch.randn(_BATCH, 3, _SIZE, _SIZE).to(device)
    labels, indices = (values.to(device) for values in _labels())
    method.setup(student.run(images), teacher.run(images), _DATASET_SIZE)
    passes = student.run(images), teacher.run(images)
    with nullcontext() if name in AWAITED else pretended.unawaited():
        losses = method(*passes, labels, indices)
        _total(losses).backward()
    trained = [*student.named_parameters(), *method.named_parameters()]
    return losses | {part: value.grad for part, value in trained if value.grad is not None}


@pytest.mark.parametrize("name", METHODS.names())
def test_losses_and_their_gradients(name, device):
    expected, found = computed(name, torch.device("cpu")), computed(name, device)
    assert found.keys() == expected.keys()
    for part, value in found.items():
        assert value.device == device, part
        torch.testing.assert_close(value.cpu(), expected[part], msg=lambda said, part=part: f"{part}: {said}")


def test_each_training_has_the_device_that_it_asks_for(device):
    for asked, expected in (("auto", device.type), ("cpu", "cpu"), ("auto", device.type)):
        assert accelerator_of(asked).device.type == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("accelerator")


@pytest.fixture(scope="module")
def recipes(folder) -> dict[str, dict[str, Any]]:
    images, teachers = write_images(folder / "images"), write_teachers(folder)
    found = combinations(images, teachers, folder)
    for name in ("mixed", "balanced", "changing"):
        found[name]["epochs"] = 1
    found["mixed"]["precision"] = "fp32"  # nothing would be cast
    losses, teacher = [loss_of("ce"), loss_of("kd")], teachers["resnet"]
    found["captured"] = values_for("resnet", losses, images, teacher)
    dot = {"name": "dot", "learning_rate": 0.1}
    found["two gradients"] = values_for("resnet", losses, images, teacher, optimiser=dot)
    found["looked into"] = values_for("resnet", [loss_of(loss, weight=0.01) for loss in LOOKING], images, teacher)
    return found


@pytest.fixture
def unawaited(monkeypatch):
    """No step, nor its batch, waits for the accelerator."""
    for part in ("input", "__call__"):
        monkeypatch.setattr(OrdinaryStep, part, pretended.unawaited()(getattr(OrdinaryStep, part)))


def check_alike(there: Path, here: Path) -> None:
    """Two runs have the same weights and scores but for rounding."""
    ours, theirs = read_result(there), read_result(here)
    assert ours["device"].startswith(f"{pretended.THERE.type},")
    assert theirs["device"].startswith("cpu,")
    torch.testing.assert_close(weights_of(there), weights_of(here), rtol=1e-4, atol=1e-5)
    ours, theirs = ({**result["last"], "seconds": 0} for result in (ours, theirs))
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", ["mixed", "balanced", "changing", "two gradients", "looked into"])
def test_trainings(recipes, tmp_path, unawaited, name):
    before = pretended.operations
    train(recipes[name], tmp_path / "cpu", device="cpu", force=True)
    assert pretended.operations == before
    train(recipes[name], tmp_path / "auto", force=True)
    assert pretended.operations > before
    check_alike(tmp_path / "auto", tmp_path / "cpu")


def test_a_training_on_stored_answers_that_is_continued(recipes, tmp_path):
    def stop(point):
        if point.epoch == 2 and point.metrics is None:
            os.kill(os.getpid(), signal.SIGINT)

    recipe = recipes["told"]
    train(recipe, tmp_path / "cpu", device="cpu", force=True)
    with pytest.raises(TrainingInterruptedError, match="stopped in epoch 2 after step 1;"):
        train(recipe, tmp_path / "auto", force=True, progress=stop)
    train(recipe, tmp_path / "auto", force=True, resume=True)
    check_alike(tmp_path / "auto", tmp_path / "cpu")


def test_a_captured_step(recipes, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.training.train.check_capturable", lambda setup: None)
    for where in ("cpu", "auto"):
        train(recipes["captured"], tmp_path / where, device=where, force=True, capture=where == "auto")
    check_alike(tmp_path / "auto", tmp_path / "cpu")


def test_answers_that_are_stored(recipes, tmp_path):
    values = recipes["told"]
    read = []
    for where in ("cpu", "auto"):
        stored = store_answers(values, tmp_path / where, top_k=2, maps=True, device=where, force=True)
        read.append(stored.read(0, np.arange(4), "values", "classes", "maps"))
    for ours, theirs in zip(*read, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)


def test_students_are_evaluated(recipes, folder, device):
    here, there = (
        distill.evaluate({"it": str(folder / "resnet.pt")}, str(folder / "images"), device=where).scores["it"]
        for where in ("cpu", str(device))
    )
    assert there.to_dict() == pytest.approx(here.to_dict())
