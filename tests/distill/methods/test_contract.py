"""Every method keeps the contract that outsiders check theirs by, and what breaks it is named."""

from __future__ import annotations

import pytest
import torch

from distill.methods import METHODS, Method
from distill.testing import check_method

OPTIONS = {"crd": {"negatives": 8}}


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_keeps_it(name):
    check_method(name, **OPTIONS.get(name, {}))


@pytest.mark.parametrize("options", [{"top_k": 3}, {"resize": 2}, {"reading": "author"}, {"clamp": False}])
def test_exp_kd_keeps_it_by_its_options(options):
    check_method("exp_kd", **options)


def method(losses, requires=frozenset({"logits"}), parameter=False, **attributes):
    """A class whose losses are a function of itself, the student's pass and the teacher's."""

    class Example(Method):
        name = "example"
        citation = "none"

        def __init__(self):
            super().__init__()
            self.calls = 0
            if parameter:
                self.idle = torch.nn.Parameter(torch.zeros(1))

        def losses(self, student, teacher, labels, indices):
            self.calls += 1
            self.labels = labels
            return losses(self, student, teacher)

    Example.requires = requires
    for name, value in attributes.items():
        setattr(Example, name, value)
    return Example


def distance(student, teacher):
    return (student.logits - teacher.logits).square().mean()


BROKEN = {
    "is no scalar": method(lambda self, s, t: {"example": s.logits}),
    "a name that begins with 'example'": method(lambda self, s, t: {"other": distance(s, t)}),
    "expected losses by name": method(lambda self, s, t: distance(s, t)),
    "is nan for random networks": method(lambda self, s, t: {"example": distance(s, t) * float("nan")}),
    "teach nothing": method(lambda self, s, t: {"example": 0 * distance(s, t)}),
    "carry no gradient": method(lambda self, s, t: {"example": distance(s, t).detach()}),
    "gives the student no gradient": method(lambda self, s, t: {"example": t.images.square().mean()}),
    "a copy says something else": method(lambda self, s, t: {"example": (id(self) % 1009 + 1) * distance(s, t)}),
    "loaded from its state_dict": method(lambda self, s, t: {"example": self.calls * distance(s, t)}),
    "its parameter 'idle' gets no gradient": method(lambda self, s, t: {"example": distance(s, t)}, parameter=True),
    "requires 'maps'": method(lambda self, s, t: {"example": distance(s, t)}, frozenset({"maps"})),
    "set capturable = False": method(lambda self, s, t: {"example": distance(s, t) * distance(s, t).item()}),
    r"by a batch of 1 and 6 classes the loss 'example' is not finite; set needs_images": method(
        lambda self, s, t: {"example": distance(s, t) / s.logits.std(0).mean()}
    ),
    r"by a batch of 5 and 2 classes it fails .*; set needs_images and needs_classes": method(
        lambda self, s, t: {"example": distance(s, t) * s.logits[:, 2].square().mean()}
    ),
    "needs_images is 0; expected an integer of at least 1": method(
        lambda self, s, t: {"example": distance(s, t)}, needs_images=0
    ),
    r"labels that are shares of classes fail .*; set takes_mixed = False": method(
        lambda self, s, t: {"example": distance(s, t) + s.logits.gather(1, self.labels[:, None]).mean()},
        takes_mixed=True,
    ),
    "whole shares of classes give something else than their numbers": method(
        lambda self, s, t: {"example": distance(s, t) * self.labels.float().std()}, takes_mixed=True
    ),
    "expected torch.float32": method(lambda self, s, t: {"example": distance(s, t).bfloat16()}),
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN)
def test_what_breaks_it_is_said(message):
    with pytest.raises(AssertionError, match=message):
        check_method(BROKEN[message])


def test_what_is_no_method_is_said():
    with pytest.raises(AssertionError, match=r"expected a subclass of distill\.Method"):
        check_method(torch.nn.Linear)
    nameless = type("Nameless", (Method,), {"losses": lambda *arguments: {}})
    with pytest.raises(AssertionError, match="Nameless: no `name`; set it in the class"):
        check_method(nameless)


def test_what_a_graph_cannot_hold_may_be_declared():
    check_method(method(lambda self, s, t: {"example": distance(s, t) * distance(s, t).item()}, capturable=False))
