"""Every clause of an explainer's contract, violated once: the check says which."""

import random
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import Explainer
from xkd_eval.testing import check_explainer, small_classifier


@dataclass(frozen=True)
class Brightness(Explainer):
    """Holds to the contract: the mean over the channels."""

    name = "brightness"
    citation = "none"
    cost = "0"

    def __call__(self, classifier, images, classes, context=None):
        return images.mean(1)


@dataclass(frozen=True)
class Gradient(Brightness):
    """Holds to it with the network's gradient."""

    def __call__(self, classifier, images, classes, context=None):
        with torch.inference_mode(False), torch.enable_grad():
            inputs = images.clone().requires_grad_()
            logits = classifier(inputs).gather(1, classes.clone()[:, None])
            return torch.autograd.grad(logits.sum(), inputs)[0].sum(1)


@pytest.mark.parametrize("explainer", [Brightness(), Gradient(), "cam", "random", f"py:{__name__}:Brightness"])
def test_what_holds_passes(explainer):
    check_explainer(explainer)


@dataclass(frozen=True)
class Unhashable(Brightness):
    sizes: list = field(default_factory=lambda: [1])


@dataclass(frozen=True)
class Unequal(Brightness):
    sizes: object = field(default_factory=object)

    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__


@dataclass(frozen=True)
class Unrecorded(Brightness):
    sizes: object = frozenset({1})


@dataclass(frozen=True)
class Refusing(Brightness):
    def check(self, classifier):
        raise ExplainerError("needs a transformer")


def violating(body, **attributes):
    """Brightness whose call is `body(maps, classifier, images, classes, context)`."""

    def call(self, classifier, images, classes, context=None):
        return body(images.mean(1), classifier, images, classes, context)

    return type("Violating", (Brightness,), {"__call__": call, **attributes})()


def leave_a_hook(maps, classifier, *_):
    classifier.model.head.register_forward_hook(lambda *_: None)
    return maps


def train(maps, classifier, *_):
    classifier.model.train()
    return maps


def require_gradients(maps, classifier, *_):
    classifier.model.requires_grad_(True)
    return maps


def move_the_weights(maps, classifier, *_):
    classifier.model.head.weight.add_(1)
    return maps


def exchange_a_module(maps, classifier, *_):
    classifier.model.features[2] = nn.ReLU6()
    return maps


def say(maps, *_):
    print("explained")
    return maps


def remark(maps, *_):
    warnings.warn("explained", stacklevel=1)
    return maps


def draw(library):
    def body(maps, *_):
        library()
        return maps

    return body


def drift(maps, *_):
    drift.calls += 1
    return maps + drift.calls


drift.calls = 0


def resized(maps, classifier, images, classes, context):
    return maps if context.size is None else maps[:, :16]


def by_class(maps, classifier, images, classes, context):
    return maps + classes[:, None, None]


def by_weights(maps, classifier, *_):
    return maps + classifier.model.head.weight.sum()


@pytest.mark.parametrize(
    ("explainer", "violated"),
    [
        (Unhashable(), r"cannot be hashed \(unhashable type: 'list'\); take tuples for lists"),
        (Unequal(), "its copy is not equal to it"),
        (Unrecorded(), r"parameters\(\) holds what JSON cannot say"),
        (Refusing(), r"does not hold for SmallNetwork; pass a classifier that it holds for \(needs a transformer\)"),
        (
            violating(lambda maps, *_: maps.numpy()),
            r"returned a NumPy array .*; expected floats \(3, h, w\)",
        ),
        (violating(lambda maps, *_: maps[:, None]), r"tensor \(3, 1, 32, 32\); expected floats \(3, h, w\)"),
        (violating(lambda maps, *_: maps.mean(0, keepdim=True)), r"tensor \(1, 32, 32\); expected floats \(3, h, w\)"),
        (violating(lambda maps, *_: maps / 0), "NaN or infinite"),
        (violating(drift), "a second call gives another map"),
        (violating(lambda maps, *_: maps - maps.mean()), "an image alone gives another map than the image in a batch"),
        (violating(resized), r"`context\.size` changes the map; set reads_size = True: of shape"),
        (violating(by_class, model_free=True), "model_free, and another network and class give another map"),
        (violating(by_weights, model_free=True), "model_free, and another network and class give another map"),
        (violating(leave_a_hook), "it changes the hooks of the classifier's modules"),
        (violating(train), "it changes whether the classifier is in training mode"),
        (violating(require_gradients), "it changes which parameters require a gradient"),
        (violating(move_the_weights), "it wrote to the classifier's weights"),
        (violating(exchange_a_module), "it changes the classifier's modules"),
        (violating(say), "it prints 'explained'"),
        (violating(remark), "it warns 'explained'"),
        (violating(draw(lambda: torch.rand(1))), "it changes torch's random generator"),
        (violating(draw(np.random.random)), "it changes NumPy's random generator"),
        (violating(draw(random.random)), "it changes Python's random generator"),
    ],
)
@pytest.mark.filterwarnings("ignore:explained")
def test_what_is_violated_is_said_in_a_sentence(explainer, violated):
    with pytest.raises(AssertionError, match=f"^brightness: .*{violated}") as caught:
        check_explainer(explainer, small_classifier())
    assert "\n" not in str(caught.value)


def test_what_reads_the_size_may():
    check_explainer(violating(resized, reads_size=True))


def test_the_small_classifier_is_the_same_for_the_same_seed():
    assert small_classifier().digest() == small_classifier().digest() != small_classifier(seed=1).digest()
