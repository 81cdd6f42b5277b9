"""Two processes on one machine: the gradients and, within noise, the metrics of one."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
import yaml

from distill.recipe.files import load_recipe
from distill.runs.job import TrainingJob
from distill.training.train import train
from tests.distill.conftest import EXP_KD, values_of
from tests.distill.processes import ended, launch_here, run_by_two, start, wait_for
from tests.distill.runs import first_step
from xkd_eval.classifiers.checkpoint import read_checkpoint

RELATIONS = [{"method": "ce"}, {"method": "rkd"}, {"method": "sp", "weight": 100}]
# RKD divides by distances between images, which amplifies the rounding of a sum in another order.
# The two halves of a batch have unequal sums of weights.
WEIGHTS = [{"method": "ce", "class_weights": [1, 1, 1, 1, 1, 1, 1, 1, 1, 50], "label_smoothing": 0.1}, {"method": "kd"}]
LOSSES = {"exp_kd": (EXP_KD, 1e-5), "relations": (RELATIONS, 1e-4), "weights": (WEIGHTS, 1e-5)}


@pytest.fixture(scope="module")
def by_two(cifar10, teacher, tmp_path_factory):
    """A folder with the recipe of each of LOSSES and the gradients of its first step, and with `mine.yaml` and its
    whole training, all by two processes.
    """
    folder = tmp_path_factory.mktemp("by_two")
    # Ten steps an epoch: a stop is met although no epoch is long.
    changes = {name: {"losses": losses} for name, (losses, _) in LOSSES.items()} | {
        "mine": {"losses": EXP_KD, "epochs": 8}
    }
    for name, given in changes.items():
        values = values_of(cifar10, teacher={"model": str(teacher)}, **given)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"recipe": values}))
    *files, mine = (folder / f"{name}.yaml" for name in changes)
    run_by_two("-m", first_step.__name__, *files, mine, folder / "whole")
    return folder


@pytest.fixture(scope="module")
def gradients(by_two):
    """Of the first step by one process and by two, for each of LOSSES."""
    first_step.main([str(by_two / f"{name}.yaml") for name in LOSSES])
    return {name: [torch.load(by_two / f"{name}.yaml-{processes}.pt") for processes in (1, 2)] for name in LOSSES}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_the_first_step_are_those_of_one_process(gradients, name):
    (one, two), tolerance = gradients[name], LOSSES[name][1]
    for key, gradient in one.items():
        assert (gradient - two[key]).abs().max() <= tolerance * gradient.abs().max(), key
    assert any(gradient.abs().max() > 0 for gradient in one.values())


def train_on_two(file, directory, **keywords):
    command = ["-m", "distill", "train", file, "-o", directory, "--device", "cpu", "--devices", "2"]
    return start(*command, **keywords)


def launch_on_two(file, directory, resume=False):
    """As the command does."""
    launch_here([TrainingJob("mine", load_recipe(str(file)), directory, Path(), "cpu", resume)])


@pytest.fixture(scope="module")
def on_two(by_two):
    """A recipe's file, and the directory of its whole training by two processes."""
    return by_two / "mine.yaml", by_two / "whole"


def test_two_processes_train_to_the_metrics_of_one(on_two, tmp_path):
    file, directory = on_two
    one = train(file, tmp_path / "one", device="cpu").result
    two = json.loads((directory / "result.json").read_text())
    assert (one["processes"], two["processes"]) == (1, 2)
    assert (one["batch_norm_images"], two["batch_norm_images"]) == (32, 16)
    assert abs(one["last"]["test_top1"] - two["last"]["test_top1"]) <= 0.1
    assert two["last"]["test_top1"] > 0.8


def test_ctrl_c_stops_both_and_they_continue_to_the_same_bits(on_two, tmp_path):
    file, directory = on_two
    process = train_on_two(file, tmp_path / "run", start_new_session=True)
    wait_for(tmp_path / "run" / "metrics.csv")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    code, err = ended(process)
    assert code == 130
    assert len([line for line in err.strip().splitlines() if "stopped" in line]) == 1
    assert err.strip().splitlines()[-1].startswith("stopped in epoch")
    launch_on_two(file, tmp_path / "run", resume=True)
    interrupted, whole = (read_checkpoint(place / "student.pt").state_dict for place in (tmp_path / "run", directory))
    for name, weights in whole.items():
        assert torch.equal(interrupted[name], weights), name


def test_two_nodes_without_an_address_are_refused(recipe_file, xkd_distill, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM_", "MASTER_", "NODE_")):
            monkeypatch.delenv(name)
    code, _, err = xkd_distill("train", recipe_file(), "--nodes", "2")
    assert code == 2
    assert err.startswith("error: --nodes: 2 found, and neither NODE_RANK with MASTER_ADDR")


def test_what_both_processes_refuse_is_said_once(recipe_file, tmp_path):
    code, err = ended(train_on_two(recipe_file(losses=[{"method": "ce"}, {"method": "kd"}]), tmp_path / "run"))
    assert code == 2
    assert err.strip() == "error: --teacher: missing; kd distils from one"
