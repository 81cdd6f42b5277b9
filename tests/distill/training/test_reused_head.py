"""A student that keeps its projector and its teacher's head: what is written of it, and what cannot be."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from distill.recipe.parse import parse_recipe
from distill.runs.outcome_file import read_result
from distill.training.setup import set_up
from distill.training.train import train
from tests.distill.conftest import assert_same_bits, values_of, weights_of
from xkd_eval import load_classifier
from xkd_eval.classifiers.checkpoint import read_checkpoint, save_checkpoint
from xkd_eval.errors import XkdError

SIMKD = [{"method": "simkd"}]


@pytest.fixture(scope="module")
def trained(cifar10, teacher, tmp_path_factory) -> Path:
    """By the feature loss alone, as published."""
    directory = tmp_path_factory.mktemp("simkd")
    recipe = values_of(cifar10, losses=SIMKD, teacher={"model": str(teacher)}, epochs=3)
    train(parse_recipe(recipe), directory, device="cpu")
    return directory


def test_the_student_is_backbone_projector_and_the_teachers_head(trained, teacher):
    student, taught_by = load_classifier(trained / "student.pt"), load_classifier(teacher)
    assert {name.partition(".")[0] for name in student.model.state_dict()} == {"backbone", "projector", "linear"}
    assert "linear.weight" not in student.model.backbone.state_dict()
    assert torch.equal(student.model.linear.weight, taught_by.model.linear.weight)
    assert torch.equal(student.model.linear.bias, taught_by.model.linear.bias)
    assert str(student.head) == "projector (NCHW, 8x8), head linear"
    written = read_checkpoint(trained / "student.pt")
    assert written.architecture == "reused_head"
    assert written.arguments["backbone"] == "resnet8"
    assert written.arguments["arguments"] == {"num_classes": 10, "widths": [8, 8, 16, 16]}
    assert (written.arguments["channels"], written.arguments["hidden"]) == (32, 16)


def test_without_cross_entropy_it_learns_to_agree_with_its_teacher(trained):
    """Ten classes that are alike would agree in a tenth."""
    result = read_result(trained)
    assert "ce" not in result["last"] and result["last"]["simkd"] > 0
    assert result["last"]["test_agreement"] > 0.2


def test_what_it_projects_is_what_its_head_reads(trained):
    """By hand: the stages, the projector, the average, the teacher's layer."""
    network = load_classifier(trained / "student.pt").model
    images = torch.randn(3, 3, 32, 32)
    backbone = network.backbone
    with torch.no_grad():
        features = backbone.relu1(backbone.bn1(backbone.conv1(images)))
        for stage in (backbone.layer1, backbone.layer2, backbone.layer3):
            features = stage(features)
        projected = network.projector(features)
        expected = projected.mean((2, 3)) @ network.linear.weight.T + network.linear.bias
        torch.testing.assert_close(network(images), expected)


def test_stopped_after_an_epoch_it_continues_to_the_same_bits(trained, cifar10, teacher, tmp_path):
    values = values_of(cifar10, losses=SIMKD, teacher={"model": str(teacher)}, epochs=3)

    def stop(point):
        if point.epoch == 2 and point.metrics is None and point.loss is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(parse_recipe(values), tmp_path, device="cpu", progress=stop)
    train(parse_recipe(values), tmp_path, device="cpu", resume=True)
    assert_same_bits(weights_of(tmp_path), weights_of(trained))


def test_other_methods_see_the_projected_map(recipe_of, teacher):
    taps = {"student_taps": ["backbone.layer2"], "teacher_taps": ["layer2"]}
    losses = [*SIMKD, {"method": "exp_kd", "weight": 1000}, {"method": "at", **taps}]
    setup = set_up(recipe_of(losses=losses, teacher={"model": str(teacher)}), "cpu", Path())
    setup.objective.train()
    passed = setup.objective.student(torch.randn(4, 3, 32, 32))
    assert passed.features.shape == (4, 32, 8, 8)
    assert passed.head_weight.shape == (10, 32)
    assert passed.taps["backbone.layer2"].shape == (4, 16, 16, 16)
    assert not list(setup.objective.methods[0].parameters())
    assert setup.notes[0] == (
        "student: resnet8 up to layer3, a projector of 3,200 parameters that is kept, and the head of student, which "
        "is not trained"
    )


