"""observe: the caller's own module with its maps beside its logits, and a teacher that stays as it is."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

import distill
from distill import losses
from xkd_eval import load_classifier
from xkd_eval.errors import XkdError


def network() -> nn.Sequential:
    stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
    last = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    return nn.Sequential(stem, last, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


IMAGES = torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def test_a_module_is_observed_as_it_runs_and_trains():
    own = network()
    student = distill.observe(own, size=40)
    statistics = own[0][1].running_mean.clone()
    passed = student(IMAGES)
    assert own.training and not torch.equal(own[0][1].running_mean, statistics), "its own mode"
    torch.testing.assert_close(passed.embedding() @ own[4].weight.T + own[4].bias, passed.logits)
    torch.testing.assert_close(passed.cams().mean((2, 3)) + passed.head_bias, passed.logits)
    losses.exp_kd_loss(passed.cams(), torch.rand(4, 10, 9, 9)).backward()
    assert own[0][0].weight.grad.any() and own[4].weight.grad.any()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    torch.optim.SGD(student.parameters(), 0.1).step()
    assert not torch.equal(own[4].weight, before["4.weight"])
    own.eval()
    torch.testing.assert_close(student(IMAGES).logits, own(IMAGES))


def test_a_copy_observes_itself():
    """As a moving average is made, also after a step whose graph still lives."""
    student = distill.observe(network(), size=40, taps=["0"])
    passed = student(IMAGES)
    copied = deepcopy(student)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(2)
    student.classifier.model(IMAGES)  # by itself, which leaves nothing that a copy would trip over
    deepcopy(student)
    other = copied.eval()(IMAGES)
    assert not torch.equal(other.taps["0"], passed.taps["0"])
    torch.testing.assert_close(other.taps["0"], copied.classifier.model[0](IMAGES))
    torch.testing.assert_close(other.cams().mean((2, 3)) + other.head_bias, other.logits)
    torch.testing.assert_close(student.eval()(IMAGES).taps["0"], student.classifier.model[0](IMAGES))


def test_a_teacher_is_frozen_and_the_callers_stays_as_it_was():
    given = load_classifier("embedded/kd")
    teacher = distill.observe(given, taps="stages")
    passed = teacher(IMAGES)
    assert not passed.logits.requires_grad and not teacher.classifier.model.training
    torch.testing.assert_close(passed.logits, given(IMAGES))
    assert not any(part._forward_hooks for part in given.modules())
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    nn.ModuleList([teacher]).train()  # as a module around student and teacher is told to
    assert torch.equal(teacher(IMAGES).logits, passed.logits)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_every_method_takes_what_is_observed():
    student, teacher = distill.observe(network(), size=40, taps=["0", "1"]), distill.observe("embedded", taps="stages")
    own, other, labels = student(IMAGES), teacher(IMAGES), torch.arange(4)
    assert list(own.taps) == ["0", "1"] and [tap.shape[1] for tap in other.taps.values()] == [16, 32, 64]
    at = distill.create_method("at", teacher_taps=["layer2", "layer3"], student_taps=["0", "1"])
    fitnet = distill.create_method("fitnet", teacher_taps=["layer3"], student_taps=["1"])
    fitnet.setup(own, other, dataset_size=4)
    for method in (at, fitnet, distill.create_method("exp_kd"), distill.create_method("rkd")):
        (loss, *_) = method(own, other, labels).values()
        assert loss > 0 and loss.requires_grad
    assert len(list(fitnet.parameters())) == 4


def test_images_require_a_gradient_where_it_was_asked_for():
    own = distill.observe(network(), size=40, input_gradients=True)(IMAGES.clone())
    other = distill.observe("embedded", input_gradients=True)(IMAGES.clone())
    for explanation in ("gradcam", "input_x_gradient"):
        assert losses.e2kd_loss(own, other, explanation).requires_grad
    with pytest.raises(XkdError, match=r"^e2kd: a pass has logits that are not computed from its features"):
        losses.e2kd_loss(own, distill.observe("embedded")(IMAGES))


def test_a_network_without_a_cam_has_its_embedding():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Conv2d(3, 8, 20, stride=20), nn.Linear(8, 10)

        def forward(self, images):
            return self.head(self.embed(images).flatten(2).amax(2))

    passed = distill.observe(Tokens(), size=40)(IMAGES)
    assert passed.features is None and passed.embedding().shape == (4, 8)
    with pytest.raises(XkdError, match=r"^head_weight: the pass has none"):
        passed.cams()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda: nn.DataParallel(network()), {}, "^model: DataParallel found; pass the module within it"),
        (lambda: network().half(), {}, "^model: Sequential is not float32"),
        (network, {"weights": "mine.pt"}, "^weights: found beside a module"),
        (network, {"taps": ["11"]}, "^taps: the model has no module '11'"),
        (network, {"taps": ["4"]}, "^taps: '4' puts out .*expected a map"),
        (network, {"taps": "all"}, "^taps: unknown value 'all'"),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(4800, 10)),
            {"taps": "stages"},
            "^taps: no stages of Sequential",
        ),
        (network, {"tapes": []}, "^tapes: unknown argument"),
        (lambda: "resnt18", {}, "^model: 'resnt18' is no file"),
    ],
)
def test_what_cannot_be_observed_is_one_line(model, options, message):
    with pytest.raises(XkdError, match=message):
        distill.observe(model(), **{"size": 40, **options})
