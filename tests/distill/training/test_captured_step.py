"""The captured step: equal to the ordinary one, free of what a CUDA graph cannot hold, refused where it cannot be."""

import os
import signal
from pathlib import Path

import pytest
import torch

from distill.methods import METHODS
from distill.recipe.parse import parse_recipe
from distill.runs.interruption import TrainingInterruptedError
from distill.testing import UncapturableOperations
from distill.training.captured_step import CapturedStep, check_capturable
from distill.training.setup import set_up
from distill.training.step import OrdinaryStep
from distill.training.train import train
from tests.distill.conftest import EXP_KD, FEWEST, KD, assert_same_bits, values_of, weights_of
from xkd_eval.errors import XkdError

AUGMENTED = {"padding": 2, "flip": True}
SGD = {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.001, "nesterov": True}
GROWING = [
    {"method": "ce", "label_smoothing": 0.1},
    {"method": "kd", "weight": 0.9, "ramp_epochs": 3},
    {"method": "exp_kd", "weight": 0.01, "relative": True},
]
TAPS = {name: [f"layer{number}.0.bn2" for number in (1, 2, 3)] for name in ("student_taps", "teacher_taps")}


@pytest.fixture(scope="module")
def cifar10(few_images) -> Path:
    return few_images


@pytest.fixture(scope="module")
def captured_recipe(cifar10, teacher):
    """A recipe with all that changes from step to step: crops, flips, learning rate and a weight that grows."""

    def make(**changes):
        values = {"data": AUGMENTED, "losses": GROWING, "teacher": {"model": str(teacher)}, "optimiser": SGD, **changes}
        data = {"loader": "device", "path": str(cifar10), **values.pop("data")}
        return parse_recipe(values_of(cifar10, data=data, **values))

    return make


@pytest.fixture(scope="module")
def by_steps(captured_recipe, tmp_path_factory):
    """The recipe without changes, trained by ordinary steps."""
    return train(captured_recipe(), tmp_path_factory.mktemp("steps"), device="cpu")


@pytest.fixture
def anywhere(monkeypatch):
    """Take the captured path on a CPU too, where the same function runs uncaptured."""
    monkeypatch.setattr("distill.training.train.check_capturable", lambda setup: None)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bf16", "data": {**AUGMENTED, **FEWEST}},
        {"clip_norm": 0.5},
        {"ema_decay": 0.99, "optimiser": {**SGD, "layer_decay": 0.5, "decay": "matrices"}},
        {"losses": [{"method": "ce"}], "teacher": None},
        {"losses": [{"method": "ce"}, {"method": "dkd", "ramp_epochs": 4}]},
        {"losses": [{"method": "ce"}, {"method": "fitnet", "weight": 0.1}]},
    ],
)
def test_a_training_comes_out_as_by_ordinary_steps(captured_recipe, tmp_path, anywhere, changes):
    recipe = captured_recipe(**changes)
    results = {
        name: train(recipe, tmp_path / name, device="cpu", capture=name == "captured").result
        for name in ("steps", "captured")
    }
    assert_same_bits(weights_of(tmp_path / "captured"), weights_of(tmp_path / "steps"))
    for result in results.values():
        for epoch in ("last", "best"):
            result[epoch].pop("seconds")
        for measured in ("seconds", "images_per_second", "peak_memory"):
            result.pop(measured)
        for digest in ("metrics", "weights", "digest"):  # the seconds are in them
            result.pop(digest)
    assert results["captured"] == results["steps"]


@pytest.mark.parametrize(("before", "after"), [(True, True), (True, False), (False, True)])
def test_either_path_continues_what_the_other_left(captured_recipe, by_steps, tmp_path, anywhere, before, after):
    recipe = captured_recipe()

    def stop(point):
        if point.images == 100 + 2 * 32:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError, match="epoch 2 after step 2"):
        train(recipe, tmp_path / "cut", device="cpu", capture=before, progress=stop)
    train(recipe, tmp_path / "cut", device="cpu", capture=after, resume=True)
    assert_same_bits(weights_of(tmp_path / "cut"), weights_of(by_steps.directory))


def test_a_loss_that_is_not_finite_stops_with_its_name(captured_recipe, tmp_path, anywhere):
    recipe = captured_recipe(optimiser={"name": "sgd", "learning_rate": 1e12})
    with pytest.raises(XkdError, match=r"the loss \w+ is not finite in step \d+ of epoch 1"):
        train(recipe, tmp_path, device="cpu", capture=True)


def operations_no_graph_holds(recipe, tmp_path):
    setup = set_up(recipe, "cpu", tmp_path)
    step = CapturedStep(setup)
    for group in setup.optimiser.param_groups:
        group["fused"] = True  # as on a GPU: a CPU's other kernels bring the learning rate to the host
    setup.wrapped.train()
    step(step.input(0, 0), 0.1, setup.objective.weights(1))
    (plan,) = step._plans.values()
    plan.indices.copy_(step.input(0, 1).indices)
    with UncapturableOperations() as operations:
        step._train(plan)
    return operations.found


TWO_TOKENS = {
    "architecture": "timm/deit_tiny_distilled_patch16_224",
    "arguments": {"patch_size": 8, "depth": 1, "embed_dim": 12, "num_heads": 2},
    "preprocess": {"size": [32, 32]},
}