def test_the_head_is_not_trained_and_what_is_frozen_stays_so(recipe_of, teacher):
    student = {"architecture": "resnet8", "arguments": {"widths": [8, 8, 16, 16]}, "preprocess": {"size": [32, 32]}}
    recipe = recipe_of(losses=SIMKD, teacher={"model": str(teacher)}, student={**student, "freeze": ["layer1"]})
    setup = set_up(recipe, "cpu", Path())
    network = setup.student.model
    trains = {name for name, value in network.named_parameters() if value.requires_grad}
    assert not any(name.startswith(("linear", "backbone.layer1")) for name in trains)
    assert any(name.startswith("projector") for name in trains)
    setup.objective.student.train()
    assert network.backbone.layer2[0].bn1.training and not network.backbone.layer1[0].bn1.training


def test_the_teachers_classes_may_be_in_another_order(recipe_of, teacher, tmp_path):
    """Its rows go where the data has their classes."""
    known = read_checkpoint(teacher)
    order = [*range(1, 10), 0]
    state = {**known.state_dict}
    for name in ("linear.weight", "linear.bias"):
        state[name] = state[name][order]
    turned = replace(known, state_dict=state, class_names=tuple(known.class_names[place] for place in order))
    save_checkpoint(turned, tmp_path / "turned.pt")
    setup = set_up(recipe_of(losses=SIMKD, teacher={"model": str(tmp_path / "turned.pt")}), "cpu", Path())
    assert torch.equal(setup.student.model.linear.weight, known.state_dict["linear.weight"])


def test_a_larger_map_is_averaged_to_the_teachers(recipe_of, teacher):
    student = {"architecture": "resnet8", "arguments": {"widths": [8, 8, 16, 16]}, "preprocess": {"size": [64, 64]}}
    setup = set_up(recipe_of(losses=SIMKD, teacher={"model": str(teacher)}, student=student), "cpu", Path())
    assert setup.arguments["size"] == [8, 8]
    assert setup.student.head.map_size == (8, 8)
    features = []
    setup.student.model.backbone.layer3.register_forward_hook(lambda *call: features.append(call[2]))
    setup.objective.eval()
    projected = setup.objective.student(torch.randn(2, 3, 64, 64)).features
    (features,) = features
    pooled = features.reshape(2, 16, 8, 2, 8, 2).mean((3, 5))
    torch.testing.assert_close(projected, setup.student.model.projector(pooled))


class ChannelsAreClasses(nn.Module):
    """As SqueezeNet: a convolution to the classes, then the average."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.pool(self.body(images)).flatten(1)


class Attending(nn.Module):
    """Pooled by weights that follow from the image, so that there is no CAM."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU())
        self.scores, self.linear = nn.Conv2d(8, 1, 1), nn.Linear(8, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.body(images)
        shares = self.scores(features).flatten(2).softmax(2)
        return self.linear((features.flatten(2) * shares).sum(2))


REFUSED = {
    "a teacher whose channels are the classes": (
        {"teacher": {"model": f"py:{__name__}:ChannelsAreClasses", "preprocess": {"size": [32, 32]}}},
        "losses: simkd: .* has no linear head to reuse, as the channels of its map are the classes",
    ),
    "a teacher without a CAM head": (
        {"teacher": {"model": f"py:{__name__}:Attending", "preprocess": {"size": [32, 32]}}},
        "teacher: .* has no CAM head, which a method needs",
    ),
    "a student without a CAM head": (
        {"student": {"architecture": f"py:{__name__}:Attending", "preprocess": {"size": [32, 32]}}},
        "student: .* has no CAM head, which a method needs",
    ),
    "two of them": (
        {"losses": [*SIMKD, {"method": "simkd", "name": "other"}]},
        "losses: 2 entries of simkd found; expected one",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_where_it_cannot_be_one_line_says_why(recipe_of, teacher, name):
    changes, message = REFUSED[name]
    recipe = recipe_of(**{"losses": SIMKD, "teacher": {"model": str(teacher)}, **changes})
    with pytest.raises(XkdError) as error:
        set_up(recipe, "cpu", Path())
    assert re.match(message, str(error.value)) and "\n" not in str(error.value)


def test_of_several_teachers_the_named_one_gives_its_head(recipe_of, teacher, tmp_path):
    narrow = {"model": f"py:{__name__}:Attending", "preprocess": {"size": [32, 32]}}
    losses = [{"method": "simkd", "teacher": "wide"}, {"method": "kd", "teacher": "narrow"}]
    recipe = recipe_of(losses=losses, teachers={"narrow": narrow, "wide": {"model": str(teacher)}})
    setup = set_up(recipe, "cpu", Path())
    assert torch.equal(setup.student.model.linear.weight, load_classifier(teacher).model.linear.weight)
