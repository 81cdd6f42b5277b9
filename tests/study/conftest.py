"""Counters of what a study does: photographs decoded, images forwarded, images explained."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from xkd_eval import load_classifier
from xkd_eval.classifiers import architectures
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.datasets.base import ImageDataset, Sample
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.explainers import Explainer


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """Of random weights, for the embedded images."""
    torch.manual_seed(0)
    return load_classifier(architectures.build("resnet8", num_classes=10), size=(64, 64))


class CountedImages(ImageDataset):
    """A data set that counts how often each photograph is decoded."""

    def __init__(self, size: int = 10) -> None:
        self._inner = EmbeddedDataset("test", size=size)
        self.name, self.ids, self.labels = "counted", self._inner.ids, self._inner.labels
        self.label_kind, self.classes, self.has_masks = self._inner.label_kind, self._inner.classes, True
        self.decoded: Counter[int] = Counter()

    def load(self, position: int) -> Sample:
        self.decoded[position] += 1
        return self._inner.load(position)

    def content_hash(self, position: int) -> str:
        return self._inner.content_hash(position)


class CountedNet(nn.Module):
    """A small network that counts the images of every forward, over all copies of it."""

    def __init__(self, name: str, forwarded: Counter[str]) -> None:
        super().__init__()
        self.name, self.forwarded = name, forwarded
        self.features = nn.Sequential(nn.Conv2d(3, 6, 5, stride=2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
        self.head = nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        self.forwarded[self.name] += len(images)
        return self.head(self.features(images).mean((2, 3)))

    def __deepcopy__(self, memo: dict) -> CountedNet:
        copied = CountedNet(self.name, self.forwarded)
        copied.load_state_dict(self.state_dict())
        return copied.train(self.training).requires_grad_(next(self.parameters()).requires_grad)


@dataclass(frozen=True)
class CountedCam(Explainer):
    """The CAM, counting the (model, class rule, image) that it explains."""

    name = "counted"
    citation = "for the test"
    cost = "0"
    per_image = True  # so that no padding is counted

    explained: Counter = field(default_factory=Counter, hash=False, compare=False)

    def parameters(self) -> dict:
        return {}

    def __call__(self, classifier: Classifier, images: Tensor, classes: Tensor, context=None) -> Tensor:
        for name, chosen in zip(context.ids, classes.tolist(), strict=True):
            self.explained[classifier.model.name, chosen, name] += 1
        return classifier.cams(context.features, classes[:, None])[:, 0]


@dataclass
class Counted:
    """Models, photographs and an explainer that count."""

    forwarded: Counter = field(default_factory=Counter)
    images: CountedImages = field(default_factory=CountedImages)
    explainer: CountedCam = field(default_factory=CountedCam)
    models: dict[str, Classifier] = field(default_factory=dict)

    def reset(self) -> None:
        for counter in (self.forwarded, self.images.decoded, self.explainer.explained):
            counter.clear()


@pytest.fixture
def counted() -> Counted:
    found = Counted()
    for seed, name in enumerate(("teacher", "kd", "exp_kd")):
        torch.manual_seed(seed)
        net = CountedNet(name, found.forwarded)
        found.models[name] = load_classifier(net, size=(40, 40))
        found.models[name].name = name
    found.reset()
    return found
