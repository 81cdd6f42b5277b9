"""The maps before the ReLU of each stage, re-derived layer by layer, and the norms that they come from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distill.methods import create_method
from distill.training.networks import tap_at, tap_notes, taps_of
from distill.training.observed import Observed
from distill.training.preactivations import norms_in_front, preactivations_of
from distill.training.stage_maps import stages_of
from distill.training.trunk import Trunk, keep_activations
from tests.distill.training.test_stages import CLASSES, Plain, observed_of, run
from xkd_eval.classifiers.architectures import build
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.outputs import Classifying
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.engines.folding import fold_batch_norms
from xkd_eval.errors import XkdError

PREPROCESS = Preprocess(size=(32, 32))


def perturbed(name: str, **arguments) -> nn.Module:
    """A network whose norms do something."""
    torch.manual_seed(0)
    network = build(name, CLASSES, **arguments).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    return network


def maps_of(network: nn.Module, images: torch.Tensor) -> tuple[list, list, dict]:
    """The stages, the same before their ReLU, and the norms in front of these."""
    trunk = Trunk(network, PREPROCESS)
    stages, before = stages_of(network, trunk), preactivations_of(network, trunk)
    observed = Observed(Classifier(network, PREPROCESS, name="n", num_classes=CLASSES), frozenset(), [*stages, *before])
    with torch.no_grad():
        taps = observed.eval()(images).taps
    names = [[tap.name for tap in found] for found in (stages, before)]
    norms = norms_in_front(before, trunk)
    return *([taps[name] for name in chosen] for chosen in names), [norms.get(name) for name in names[1]]


def assert_norms(found: list, expected: list[nn.BatchNorm2d]) -> None:
    for (mean, deviation), norm in zip(found, expected, strict=True):
        assert torch.equal(mean, norm.bias) and torch.equal(deviation, norm.weight.abs())


@pytest.mark.parametrize(("name", "last"), [("resnet8", 2), ("resnet14", 2), ("resnet50", 3)])
def test_a_residual_stage_is_the_sum_of_its_last_block(name, last):
    """resnet8 has one block a stage, whose shortcut ends in a norm too."""
    network, images = perturbed(name), torch.randn(2, 3, 32, 32)
    stages, before, norms = maps_of(network, images)
    features = network.relu1(network.bn1(network.conv1(images))).detach()
    for stage, summed, path in zip(stages, before, network.stages, strict=True):
        *first, block = network.get_submodule(path)
        features = nn.Sequential(*first)(features)
        residual = features
        for number in range(1, last + 1):
            norm = block.get_submodule(f"bn{number}")
            residual = norm(block.get_submodule(f"conv{number}")(residual.relu() if number > 1 else residual))
        features = residual + block.shortcut(features)
        torch.testing.assert_close(summed, features)
        features = features.relu()
        torch.testing.assert_close(stage, features)
    blocks = [network.get_submodule(path)[-1] for path in network.stages]
    assert_norms(norms, [block.get_submodule(f"bn{last}") for block in blocks])


def test_a_wide_residual_stage_is_normalised_by_the_next():
    network, images = perturbed("wrn_16_1"), torch.randn(2, 3, 32, 32)
    stages, before, norms = maps_of(network, images)
    following = [network.features.stage2[0].bn1, network.features.stage3[0].bn1, network.features.activation[0]]
    for stage, normalised, norm in zip(stages, before, following, strict=True):
        torch.testing.assert_close(normalised, norm(stage))
    torch.testing.assert_close(network.features.activation(stages[-1]), network.features(images))
    assert_norms(norms, following)


def test_vgg_has_four_maps():
    network, images = perturbed("vgg8"), torch.randn(2, 3, 32, 32)
    stages, before, norms = maps_of(network, images)
    features = network.features.pool1(network.features.stage1(images))
    for place, number in enumerate((2, 3, 4, 5)):
        convolution, norm, _ = network.features.get_submodule(f"stage{number}")
        normalised = norm(convolution(features))
        torch.testing.assert_close(before[place], normalised)
        features = normalised.relu()
        torch.testing.assert_close(stages[place], features)
        features = network.features.get_submodule(f"pool{number}")(features) if number < 4 else features
    assert [tuple(stage.shape[1:]) for stage in stages] == [(128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 4, 4)]
    assert_norms(norms, [network.features.get_submodule(f"stage{number}.1") for number in (2, 3, 4, 5)])


def test_mobilenet_has_no_relu_behind_its_stages():
    network, images = perturbed("mobilenetv2"), torch.randn(2, 3, 32, 32)
    stages, before, norms = maps_of(network, images)
    assert all(torch.equal(*pair) and (pair[0] < 0).any() for pair in zip(stages, before, strict=True))
    assert [tuple(stage.shape[1:]) for stage in stages] == [(12, 16, 16), (16, 8, 8), (48, 4, 4), (160, 2, 2)]
    assert_norms(norms, [network.get_submodule(path)[-1].project[1] for path in network.stages])


def test_shufflenets_before_their_last_relu():
    network, images = perturbed("shufflenetv1"), torch.randn(2, 3, 32, 32)
    stages, before, norms = maps_of(network, images)
    assert all(torch.equal(summed.relu(), stage) for stage, summed in zip(stages, before, strict=True))
    assert_norms(norms, [network.get_submodule(path)[-1].residual[3][1] for path in network.stages])
    network = perturbed("shufflenetv2")
    stages, before, norms = maps_of(network, images)
    for stage, joined, path in zip(stages, before, network.stages, strict=True):
        kept, filtered = joined.chunk(2, dim=1)
        assert (kept >= 0).all() and (filtered < 0).any()
        assert torch.equal(network.get_submodule(path)[-1].shuffle(joined.relu()), stage)
    assert norms == [None] * 3


class Scaled(nn.Module):
    """What its ReLUs are given is written to later, and is no norm's output; the second is given the same sum twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, images):
        values = self.norm(self.conv(images)) * 2
        first = self.relu(values)
        values += 1
        return self.head(self.relu(first + values).mean((2, 3)))


