"""Two processes on one machine: the gradients and, within noise, the metrics of one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from distill.training.train import train
from tests.distill.conftest import EXP_KD, values_of
from xkd_eval.classifiers.checkpoint import read_checkpoint

FIRST_STEP = """
import sys
from pathlib import Path
import torch
from distill.training.setup import set_up
from distill.runs.launch import leave
from distill.recipe.files import load_recipe

setup = set_up(load_recipe(sys.argv[1]), "cpu", Path("."))
setup.wrapped.eval()
batch = next(iter(setup.train.batches(0, 0)))
teacher = setup.teacher(batch.pixels)
images = setup.normalise(batch.pixels)
losses = setup.wrapped(images, teacher, batch.labels, batch.indices, setup.objective.weights(1))
setup.accelerator.backward(losses["total"])
if setup.accelerator.is_main_process:
    gradients = {name: parameter.grad for name, parameter in setup.student.model.named_parameters()}
    torch.save(gradients, sys.argv[2])
leave(together=True)
"""


def run(*arguments, processes=1):
    launch = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *launch, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr


RELATIONS = [{"method": "ce"}, {"method": "rkd"}, {"method": "sp", "weight": 100}]


# RKD divides by distances between images, which amplifies the rounding of a sum in another order.
@pytest.mark.parametrize(("losses", "tolerance"), [(EXP_KD, 1e-5), (RELATIONS, 1e-4)])
def test_gradients_of_the_first_step_are_those_of_one_process(cifar10, teacher, tmp_path, losses, tolerance):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({"recipe": values_of(cifar10, losses=losses, teacher={"model": str(teacher)})}))
    script = tmp_path / "first_step.py"
    script.write_text(FIRST_STEP)
    for processes in (1, 2):
        run(str(script), str(file), str(tmp_path / f"{processes}.pt"), processes=processes)
    one, two = (torch.load(tmp_path / f"{processes}.pt") for processes in (1, 2))
    for name, gradient in one.items():
        assert (gradient - two[name]).abs().max() <= tolerance * gradient.abs().max(), name
    assert any(gradient.abs().max() > 0 for gradient in one.values())


def test_two_processes_train_to_the_metrics_of_one(recipe_of, recipe_file, teacher, tmp_path):
    changes = {"losses": EXP_KD, "teacher": {"model": str(teacher)}, "epochs": 8}
    one = train(recipe_of(**changes), tmp_path / "one", device="cpu").result
    file = recipe_file(**changes)
    run("-m", "distill", "train", str(file), "-o", str(tmp_path / "two"), "--device", "cpu", "--devices", "2")
    two = json.loads((tmp_path / "two" / "result.json").read_text())
    assert (one["processes"], two["processes"]) == (1, 2)
    assert (one["batch_norm_images"], two["batch_norm_images"]) == (32, 16)
    assert abs(one["last"]["test_top1"] - two["last"]["test_top1"]) <= 0.1
    assert two["last"]["test_top1"] > 0.8


def test_two_nodes_without_an_address_are_refused(recipe_file):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "MASTER_", "NODE_"))
    }
    command = [sys.executable, "-m", "distill", "train", str(recipe_file()), "--nodes", "2"]
    refused = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: --nodes: 2 found, and neither NODE_RANK with MASTER_ADDR")


def _train_on_two(file, directory, **keywords):
    command = [sys.executable, "-m", "distill", "train", str(file), "-o", str(directory), "--device", "cpu"]
    return subprocess.Popen([*command, "--devices", "2"], stderr=subprocess.PIPE, text=True, **keywords)


def test_what_both_processes_refuse_is_said_once(recipe_file, tmp_path):
    process = _train_on_two(recipe_file(losses=[{"method": "ce"}, {"method": "kd"}]), tmp_path / "run")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.strip() == "error: --teacher: missing; kd distils from one"


def test_ctrl_c_stops_both_and_they_continue_to_the_same_bits(recipe_file, tmp_path):
    # Ten steps an epoch: a stop is met although no epoch is long.
    file = recipe_file(epochs=20)
    process = _train_on_two(file, tmp_path / "run", start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "metrics.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert len(err.strip().splitlines()) == 1
    assert err.strip().startswith("stopped in epoch")
    for directory in ("run", "whole"):
        command = ["-m", "distill", "train", str(file), "-o", str(tmp_path / directory), "--device", "cpu", "--resume"]
        run(*command, "--devices", "2")
    interrupted, whole = (
        read_checkpoint(tmp_path / directory / "student.pt").state_dict for directory in ("run", "whole")
    )
    for name, weights in whole.items():
        assert torch.equal(interrupted[name], weights), name
