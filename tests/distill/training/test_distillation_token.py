"""Students of two tokens: the labels teach the one, the teacher the other, and both together answer."""

from __future__ import annotations

import pytest
import torch

from distill.data.splits import Classes
from distill.methods import Pass, create_method
from distill.recipe.networks import Student
from distill.training.networks import build_student
from distill.training.observed import Observed
from distill.training.train import train
from xkd_eval import load_classifier
from xkd_eval.errors import XkdError

DEIT = "timm/deit_tiny_distilled_patch16_224"
SMALL = {"patch_size": 8, "depth": 1, "embed_dim": 12, "num_heads": 2}
NEEDS = frozenset({"logits", "distillation token"})
HALVES = [{"method": "ce", "weight": 0.5}, {"method": "token_kd", "weight": 0.5}]


def deit(**changes):
    return {"architecture": DEIT, "arguments": SMALL, "preprocess": {"size": [32, 32]}, **changes}


def observed(needs=NEEDS) -> Observed:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = build_student(Student(**deit()), Classes(10), needs).classifier
        for head in (student.model.head, student.model.head_dist):
            torch.nn.init.normal_(head.weight)
    return Observed(student, needs, ())


def test_in_training_the_heads_answer_apart_and_afterwards_as_one():
    network, images = observed(), torch.rand(2, 3, 32, 32)
    apart, together = network.train()(images), network.eval()(images)
    assert not torch.allclose(apart.logits, apart.distilled_logits)
    torch.testing.assert_close((apart.logits + apart.distilled_logits) / 2, together.logits)
    assert together.distilled_logits is None
    without = observed(frozenset({"logits"})).train()(images)
    torch.testing.assert_close(without.logits, together.logits)
    assert without.distilled_logits is None


def test_the_labels_reach_one_head_and_the_teacher_the_other():
    network = observed().train()
    passed, labels = network(torch.rand(2, 3, 32, 32)), torch.tensor([3, 4])
    heads = network.classifier.model.head.weight, network.classifier.model.head_dist.weight
    for name, reached in (("ce", (True, False)), ("kd", (True, False)), ("token_kd", (False, True))):
        (loss,) = create_method(name)(passed, Pass(torch.randn(2, 10)), labels).values()
        gradients = torch.autograd.grad(loss, heads, retain_graph=True, allow_unused=True)
        assert tuple(gradient is not None for gradient in gradients) == reached


def test_the_saved_student_answers_by_the_average(recipe_of, teacher, tmp_path):
    recipe = recipe_of(losses=HALVES, teacher={"model": str(teacher)}, epochs=1, student=deit(), ema_decay=0.9)
    result = train(recipe, tmp_path / "run", device="cpu").result
    assert {"ce", "token_kd"} <= result["last"].keys()
    student = load_classifier(tmp_path / "run" / "student.pt")
    images = torch.rand(2, 3, 32, 32)
    features = student.model.forward_features(images)
    heads = student.model.head(features[:, 0]), student.model.head_dist(features[:, 1])
    torch.testing.assert_close(student(images), (heads[0] + heads[1]) / 2)


def test_a_student_without_one_is_refused(recipe_of, teacher, tmp_path):
    recipe = recipe_of(losses=HALVES, teacher={"model": str(teacher)})
    with pytest.raises(XkdError, match=r"^student: resnet8 has no distillation token, which a method needs: .* give "):
        train(recipe, tmp_path / "run", device="cpu")
    explains = [*HALVES, {"method": "explanation_kd"}]
    recipe = recipe_of(losses=explains, teacher={"model": str(teacher)}, student=deit())
    with pytest.raises(XkdError, match=r"^student: a method differentiates its logits, and another one needs those of"):
        train(recipe, tmp_path / "run", device="cpu")
