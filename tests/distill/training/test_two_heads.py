"""Students whose logits are the average of two heads: both start from weights, or both from random ones."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from distill.data.classes import Classes
from distill.recipe.networks import Student
from distill.training.start import Start, start_from
from xkd_eval import Preprocess
from xkd_eval.errors import XkdError

NAMES = ("cat", "dog", "owl")
HEADS = {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}


class OfOneVector(nn.Module):
    """Both heads read the same."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head, self.head_dist = nn.Linear(4, num_classes), nn.Linear(4, num_classes)

    def forward(self, images):
        pooled = self.conv(images).relu().mean((2, 3))
        return (self.head(pooled) + self.head_dist(pooled)) / 2


def of_two_tokens(num_classes):
    """Each reads a token of its own."""
    size = {"img_size": 32, "embed_dim": 24, "depth": 1, "num_heads": 2}
    return timm.create_model("deit_tiny_distilled_patch16_224", num_classes=num_classes, **size)


made = pytest.mark.parametrize("make", [OfOneVector, of_two_tokens], ids=["one vector", "two tokens"])


def started(make, state, names=None):
    """A student of three classes, its weights from `state`; the names of what is not from there; what is said."""
    torch.manual_seed(1)
    network = make(3).eval()
    recipe = Student(architecture="timm/deit_tiny_distilled_patch16_224")
    given = Start(state, "w.pt", None, names=names)
    (note,) = start_from(network, recipe, given, Preprocess(size=(32, 32)), Classes(3, NAMES))
    own = network.state_dict()
    return {name for name in own if name not in state or not torch.equal(own[name], state[name])}, note


def state_of(make, num_classes=3, without=()):
    torch.manual_seed(2)
    state = make(num_classes).state_dict()
    return {name: tensor for name, tensor in state.items() if name.partition(".")[0] not in without}


@made
def test_both_are_taken_or_drawn_anew(make):
    state = state_of(make)
    fresh, note = started(make, state, NAMES)
    assert not fresh and note.startswith("student.weights: all ")
    fresh, note = started(make, state, ("oak", "elm", "ash"))
    assert fresh >= {"head.weight", "head_dist.weight"} and fresh <= HEADS  # biases of zeros are alike
    assert "its head of as many classes, which are others" in note
    assert note.endswith("starts from random weights (head.weight, head.bias, head_dist.weight, head_dist.bias)")


@made
def test_a_backbone_without_either_has_no_head(make):
    fresh, note = started(make, state_of(make, without=("head", "head_dist")))
    assert fresh == HEADS and "it has no head, and one of 3 starts from random weights" in note


@made
@pytest.mark.parametrize(("without", "kept"), [("head", "head_dist"), ("head_dist", "head")], ids=["second", "first"])
def test_one_alone_is_half_a_head(make, without, kept):
    with pytest.raises(XkdError, match=rf"^student\.weights: .* 2 missing \({without}\.weight, {without}\.bias\)"):
        started(make, state_of(make, without=(without,)))
    # Of other classes it is dropped, and nothing of it is half.
    fresh, note = started(make, state_of(make, 7, without=(without,)))
    assert fresh == HEADS and "its head of 7 classes was dropped" in note and f"{kept}.weight" in note
