"""Explanation KD: distances by hand, gradients by differences, and what cannot be differentiated."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import pytest
import torch
from torch import nn

from distill.losses import explanation_kd_loss
from distill.methods import Pass, create_method
from distill.methods.explaining import Explaining
from distill.testing import check_method
from xkd_eval import Explainer, Preprocess, register_explainer
from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.explainers.base import EXPLAINERS

IMAGES, CLASSES = 3, 4
LABELS = torch.tensor([0, 1, 2])


class Network(nn.Module):
    """Convolution, batch norm, smooth activation, average, linear: its second derivative is not zero."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, channels, 3, stride, padding=1), nn.BatchNorm2d(channels)
        self.smooth, self.linear = nn.Softplus(), nn.Linear(channels, CLASSES)

    def forward(self, images):
        return self.linear(self.features(images).mean((2, 3)))

    def features(self, images):
        return self.smooth(self.norm(self.convolution(images)))

    def run(self, images, places=None) -> Pass:
        head = CamHead("smooth", "linear", "NCHW", relu=False, steps=(), map_size=(8, 8), proof_error=0.0)
        known = {"name": "network", "num_classes": CLASSES, "head": head}
        classifier = Classifier.__new__(Classifier)  # which would make a copy of a network in double precision
        nn.Module.__init__(classifier)
        made = Classifier(nn.Identity(), Preprocess(size=(8, 8)), **known)
        vars(classifier).update({name: value for name, value in vars(made).items() if name != "_modules"})
        classifier.model = self
        features = self.features(images)
        logits = self.linear(features.mean((2, 3)))
        explaining = Explaining(classifier, images, places)
        return Pass(logits, features, self.linear.weight, self.linear.bias, explaining=explaining)


@pytest.fixture
def networks():
    torch.manual_seed(0)
    student, teacher = Network(4, stride=2).double(), Network(6, stride=1).double()
    return student, teacher.eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.randn(IMAGES, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_each_distance_by_hand():
    one, other = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 1.0]]])
    assert explanation_kd_loss(one, other).item() == pytest.approx(1 - 2**-0.5)
    assert explanation_kd_loss(one, other, "l2").item() == pytest.approx(0.5)
    rising = torch.tensor([[[1.0, 2.0, 4.0]]])
    assert explanation_kd_loss(rising, -3 * rising + 2, "correlation").item() == pytest.approx(2)
    peaked = torch.tensor([[[log(3.0), 0.0]]])  # 3/4 and 1/4 against a half each
    expected = 0.5 * log(0.5 / 0.75) + 0.5 * log(0.5 / 0.25)
    assert explanation_kd_loss(peaked, other, "kl").item() == pytest.approx(expected)
    assert explanation_kd_loss(2 * peaked, other, "kl", temperature=2).item() == pytest.approx(4 * expected)


@pytest.mark.parametrize("distance", ["cosine", "correlation", "l2", "kl"])
def test_equal_maps_lose_nothing_also_at_two_sizes(distance):
    maps = torch.rand(2, 3, 4, dtype=torch.float64)
    grown = torch.nn.functional.interpolate(maps[:, None], (6, 8), mode="bilinear")[:, 0]
    assert explanation_kd_loss(maps, grown, distance).item() == pytest.approx(0, abs=1e-12)


def test_maps_of_other_images_are_refused():
    with pytest.raises(XkdError, match=r"^teacher: shape \(1, 2, 2\) found"):
        explanation_kd_loss(torch.rand(2, 2, 2), torch.rand(1, 2, 2))


@pytest.mark.parametrize(
    "explainer", ["cam", "gradcam", "gradcam++", "hirescam", "input_x_gradient", "layercam:relu=false", "xgradcam"]
)
def test_the_students_gradient_by_differences(networks, images, explainer):
    student, teacher = networks
    method = create_method("explanation_kd", explainer=explainer)

    def loss():
        return method(student.run(images), teacher.run(images), LABELS)["explanation_kd"]

    for network in (student, teacher):
        network.float()
    method.setup(student.run(images.float()), teacher.run(images.float()), 20)
    for network in (student, teacher):
        network.double()
    loss().backward()
    weight = student.convolution.weight
    largest = weight.grad.abs().argmax()
    expected, values = weight.grad.flatten()[largest].item(), []
    for sign in (1, -2):
        with torch.no_grad():
            weight.view(-1)[largest] += sign * 1e-5
        values.append(loss().item())
    assert abs(expected) > 1e-4
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(expected, rel=2e-3)


