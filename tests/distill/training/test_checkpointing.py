"""Stages that are computed again give the same bits, taps and statistics included; what cannot be is refused."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from distill.training.checkpointing import checkpoint_stages
from distill.training.setup import set_up
from distill.training.step import OrdinaryStep
from tests.distill.conftest import assert_same_bits
from xkd_eval.classifiers.architectures import build
from xkd_eval.errors import XkdError

SMALL = {"architecture": "resnet8", "arguments": {"widths": [2, 2, 4, 4]}, "preprocess": {"size": [16, 16]}}
TAPS = {name: ["layer1.0.bn1", "layer2", "layer3.0.conv1"] for name in ("student_taps", "teacher_taps")}
LOSSES = {
    "inner taps": [{"method": "ce"}, {"method": "at", "weight": 10, **TAPS}],
    "features": [{"method": "ce"}, {"method": "exp_kd", "weight": 10}, {"method": "fitnet"}],
    "input gradients": [{"method": "ce"}, {"method": "e2kd"}],
}


@pytest.mark.parametrize("losses", LOSSES)
def test_two_steps_are_those_without(recipe_of, tmp_path, teacher, losses):
    trained, values = [], []
    for checkpointing in (False, True):
        recipe = recipe_of(
            gradient_checkpointing=checkpointing,
            losses=LOSSES[losses],
            teacher={"model": str(teacher)},
            student=SMALL,
            batch_size=16,
            accumulate=2,
        )
        setup = set_up(recipe, "cpu", tmp_path)
        setup.wrapped.train()
        step = OrdinaryStep(setup)
        for number in range(2):
            values.append(step(step.input(0, number), 0.1, setup.objective.weights(1)))
        trained.append(setup.student.model.state_dict())
    assert_same_bits(*trained)
    assert trained[0]["bn1.num_batches_tracked"] == trained[1]["layer1.0.bn1.num_batches_tracked"] == 4
    for name, value in values[1].items():
        assert torch.equal(value, values[3][name]), name


class Listed(nn.Module):
    """Stages in lists of modules, which are gone through and never called."""

    def __init__(self):
        super().__init__()
        self.stage1 = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())])
        self.stage2 = nn.ModuleList([nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())])

    def forward(self, images):
        for stage in (self.stage1, self.stage2):
            for part in stage:
                images = part(images)
        return images


def test_what_is_in_a_list_is_computed_again():
    network, calls = Listed(), []
    network.stage2[0][0].register_forward_hook(lambda *arguments: calls.append(1))
    checkpoint_stages(network)
    network(torch.rand(2, 3, 16, 16)).sum().backward()
    assert len(calls) == 2


def test_a_stage_is_computed_again_for_its_gradient_alone():
    calls = []
    network = build("resnet8", 10, widths=[2, 2, 4, 4])
    network.layer2[0].conv1.register_forward_hook(lambda *arguments: calls.append(1))
    checkpoint_stages(network)
    logits = network(torch.rand(2, 3, 16, 16))
    assert len(calls) == 1
    logits.sum().backward()
    assert len(calls) == 2
    network.eval()(torch.rand(2, 3, 16, 16)).sum().backward()
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("name", "options"),
    [("vit_tiny_patch16_224", {"img_size": 32, "depth": 2}), ("convnext_atto", {"drop_path_rate": 0.0})],
)
def test_gradients_of_timms_networks_are_those_without(name, options):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=4, **options).train()
    images = torch.rand(2, 3, 32, 32)
    gradients = []
    for change in (lambda network: None, checkpoint_stages):
        change(network)
        network(images).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
        network.zero_grad()
    assert_same_bits(*gradients)


class Writes(nn.Module):
    """Its second stage writes to what it is given."""

    stages = ("first", "second")

    def __init__(self, num_classes=10):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.second = nn.Sequential(nn.SiLU(inplace=True), nn.Conv2d(4, 4, 3))
        self.head = nn.Linear(4, num_classes)

    def forward(self, images):
        return self.head(self.second(self.first(images)).mean((2, 3)))


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ("test_loop:Dropping", r"^gradient_checkpointing: the student has no stages that are known; give its module"),
        ("test_checkpointing:Drops", r"^student: it draws at random while its gradient is computed; leave activation"),
        ("test_checkpointing:Writes", r"^gradient_checkpointing: a stage's input is written to; leave it out"),
    ],
)
def test_what_cannot_be_computed_again_is_refused(recipe_of, tmp_path, student, message):
    architecture = f"py:tests.distill.training.{student}"
    recipe = recipe_of(
        gradient_checkpointing=True, student={"architecture": architecture, "preprocess": {"size": [32, 32]}}
    )
    with pytest.raises(XkdError, match=message) as error:
        set_up(recipe, "cpu", tmp_path)
    assert "\n" not in str(error.value)


class Drops(Writes):
    """Drops within a stage."""

    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.second = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(4, 4, 3))


def test_compiling_beside_it_is_refused(recipe_of, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    with pytest.raises(XkdError, match="compile: gradient_checkpointing is true; expected one of the two"):
        set_up(recipe_of(compile=True, gradient_checkpointing=True), "cpu", tmp_path)
