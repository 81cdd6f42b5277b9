"""Answers that are not finite are an error, also those to images that a test makes."""

import pytest
import torch
from torch import nn

from xkd_eval import evaluate, load_classifier
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.engines.network import Network
from xkd_eval.errors import XkdError
from xkd_eval.evaluations import Batch, Columns, Evaluation, ScoreSpec
from xkd_eval.explainers.cam import Cam

CPU = torch.device("cpu")


class Overflowing(nn.Module):
    """Logits that are infinite where an image is black in places."""

    def __init__(self, limit: float = 0.0) -> None:
        super().__init__()
        self.head = nn.Linear(3, 10)
        self.limit = limit

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        black = (images < 1e-6).all(1).flatten(1).float().mean(1, keepdim=True) > 0.05
        return self.head(images.mean((2, 3))) * torch.where(black, torch.inf, 1.0)


@pytest.fixture
def classifier() -> Classifier:
    plain = Preprocess(size=(40, 40), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Classifier(Overflowing().eval(), plain, name="net", num_classes=10, head_refusal="made for the test")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_answers_are_remembered_until_they_are_asked_for(classifier, precision):
    network = Network(classifier, classifier.preprocess, CPU, precision)
    network.classify(torch.ones(2, 3, 40, 40))
    network.check_answers(["a"])
    network.classify(torch.zeros(2, 3, 40, 40))
    network.classify(torch.ones(2, 3, 40, 40))
    with pytest.raises(XkdError, match=r"^model: net gives logits that are not finite on images made of .* a to b"):
        network.check_answers(["a", "b"])
    network.check_answers(["a", "b"])


class Blackened(Evaluation):
    """An outsider's test, which does not look at what it is answered; or stumbles over it."""

    name, title, citation = "blackened", "Blackened", "for the test"
    needs_maps, in_comparisons, forwards_again = False, False, True
    stumbles = False

    def rows(self, batch: Batch) -> Columns:
        logits = batch.network.classify(torch.zeros_like(batch.images))
        if self.stumbles:
            raise RuntimeError("not finite?")
        return {"value": logits.argmax(1).cpu().numpy()}

    def specs(self):
        return (ScoreSpec("value", "value", lambda means: means["value"]),)


class Stumbling(Blackened):
    name = "stumbling"
    stumbles = True


@pytest.mark.parametrize("test", [Blackened, Stumbling, "perturbation"])
def test_no_test_counts_answers_that_are_not_finite(classifier, test):
    images = EmbeddedDataset("test", size=3)
    options = {"explainers": "random"} if test == "perturbation" else {}
    with pytest.raises(XkdError, match=r"^models: net gives logits that are not finite on images made of those from"):
        evaluate(classifier, images, tests=[test], **options)


@pytest.fixture
def counted(monkeypatch):
    """Images that went through the network, padding included."""
    counts = []
    forwarded = Network._forwarded

    def counting(self, images):
        counts.append(len(images))
        return forwarded(self, images)

    monkeypatch.setattr(Network, "_forwarded", counting)
    return counts


def test_an_image_that_comes_again_is_answered_from_memory(counted):
    classifier = load_classifier("embedded/kd")
    images = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network = Network(classifier, classifier.preprocess, CPU, remembers=True)
    first, again = network.classify(images), network.classify(torch.cat([images.flip(0), images[:1] + 1]))
    assert counted == [5, 1]
    assert torch.equal(again[:5], first.flip(0))
    network.forget()
    network.classify(images[[0, 0]])
    assert counted == [5, 1, 1]
    plain = Network(classifier, classifier.preprocess, CPU)
    assert torch.equal(plain.classify(images), first)
    plain.classify(images)
    assert counted[3:] == [5, 5]


def test_an_image_that_was_explained_by_its_features_is_not_forwarded_to_be_classified():
    classifier = load_classifier("embedded/kd")
    images = torch.rand(3, 3, 40, 40)
    plain, remembers = (
        Network(classifier, classifier.preprocess, CPU, remembers=remembers) for remembers in (False, True)
    )
    classes = plain.classify(images).argmax(1)
    maps = [network.explain(Cam(), images, classes, ["a", "b", "c"]) for network in (plain, remembers)]
    assert torch.equal(*maps)
    torch.testing.assert_close(maps[0], Cam()(classifier, images, classes), rtol=1e-3, atol=1e-4)
    forwards = []
    remembers._exact.register_forward_hook(lambda *_: forwards.append(1))
    assert torch.equal(remembers.classify(images), plain.classify(images))
    assert not forwards


def test_only_a_study_of_several_tests_that_forward_remembers(counted):
    images = EmbeddedDataset("test", size=3)

    class Once(Blackened):
        name = "once"

        def rows(self, batch: Batch) -> Columns:
            return {"value": batch.network.classify(torch.zeros_like(batch.images)).amax(1).cpu().numpy()}

    class Again(Once):
        name = "again"

    evaluate("embedded/kd", images, tests=[Once])
    assert sum(counted) == 3
    counted.clear()
    evaluate("embedded/kd", images, tests=[Once, Again])
    assert sum(counted) == 1  # the three black images of either test are one