@pytest.mark.parametrize("method", [name for name in METHODS.names() if METHODS[name].capturable and name != "ce"])
def test_a_step_holds_nothing_that_waits_draws_or_changes_shape(captured_recipe, tmp_path, method):
    options = TAPS if method == "ofd" else {}
    losses = [{"method": "ce"}, {"method": method, "weight": 0.01, **options}]
    needs = {} if METHODS[method].requires else {"teacher": None}
    needs |= {"student": TWO_TOKENS} if method == "token_kd" else {}
    assert not operations_no_graph_holds(captured_recipe(losses=losses, clip_norm=1.0, **needs), tmp_path)


@pytest.mark.parametrize("options", [{"top_k": 3}, {"resize": 2}, {"reading": "author"}, {"clamp": False}])
def test_nor_does_exp_kd_by_its_options(captured_recipe, tmp_path, options):
    losses = [{"method": "ce"}, {"method": "exp_kd", **options}]
    assert not operations_no_graph_holds(captured_recipe(losses=losses, precision="bf16"), tmp_path)


@pytest.mark.parametrize(("method", "operation"), [("vitkd", "aten.rand.default"), ("crd", "aten.randint.low")])
def test_what_is_not_capturable_is_known_by_its_operations(captured_recipe, tmp_path, method, operation):
    losses = [{"method": "ce"}, {"method": method, "weight": 0.01}]
    found = operations_no_graph_holds(captured_recipe(losses=losses), tmp_path)
    assert any(name.startswith(operation.rpartition(".")[0]) for name in found), found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "the device is 'cpu'; expected 'cuda', an NVIDIA GPU"),
        ({"accumulate": 2}, "accumulate is 2; expected 1"),
        ({"precision": "fp16"}, "precision is 'fp16', whose overflows are waited for; expected bf16 or fp32"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing is true"),
        ({"data": AUGMENTED | {"mixup": 0.8}}, "data.mixup draws at random, image by image or step by step"),
        ({"data": AUGMENTED | {"erasing": 0.2}}, "data.erasing draws at random"),
        ({"compile": True}, "compile is true"),
        ({"optimiser": {"name": "adamw", "learning_rate": 0.1}}, "optimiser.name is 'adamw'; expected 'sgd'"),
        ({"losses": [*KD, {"method": "crd", "negatives": 4}]}, "the method crd draws at random"),
        (
            {"losses": [*KD, {"method": "vitkd"}, {"method": "e2kd"}]},
            "the method vitkd, e2kd draws at random, or does",
        ),
    ],
)
def test_what_no_graph_holds_is_refused_in_one_line(captured_recipe, tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)  # which takes 20 s, and is refused
    setup = set_up(captured_recipe(**changes), "cpu", tmp_path)
    if changes:
        monkeypatch.setattr(type(setup.accelerator), "device", torch.device("cuda"))
    with pytest.raises(XkdError, match=f"^capture: {message}.*; leave `capture` out$") as error:
        check_capturable(setup)
    assert "\n" not in str(error.value)


def test_a_refused_run_leaves_no_checkpoint(captured_recipe, tmp_path):
    with pytest.raises(XkdError, match="capture: the device is 'cpu'"):
        train(captured_recipe(), tmp_path, device="cpu", capture=True)
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.gpu
@pytest.mark.parametrize("changes", [{}, {"precision": "bf16"}, {"clip_norm": 0.5}, {"losses": EXP_KD}])
def test_a_graph_gives_the_losses_of_ordinary_steps(captured_recipe, tmp_path, changes):
    observed = {}
    for make in (OrdinaryStep, CapturedStep):
        setup = set_up(captured_recipe(**changes), "auto", tmp_path)
        setup.wrapped.train()
        step = make(setup)
        observed[make] = []
        for number in range(len(setup.train.steps)):
            values = step(step.input(0, number), 0.01 * (number + 1), setup.objective.weights(1 + number // 5))
            observed[make].append(torch.stack([value.detach().float() for value in values.values()]).clone())
    assert len(observed[CapturedStep]) > 5
    torch.testing.assert_close(
        torch.stack(observed[CapturedStep]), torch.stack(observed[OrdinaryStep]), rtol=0.02, atol=0.02
    )


@pytest.mark.gpu
def test_no_captured_step_waits_for_the_gpu(captured_recipe, tmp_path):
    setup = set_up(captured_recipe(), "auto", tmp_path)
    setup.wrapped.train()
    step, weights = CapturedStep(setup), setup.objective.weights(1)
    for number in range(5):
        step(step.input(0, number), 0.1, weights)
    given = step.input(0, 5)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(given, 0.1, weights)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_a_captured_training_learns_and_is_continued(captured_recipe, tmp_path):
    def stop(point):
        if point.images == 5 * 350 + 5 * 32:
            os.kill(os.getpid(), signal.SIGINT)

    recipe = captured_recipe(epochs=8, optimiser={"name": "sgd", "learning_rate": 0.3})
    with pytest.raises(TrainingInterruptedError):
        train(recipe, tmp_path, capture=True, progress=stop)
    assert train(recipe, tmp_path, capture=True, resume=True).result["last"]["test_top1"] > 0.8