def test_gradcam_of_a_linear_head_is_the_cam(networks, images):
    """So by either the loss is the same, up to the clamp."""
    passes = [network.float().run(images.float()) for network in networks]
    losses = {}
    for explainer in ("cam:clamp=true", "gradcam"):
        method = create_method("explanation_kd", explainer=explainer)
        losses[explainer] = method(*_set_up(method, passes), LABELS)["explanation_kd"]
    torch.testing.assert_close(losses["gradcam"], losses["cam:clamp=true"])


def _set_up(method, passes):
    method.setup(*passes, 20)
    return passes


def test_no_batch_counts_twice_in_the_batch_norms(networks, images):
    student, teacher = (network.float() for network in networks)
    passes = student.run(images.float()), teacher.run(images.float())
    before = {name: value.clone() for name, value in student.named_buffers()}
    method = create_method("explanation_kd")
    sum(method(*_set_up(method, passes), LABELS).values()).backward()
    after = dict(student.named_buffers())
    assert after.keys() == before.keys()
    assert before["norm.num_batches_tracked"] == 1
    for name, value in before.items():
        assert torch.equal(after[name], value), name


def test_the_class_that_is_explained(networks, images):
    """The teacher has the data's class k in another place, and the label may be asked for."""
    student, teacher = (network.float() for network in networks)
    images = images.float()
    places = torch.tensor([2, 0, 1])
    own, other = student.run(images), teacher.run(images, places)
    explained = other.explained(create_method("explanation_kd").explainer, LABELS)
    expected = teacher.run(images).explained(create_method("explanation_kd").explainer, places[LABELS])
    torch.testing.assert_close(explained, expected)
    told = create_method("explanation_kd", target="label", explainer="cam")
    cams = [network.cams(LABELS[:, None])[:, 0] for network in (own, teacher.run(images))]
    torch.testing.assert_close(
        told(*_set_up(told, (own, teacher.run(images))), LABELS)["explanation_kd"], explanation_kd_loss(*cams)
    )
    assert not told.takes_mixed and create_method("explanation_kd").takes_mixed


@pytest.mark.parametrize("name", ["rise", "eigencam", "integrated_gradients", "random"])
def test_what_has_no_gradient_is_refused_with_what_has_one(name):
    message = (
        rf"^explainer: the map of '{name}' has no gradient at a network's weights; choose cam, .*gradcam.* or \w+$"
    )
    with pytest.raises(XkdError, match=message):
        create_method("explanation_kd", explainer=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"explainer": "gradcamm"}, "^explainer: unknown 'gradcamm'; nearest: gradcam"),
        ({"explainer": 3}, "^explainer: a int found; expected a name"),
        ({"distance": "l3"}, "^distance: 'l3' found; expected one of 'cosine'"),
        ({"target": "student"}, "^target: 'student' found; expected one of 'teacher', 'label'"),
        ({"temperature": 0}, "^temperature: 0 found"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(XkdError, match=message):
        create_method("explanation_kd", **options)


@pytest.fixture
def own_explainer():
    """One of another package, which keeps the graph as it is asked to, or lets go of it."""
    made = []

    def make(keeps: bool):
        @dataclass(frozen=True)
        class Slope(Explainer):
            name = f"slope_{keeps}".lower()
            citation = "none"
            cost = "1 F + 1 B"

            def __call__(self, classifier, images, classes, context=None):
                images = images.detach().requires_grad_()
                chosen = classifier.model(images).gather(1, classes[:, None]).sum()
                return torch.autograd.grad(chosen, images, create_graph=keeps)[0].square().sum(1)

        register_explainer(Slope)
        made.append(Slope.name)
        return Slope.name

    yield make
    for name in made:
        EXPLAINERS._known.pop(name, None)


def test_one_of_another_package_teaches_if_its_map_has_a_gradient(own_explainer):
    check_method("explanation_kd", explainer=own_explainer(keeps=True))
    with pytest.raises(XkdError, match=r"^explainer: the map of 'slope_false' has no gradient at a network's weights"):
        check_method("explanation_kd", explainer=own_explainer(keeps=False))


def test_a_map_of_another_shape_is_named(networks, images):
    @dataclass(frozen=True)
    class Flat(Explainer):
        name, citation, cost = "flat", "none", "0"

        def __call__(self, classifier, images, classes, context=None):
            return images.mean((1, 2, 3))

    own = networks[0].float().run(images.float())
    with pytest.raises(
        ExplainerError, match=r"^explainer 'flat': its `differentiable` made \(3,\); expected \(3, h, w\)"
    ):
        own.explained(Flat(), LABELS)


def test_a_pass_without_a_network_is_named(student, teacher, labels):
    with pytest.raises(XkdError, match=r"^explaining: the pass has none; this method runs the network once more"):
        create_method("explanation_kd").setup(student, teacher, 20)
