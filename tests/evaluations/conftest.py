"""A network whose every answer is known by hand; and the photographs, maps and figures of the golden files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xkd_eval import Classifier, EvaluationResult, evaluate, load_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import open_dataset
from xkd_eval.datasets.base import Subset
from xkd_eval.evaluations.batch import Batch
from xkd_eval.explainers.stored import save_maps


@pytest.fixture
def pixel_sum() -> nn.Module:
    """Two classes: the sum of the pixels above the left half's weight, and a constant."""
    return _PixelSum()


class _PixelSum(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        total = images.mean((1, 2, 3))
        return torch.stack([torch.full_like(total, 0.25), total], 1)


@dataclass(frozen=True)
class Answers:
    """A network that is a function, and is asked about at most a chunk at a time."""

    answer: Callable[[Tensor], Tensor]
    chunk: int = 4
    classifier: None = None

    def classify(self, images: Tensor) -> Tensor:
        assert len(images) <= self.chunk
        return self.answer(images)


def batch_of(
    pixels: Tensor,
    maps: Tensor | None,
    answer: Callable[[Tensor], Tensor],
    labels: list[int],
    preprocess: Preprocess,
    *,
    masks: Tensor | None = None,
    chunk: int = 4,
) -> Batch:
    """A batch of photographs whose classifier is a function."""
    images = preprocess.normalise(pixels)
    logits = answer(images)
    ids = tuple(map(str, range(len(pixels))))
    known = torch.tensor(labels)
    return Batch(ids, pixels, images, logits, logits.argmax(1), known, maps, masks, preprocess, Answers(answer, chunk))


@pytest.fixture(scope="session")
def golden_metrics(shared) -> dict:
    """What the peers' own code printed: "metrics" holds an entry a METRIC/PEER/MAP."""
    return json.loads((shared / "golden" / "metrics_lite0.json").read_text())


@pytest.fixture(scope="session")
def golden_classifier(lite0) -> Classifier:
    """EfficientNet-Lite0 under the golden file's input convention."""
    return load_classifier(lite0, size=(224, 224), mean=(127 / 255,) * 3, std=(128 / 255,) * 3)


@pytest.fixture(scope="session")
def golden_photographs(shared, golden_metrics) -> Subset:
    """The 16 photographs, in the file's order."""
    tree = open_dataset(str(shared / "data" / "imagenet_like" / "val"))
    return Subset(tree, [tree.ids.index(name) for name in golden_metrics["images"]])


@pytest.fixture(scope="session")
def golden_maps(shared, golden_metrics, golden_photographs, tmp_path_factory) -> dict[str, Path]:
    """Folders of the photographs' maps: "source", the 7x7 CAMs, and "tie_free", in which no two pixels tie."""
    stored = np.load(shared / "golden" / "metrics_lite0.npz")
    n_pixels = stored["rank"][0].size
    tie_free = (n_pixels - 1 - stored["rank"].astype(np.float64)) / (n_pixels - 1)
    folders = {}
    for name, maps in (("source", stored["cam_7x7"]), ("tie_free", tie_free.astype(np.float32))):
        folders[name] = tmp_path_factory.mktemp(name)
        save_maps(folders[name], golden_photographs.ids, torch.from_numpy(maps))
    return folders


@dataclass(frozen=True)
class Golden:
    """Runs a test, through the public API, on what the golden file was made of."""

    metrics: dict[str, Any]
    classifier: Classifier
    photographs: Subset
    maps: dict[str, Path]

    def run(
        self, test: Any, maps: str | None = "source", places: Sequence[int] | None = None, **options: Any
    ) -> EvaluationResult:
        """One test of the classifier.

        Args:
            test: as `evaluate` takes it.
            maps: of `golden_maps`, or None for the classifier's own CAM, which a test can make again.
            places: of the photographs, by default all 16.
            options: of `evaluate`.
        """
        images = self.photographs if places is None else Subset(self.photographs, list(places))
        stored = {} if maps is None else {"maps": self.maps[maps]}
        return evaluate({"lite0": self.classifier}, images, tests=[test], **stored, **options).results[0]


@pytest.fixture(scope="session")
def golden(golden_metrics, golden_classifier, golden_photographs, golden_maps) -> Golden:
    """See Golden."""
    return Golden(golden_metrics["metrics"], golden_classifier, golden_photographs, golden_maps)


def share_of_light(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 2) logits by which the first class has the sum of the first channel for a probability."""
    light = images[:, 0].sum((1, 2)).clamp(0, 1)
    return torch.stack([light, 1 - light], 1).log()
