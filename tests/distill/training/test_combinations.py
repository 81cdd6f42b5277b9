"""Trainings by every key of a recipe: stopped, they continue to the same bits; two processes train as one."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import distill
from distill.recipe.parse import parse_recipe
from distill.runs.interruption import TrainingInterruptedError
from distill.runs.job import TrainingJob
from distill.runs.outcome_file import read_result
from distill.runs.state_file import read_state
from distill.training.train import train
from tests.distill.conftest import assert_same_bits, weights_of
from tests.distill.processes import launch_here
from tests.distill.training.combinations import LEFT_OUT, all_keys, combinations, keys_of
from tests.distill.training.matrix import write_images, write_teachers
from xkd_eval import load_classifier

NAMES = ("mixed", "balanced", "changing", "told")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("combinations")


@pytest.fixture(scope="module")
def recipes(folder) -> dict[str, dict[str, Any]]:
    return combinations(write_images(folder / "images"), write_teachers(folder), folder)


@pytest.fixture(scope="module")
def whole(recipes, folder) -> Path:
    """Each of them by one process, without an interruption."""
    for name, values in recipes.items():
        train(values, folder / name, device="cpu", force=True)
    return folder


def test_every_key_is_in_one_of_them(recipes):
    found = {key for values in recipes.values() for key in keys_of(values)}
    assert all_keys() <= found | set(LEFT_OUT)
    assert not found & set(LEFT_OUT)
    assert tuple(recipes) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_stopped_within_its_second_epoch_it_continues_to_the_same_bits(recipes, whole, tmp_path, name):
    def stop(point):
        if point.epoch == 2 and point.loss is not None and point.metrics is None:
            os.kill(os.getpid(), signal.SIGINT)

    recipe = parse_recipe(recipes[name])
    with pytest.raises(TrainingInterruptedError, match=r"stopped in epoch 2 after step 1;"):
        train(recipe, tmp_path, device="cpu", force=True, progress=stop)
    train(recipe, tmp_path, device="cpu", force=True, resume=True)
    assert_same_bits(weights_of(tmp_path), weights_of(whole / name))


def check_recorded(directory: Path, result: dict[str, Any], data: str) -> None:
    """What a run says of its student, and of the weights under an average, is what `evaluate` says."""
    listed = directory / "images.csv"
    student, trained = load_classifier(directory / "student.pt"), load_classifier(directory / "student.pt")
    trained.model.load_state_dict(read_state(directory / "last.pt")["student"])
    found = distill.evaluate({"it": student, "trained": trained}, listed if listed.is_file() else data).scores
    average = result["average"]
    suffix = "_trained" if average is not None and average["saved"] == "trained" else ""
    recorded = result[result["student"]]
    assert recorded[f"test_top1{suffix}"] == found["it"].top1
    assert recorded[f"test_loss{suffix}"] == pytest.approx(found["it"].loss, rel=1e-6)
    if average is not None:
        assert result["last"]["test_loss_trained"] == pytest.approx(found["trained"].loss, rel=1e-6)


@pytest.fixture(scope="module")
def by_two(recipes, folder) -> Path:
    """The runs of each of them by two processes, NAME-2."""
    jobs = [
        TrainingJob(name, parse_recipe(values), folder / f"{name}-2", Path(), "cpu", force=True)
        for name, values in recipes.items()
    ]
    launch_here(jobs)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_by_every_key(recipes, by_two, whole, name):
    """To the weights of one, where neither batch norm nor mixing sees a process's own images alone."""
    one, two = (read_result(whole / directory) for directory in (name, f"{name}-2"))
    assert two["processes"] == 2
    assert two["last"].keys() == one["last"].keys()
    assert two["train_images"] == one["train_images"]
    check_recorded(by_two / f"{name}-2", two, recipes[name]["data"]["path"])
    ours, theirs = weights_of(whole / f"{name}-2"), weights_of(whole / name)
    if name == "balanced":
        for key, value in theirs.items():
            torch.testing.assert_close(ours[key], value, rtol=1e-3, atol=1e-5, msg=key)
