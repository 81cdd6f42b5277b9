"""A forward that starts from a cut gives what the whole one does; what is no cut is not taken for one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xkd_eval import load_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import find_cam_head
from xkd_eval.classifiers.proof.steps import Step
from xkd_eval.engines.replay import Replay


class Shortcut(nn.Module):
    """The stem's output goes around both blocks, so that neither is a cut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(inplace=True)) for _ in range(2)))
        self.last = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, images):
        start = self.stem(images)
        return self.head(self.last(self.blocks(start) + start).mean((2, 3)))


@pytest.fixture
def shortcut():
    return load_classifier(Shortcut().eval(), size=(16, 16)).private()


@pytest.fixture(scope="module")
def residual():
    return load_classifier("embedded/kd")


def test_a_block_with_a_way_around_it_is_no_cut(shortcut):
    replay = Replay(shortcut)
    assert replay.cut_before(["head"]) == "last"
    assert replay.cut_before(["last.0"]) == "stem"
    assert replay.cut_before(["blocks.1.0"]) == "stem"
    assert replay.cut_before(["stem.0"]) is None


def test_features_stay_where_only_what_follows_them_changes(residual):
    replay = Replay(residual.private())
    assert replay.leaves_features(["linear"])
    assert not replay.leaves_features(["linear", "layer3.0.conv2"])
    assert replay.leaves_features([])


def test_a_module_that_is_not_called_may_be_read_by_whoever_holds_it():
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read = nn.Conv2d(8, 8, 1)

        def forward(self, images):
            return nn.functional.conv2d(images, self.read.weight)

    model = Shortcut().eval()
    model.last, model.spare = nn.Sequential(Reading(), nn.ReLU()), nn.Linear(2, 2)
    replay = Replay(load_classifier(model, size=(16, 16)).private())
    assert not replay.leaves_features(["last.0.read"])
    assert replay.cut_before(["last.0.read"]) == replay.cut_before(["last.0"]) == "stem"
    assert not replay.leaves_features(["spare"])
    assert replay.cut_before(["spare"]) is None


@pytest.mark.parametrize("changed", [["layer3.0.conv1"], ["layer1.0.bn2", "layer2.0.conv2"], ["conv1"]])
def test_a_replayed_forward_is_the_whole_one(residual, changed):
    classifier = residual.private()
    replay = Replay(classifier)
    images = torch.randn(3, 3, *classifier.preprocess.size, generator=torch.Generator().manual_seed(0))
    cut = replay.cut_before(changed)
    with torch.no_grad():
        _, kept = replay.features(images, keeping=[] if cut is None else [cut])
        for path in changed:
            weight = classifier.model.get_submodule(path).weight
            weight.data = weight + 0.1
        found, _ = replay.features(images, kept, cut)
        whole = classifier.forward_with_features(images).features
    assert torch.equal(found, whole)
    assert not any("forward" in vars(module) for module in classifier.model.modules()), "every module is itself again"


def test_what_is_kept_of_a_replayed_forward_is_of_the_changed_network(residual):
    classifier = residual.private()
    replay = Replay(classifier)
    images = torch.randn(2, 3, *classifier.preprocess.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, kept = replay.features(images, keeping=["layer1.0", "layer2.0"])
        classifier.model.layer2[0].conv1.weight.data += 0.1
        _, newer = replay.features(images, kept, "layer1.0", keeping=["layer1.0", "layer2.0"])
        assert list(newer) == ["layer2.0"]
        classifier.model.layer3[0].conv1.weight.data += 0.1
        found, _ = replay.features(images, newer, "layer2.0")
        assert torch.equal(found, classifier.forward_with_features(images).features)


def test_a_head_with_a_norm_is_read_as_the_network_has_it():
    """The frozen norm is part of `cam_features`: its weights change the features, which no map before it shows."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
            self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

        def forward(self, images):
            return self.head(self.norm(self.features(images).mean((2, 3))))

    model = Normed().eval()
    assert find_cam_head(model, Preprocess(size=(16, 16))).steps == (Step("layer norm", "norm"),)
    replay = Replay(load_classifier(model, size=(16, 16)).private())
    assert not replay.leaves_features(["norm"])
    assert replay.leaves_features(["head"])
