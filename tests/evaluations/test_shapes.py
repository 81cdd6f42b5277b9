"""The interface of a test, held against the shapes that the literature has, each as the smallest test of its kind."""

from __future__ import annotations

import copy
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from xkd_eval import evaluate, load_classifier
from xkd_eval.datasets.base import ImageDataset, Sample
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.evaluations import Batch, Columns, Evaluation, ScoreSpec
from xkd_eval.testing import check_test


class Small(Evaluation):
    """What the five have in common: one score, the mean of one column."""

    citation = "for the test"
    in_comparisons = False

    def specs(self):
        return (ScoreSpec("value", "value", lambda means: means["value"], per_image=lambda rows: rows["value"]),)


class MapMass(Small):
    """An image and its map: the share of the map's mass in the upper half."""

    name, title = "map_mass", "Mass of the map"

    def rows(self, batch: Batch) -> Columns:
        maps = batch.required_maps().clamp(min=0)
        upper = maps[:, : maps.shape[1] // 2].sum((1, 2)) / maps.sum((1, 2)).clamp(min=1e-9)
        return {"value": upper.cpu().numpy().astype(np.float64)}


class Fidelity(Small):
    """A pair with the reference, on the answers alone: whether the two predict one class."""

    name, title = "fidelity", "Fidelity to the reference"
    needs_maps, needs_reference = False, True

    def rows(self, batch: Batch) -> Columns:
        return {"value": (batch.logits.argmax(1) == batch.reference.logits.argmax(1)).cpu().numpy()}


class Tiles(ImageDataset):
    """Two photographs side by side, each used once."""

    def __init__(self, inner: ImageDataset) -> None:
        self.inner = inner
        self.name, self.label_kind = f"{inner.name}-tiles", "none"
        self.ids = [f"{left}+{right}" for left, right in zip(inner.ids[::2], inner.ids[1::2], strict=False)]
        self.labels = [None] * len(self.ids)

    def load(self, position: int) -> Sample:
        pair = [self.inner.load(2 * position + side).image for side in (0, 1)]
        return Sample(Image.fromarray(np.concatenate([np.asarray(image.resize((40, 40))) for image in pair], axis=1)))


class TwoTiles(Small):
    """An image that the test makes: the share of positive saliency in the left one of two tiles."""

    name, title = "two_tiles", "Two tiles"

    def images(self, dataset: ImageDataset, answers) -> ImageDataset:
        return Tiles(dataset)

    def rows(self, batch: Batch) -> Columns:
        maps = batch.required_maps().clamp(min=0)
        left = maps[:, :, : maps.shape[2] // 2].sum((1, 2)) / maps.sum((1, 2)).clamp(min=1e-7)
        return {"value": left.cpu().numpy().astype(np.float64)}


class Noisy(Small):
    """An image that the test makes of the photograph, explained again: how far a noisy copy moves the map."""

    name, title = "noisy", "Sensitivity to noise"
    forwards_again = True

    def rows(self, batch: Batch) -> Columns:
        # Seeded by the image's id, so that a row depends on its image alone.
        seeds = [zlib.crc32(name.encode()) for name in batch.ids]
        drawn = [torch.randn(batch.images.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        again = batch.explain(batch.images + 0.1 * torch.stack(drawn), batch.target)
        moved = (again - batch.required_maps()).flatten(1).norm(dim=1) / batch.required_maps().flatten(1).norm(dim=1)
        return {"value": moved.cpu().numpy().astype(np.float64)}


class RandomHead(Small):
    """A changed model: how the map correlates with that of the network with a head drawn at random."""

    name, title = "random_head", "Randomised head"
    forwards_again = True

    def rows(self, batch: Batch) -> Columns:
        changed = copy.deepcopy(batch.network.classifier)
        head = changed.model.get_submodule(changed.head.linear)
        head.weight.data = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(0))
        again = batch.explain(batch.images, batch.target, classifier=changed).flatten(1)
        maps = batch.required_maps().flatten(1)
        centred = [values - values.mean(1, keepdim=True) for values in (maps, again)]
        return {"value": torch.cosine_similarity(*centred).cpu().numpy().astype(np.float64)}


class Confidence(Small):
    """The clean pass alone: the probability of the prediction."""

    name, title = "confidence", "Confidence"
    needs_maps = False

    def rows(self, batch: Batch) -> Columns:
        return {"value": batch.logits.softmax(1).amax(1).cpu().numpy().astype(np.float64)}


SHAPES = [MapMass, Fidelity, TwoTiles, Noisy, RandomHead, Confidence]


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=6)


@pytest.fixture(scope="module")
def together(images):
    return evaluate(["embedded/teacher", "embedded/kd"], images, tests=SHAPES)


@pytest.mark.parametrize("test", SHAPES, ids=lambda test: test.name)
def test_each_shape_is_a_cell_of_a_study(together, test):
    rows = together.scores[together.scores["test"] == test.name]
    assert list(rows["model"]) == (["kd"] if test.needs_reference else ["teacher", "kd"])
    assert set(rows["maps"]) == ({"cam"} if test.needs_maps else {"none"})
    assert rows["value"].between(-1.001, 10).all()


@pytest.mark.parametrize("test", SHAPES, ids=lambda test: test.name)
def test_each_shape_keeps_the_contract(test):
    check_test(test)


def test_a_test_of_the_answers_alone_reads_no_map(together, images):
    confidence = together.result("kd", "confidence").columns["value"]
    model = load_classifier("embedded/kd")
    with torch.no_grad():
        pixels = torch.stack([model.preprocess.pixels(images.load(place).image) for place in range(len(images))])
        expected = model(model.preprocess.normalise(pixels)).softmax(1).amax(1)
    np.testing.assert_allclose(confidence, expected.numpy(), rtol=1e-4)


def test_images_that_a_test_makes_have_ids_of_their_own(together, images):
    assert together.result("kd", "two_tiles").ids[0] == f"{images.ids[0]}+{images.ids[1]}"


def test_a_changed_model_leaves_the_network_as_it_was(images):
    first = evaluate("embedded/kd", images, tests=[RandomHead, MapMass])
    alone = evaluate("embedded/kd", images, tests=[MapMass])
    assert first.result("kd", "map_mass").rows.equals(alone.results[0].rows)


@dataclass(frozen=True)
class Threshold:
    """What the test takes.

    Attributes:
        above: of the logit.
    """

    above: float = 0.0


class Unread(Confidence):
    """Breaks the contract: its rows depend on the other images of the batch."""

    name = "unread"

    def rows(self, batch: Batch) -> Columns:
        return {"value": np.full(len(batch.ids), float(len(batch.ids)))}


def test_the_contract_finds_rows_that_depend_on_the_batch():
    with pytest.raises(AssertionError, match="depend on the other images"):
        check_test(Unread)
