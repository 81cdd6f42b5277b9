"""One step of each loss on maps on the way, on each pair of the literature: published widths and sizes, no weights."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from distill.data.splits import Classes
from distill.methods import create_method
from distill.recipe.networks import Student
from distill.training.networks import build_student, taps_of
from distill.training.observed import Observed
from xkd_eval.engines.folding import fold_batch_norms

METHODS = ("at", "nst", "fitnet", "ofd", "reviewkd")
PAIRS = [
    ("resnet56", "resnet20"),
    ("resnet110", "resnet20"),
    ("resnet110", "resnet32"),
    ("resnet32x4", "resnet8x4"),
    ("wrn_40_2", "wrn_16_2"),
    ("wrn_40_2", "wrn_40_1"),
    ("vgg13", "vgg8"),
    ("resnet50", "vgg8"),
    ("resnet32x4", "shufflenetv1"),
    ("resnet32x4", "shufflenetv2"),
    ("resnet32x4", "mobilenetv2"),
    ("wrn_40_2", "shufflenetv1"),
    ("vgg13", "mobilenetv2"),
    ("resnet50", "mobilenetv2"),
]
HINTS = {
    "resnet": "layer2",
    "wrn": "features.stage2",
    "vgg": "features.stage3",
    "mobilenet": "features.stage2",
    "shufflenet": "features.stage2",
}
"""By family, the map that FitNet's regressor is given or gives."""


def classifier_of(name):
    recipe = Student(architecture=name, preprocess={"size": [32, 32]})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_student(recipe, Classes(100), frozenset({"taps", "embedding"})).classifier


@cache
def images():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@cache
def answer_of(name, whose):
    """The pass of a student in training mode, or of a teacher as a training freezes it; and what methods are told."""
    told = [create_method(method) for method in METHODS]
    classifier, needs = classifier_of(name), frozenset({"taps", "embedding"})
    taps = taps_of(told, classifier, whose)
    if whose == "student":
        return Observed(classifier, needs, taps).train()(images()), told
    fold_batch_norms(classifier.eval(), images(), {tap.path for tap in taps})
    with torch.no_grad():
        return Observed(classifier, needs, taps, trains=False).eval()(images()), told


def hint_of(name):
    return next(path for family, path in HINTS.items() if name.startswith(family))


@pytest.mark.parametrize(("teacher", "student"), PAIRS)
def test_every_loss_on_maps_takes_a_step(teacher, student):
    (own, of_student), (other, of_teacher) = answer_of(student, "student"), answer_of(teacher, "teacher")
    methods = {name: create_method(name) for name in METHODS}
    labels = torch.tensor([0, 1, 2, 3])
    for (name, method), its, taught in zip(methods.items(), of_student, of_teacher, strict=True):
        method.student_stages, method.teacher_stages = its.student_stages, taught.teacher_stages
        method.teacher_norms = taught.teacher_norms
        method.setup(own, other, 4)
        (loss,) = method(own, other, labels).values()
        shallow = own.taps[method.paired[0][0]]
        (gradient,) = torch.autograd.grad(loss, [shallow], retain_graph=True)
        assert loss.isfinite() and loss > 0 and gradient.any(), name
        assert not method.remark, name
    fewer = 3 if teacher.startswith(("resnet32x4", "resnet56", "resnet110", "wrn")) else 4
    assert {name: len(method.paired) for name, method in methods.items()} == {
        **dict.fromkeys(METHODS, fewer),
        "fitnet": 1,
    }
    assert methods["fitnet"].paired == ((hint_of(student), hint_of(teacher)),)