def test_what_a_module_is_given_is_kept_of_its_last_call():
    network = Scaled().eval()
    keep_activations(network)
    trunk = Trunk(network, PREPROCESS)
    tap = tap_at("before relu", network, trunk, "taps")
    assert (tap.name, tap.path, tap.before, tap.overwritten) == ("before relu", "relu", True, False)
    assert norms_in_front([tap], trunk) == {}
    images = torch.rand(2, 3, 32, 32)
    observed = Observed(Classifier(network, PREPROCESS, name="n", num_classes=CLASSES), frozenset(), [tap])
    doubled = network.norm(network.conv(images)) * 2
    torch.testing.assert_close(observed(images).taps["before relu"], doubled.relu() + doubled + 1)


class Overwriting(Scaled):
    """The sum in front of its ReLU is written to behind it."""

    def forward(self, images):
        values = self.conv(images)
        activated = self.relu(values)
        values += 1
        return self.head((activated + values).mean((2, 3)))


def test_what_a_module_is_given_stays_what_it_was():
    network = Overwriting().eval()
    keep_activations(network)
    tap = Trunk(network, PREPROCESS).tap("before relu")
    assert tap.overwritten
    observed = Observed(Classifier(network, PREPROCESS, name="n", num_classes=CLASSES), frozenset(), [tap])
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(observed(images).taps["before relu"], network.conv(images))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("before 13", r"student_taps: 'before 13' is a float32 tensor \(2, 8\); expected a map"),
        ("before 1x", "student_taps: the student has no module '1x'; nearest: "),
    ],
)
def test_what_is_given_and_is_no_map_is_one_line(path, message):
    method = create_method("at", student_taps=[path])
    with pytest.raises(XkdError, match=message):
        taps_of([method], Classifier(Plain(), Preprocess(size=(16, 16)), name="n", num_classes=CLASSES), "student")


@pytest.mark.parametrize(("architecture", "last"), [("timm/resnet18", "act2"), ("torchvision/resnet18", "relu")])
def test_resnets_of_libraries_are_taken_before_the_relu_of_their_sums(architecture, last):
    ofd, at = create_method("ofd"), create_method("at")
    passed = run(observed_of(architecture, frozenset({"taps"}), [ofd, at], "teacher"))
    assert ofd.teacher_stages == tuple(f"before layer{number}.1.{last}" for number in (1, 2, 3, 4))
    assert at.teacher_stages == ("layer1", "layer2", "layer3", "layer4")
    for before, stage in zip(ofd.teacher_stages, at.teacher_stages, strict=True):
        assert torch.equal(passed.taps[before].relu(), passed.taps[stage])
    assert tuple(ofd.teacher_norms) == ofd.teacher_stages


def test_a_network_within_another_has_the_same_maps():
    library = observed_of("timm/resnet18", frozenset()).classifier.model
    for network in (perturbed("wrn_16_1"), perturbed("resnet8"), library):
        names = [tap.name for tap in preactivations_of(network, Trunk(network, PREPROCESS))]
        wrapped = Classifying(network, None, is_binary=False)
        found = [tap.name for tap in preactivations_of(wrapped, Trunk(wrapped, PREPROCESS))]
        assert len(names) >= 3
        assert [name.replace("network.", "") for name in found] == names
        assert all("network." in name for name in found)


def test_a_folded_teacher_has_the_maps_and_the_margins_of_its_norms():
    """VGG's norms lie behind convolutions and are no more once they are folded into these."""
    network, images = perturbed("vgg8"), torch.randn(2, 3, 32, 32)
    _, before, norms = maps_of(network, images)
    ofd = create_method("ofd")
    classifier = Classifier(network, PREPROCESS, name="vgg8", num_classes=CLASSES)
    taps = taps_of([ofd], classifier, "teacher")
    fold_batch_norms(classifier, images, {tap.path for tap in taps})
    assert not any(isinstance(module, nn.BatchNorm2d) for module in classifier.modules())
    with torch.no_grad():
        passed = Observed(classifier, frozenset({"taps"}), taps, trains=False).eval()(images)
    for found, expected in zip(passed.taps.values(), before, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for found, expected in zip(ofd.teacher_norms.values(), norms, strict=True):
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_where_no_norm_is_known_the_margins_are_measured_and_it_is_said():
    ofd, architecture = create_method("ofd"), f"py:{Plain.__module__}:Plain"
    own, other = (run(observed_of(architecture, ofd.requires, [ofd], whose)) for whose in ("student", "teacher"))
    ofd.teacher_norms.pop("before 6")
    ofd.setup(own, other, 3)
    compared, measured = tap_notes([ofd])
    assert compared.startswith(
        "ofd: compares before 2 with before 2, before 6 with before 6, before 10 with before 10 "
    )
    assert measured == "ofd: margins of before 6 are measured on one batch, as no batch norm is known there"
    negative = [other.taps["before 6"][:, channel] for channel in range(6)]
    torch.testing.assert_close(
        ofd.margins[1].detach(), torch.stack([maps[maps < 0].mean() for maps in negative]).detach()
    )
