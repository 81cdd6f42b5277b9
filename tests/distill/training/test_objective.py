"""The objective: weights, and losses that teach nothing."""

import pytest
import torch
from torch.nn import functional

from distill.methods import create_method
from distill.methods.base import Method
from distill.training.setup import set_up
from distill.training.train import train
from tests.distill.conftest import KD
from xkd_eval.errors import XkdError


class Nothing(Method):
    """A loss without a value, or without a gradient."""

    name = "nothing"
    requires = frozenset({"logits"})

    def __init__(self, value):
        super().__init__()
        self.value = value

    def losses(self, student, teacher, labels, indices):
        return {"nothing": self.value(student.logits)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda logits: logits.sum() * 0, "nothing is zero for a student with random weights"),
        (lambda logits: logits.detach().square().sum(), "nothing gives the student no gradient"),
        (lambda logits: logits.sum() / 0, "nothing is (inf|-inf|nan) on the first batch"),
        (lambda logits: (logits - logits.detach()).abs().sqrt().sum() + 1, "nothing has a gradient .* not finite"),
    ],
)
def test_a_loss_that_teaches_nothing_stops_at_the_start(recipe_of, tmp_path, teacher, monkeypatch, value, message):
    make = create_method
    monkeypatch.setattr(
        "distill.training.objective.create_method",
        lambda name, **options: Nothing(value) if name == "kd" else make(name, **options),
    )
    with pytest.raises(XkdError, match=f"losses: {message}"):
        train(recipe_of(losses=KD, teacher={"model": str(teacher)}), tmp_path / "run", device="cpu")


class Cross(Method):
    """Cross-entropy by another name, or its opposite."""

    name = "cross"
    citation = "a test"
    requires = frozenset()

    def __init__(self, sign, called):
        super().__init__()
        self._sign, self._called = sign, called

    def losses(self, student, teacher, labels, indices):
        return {self._called: self._sign * functional.cross_entropy(student.logits, labels)}


class Half(Cross):
    """A method whose name another's results begin with."""

    name = "cr"


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ([Cross(1, "cross"), Cross(-1, "cross_opposite")], "losses: the weighted sum gives the student no gradient"),
        ([Cross(1, "cross"), Half(1, "cross")], "losses: cross and cr both call a result 'cross'; give one a `name`"),
    ],
)
def test_methods_are_looked_at_together(recipe_of, tmp_path, monkeypatch, methods, message):
    monkeypatch.setattr("distill.training.lessons.create_methods", lambda losses: methods)
    with pytest.raises(XkdError, match=f"^{message}"):
        set_up(recipe_of(losses=[{"method": "ce"}, {"method": "kd"}]), "cpu", tmp_path)


def test_weights_combine_and_grow(recipe_of, tmp_path, teacher):
    losses = [{"method": "ce", "weight": 0.5}, {"method": "kd", "weight": 2, "ramp_epochs": 4}]
    setup = set_up(recipe_of(losses=losses, teacher={"model": str(teacher)}), "cpu", tmp_path)
    batch = next(iter(setup.train.batches(0, 0)))
    passed = setup.teachers(batch)
    for epoch, share in ((1, 0.25), (3, 0.75), (4, 1.0), (9, 1.0)):
        weights = setup.objective.weights(epoch)
        values = setup.wrapped(setup.normalise(batch.pixels), passed, batch.labels, batch.indices, weights)
        torch.testing.assert_close(values["total"], 0.5 * values["ce"] + share * 2 * values["kd"])
