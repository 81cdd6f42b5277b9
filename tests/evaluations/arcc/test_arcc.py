"""ARCC: what grad-cam printed on real photographs, the formula by hand, and the contract."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import Answers, batch_of
from xkd_eval import XkdError
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.arcc.options import ArccOptions
from xkd_eval.evaluations.arcc.protocol import PRESETS
from xkd_eval.evaluations.arcc.test import ArccTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.explainers.base import Explainer
from xkd_eval.explainers.stored import StoredMaps
from xkd_eval.testing import check_test

PLAIN = Preprocess(size=(10, 10), mean=(0.0,) * 3, std=(1.0,) * 3)
# 9 forwards and 8 filled-in images a photograph: three of the eight.
PLACES = (0, 2, 7)


def made(**options) -> ArccTest:
    return ArccTest.create(Rules(), ArccOptions(**options))


@dataclass(frozen=True)
class OfProbability(Explainer):
    """Stored maps of the photographs; of what is made of them Grad-CAM of the class's probability, as the golden's."""

    name = "of_probability_for_the_test"
    citation = "for the test"
    cost = "1 F"

    stored: StoredMaps

    def parameters(self):
        return {}

    def __call__(self, classifier, images, classes, context=None):
        if context.features is not None:  # of the clean pass
            return self.stored(classifier, images, classes, context)
        with torch.no_grad():
            found = classifier.forward_with_features(images)
            maps = classifier.cams(found.features)
            # dp_c / dlogit_k = p_c (1[k = c] - p_k); what is common to all pixels is scaled away.
            expected = torch.einsum("bk,bkhw->bhw", found.logits.softmax(1), maps)
            return (maps[torch.arange(len(maps)), classes] - expected).clamp(min=0)


def test_grad_cams_numbers_on_photographs(golden, golden_maps):
    entry = golden.metrics["arcc/grad-cam/tie_free"]
    explainer = OfProbability(StoredMaps(golden_maps["tie_free"]))
    found = golden.run("arcc:preset=grad-cam,noise=0", None, PLACES, explainers=[explainer]).columns
    np.testing.assert_allclose(found["arcc"], np.array(entry["per_image"])[list(PLACES)], atol=1e-4)
    parts = np.stack([found["complexity"], found["coherency"]], 1)
    np.testing.assert_allclose(parts, np.array(entry["complexity_coherency"])[list(PLACES)], atol=1e-4)


@dataclass(frozen=True)
class Same(Answers):
    """A network whose map of any image is the one given."""

    again: torch.Tensor | None = None

    def explain(self, explainer, images, classes, ids, *_):
        return self.again.expand(len(images), -1, -1)


def test_the_harmonic_mean_by_hand():
    pixels = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    pixels[:, :, :5] = 255
    maps = pixels[:, 0].float()

    def model(images):
        total = images.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(total), 4 * total], 1)

    batch = batch_of(pixels, maps, model, [1], PLAIN)
    batch = replace(batch, network=Same(model, again=maps), explainer=object())
    rows = made(noise=0.0).rows(batch)
    assert rows["coherency"] == pytest.approx(1) and rows["complexity"] == pytest.approx(0.5)
    road = min(max(2 * rows["road_combined"][0], 0), 1)
    assert 0 < road < 1
    assert rows["arcc"] == pytest.approx(3 / (1 + 2 + 1 / road), abs=1e-6)


def test_a_map_in_the_wrong_order_scores_nothing():
    pixels = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    pixels[:, :, :5] = 255
    maps = -pixels[:, 0].float()

    def model(images):
        total = images.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(total), 4 * total], 1)

    batch = batch_of(pixels, maps, model, [1], PLAIN)
    rows = made(noise=0.0).rows(replace(batch, network=Same(model, again=maps), explainer=object()))
    assert rows["road_combined"] < 0 and rows["arcc"] == pytest.approx(0, abs=1e-7)


def test_an_image_without_a_pixel_left_has_no_score():
    pixels = torch.full((1, 3, 10, 10), 255, dtype=torch.uint8)
    maps = torch.rand(1, 10, 10)
    maps[:, :5] = 0
    model = lambda images: images.flatten(1)[:, :2]  # noqa: E731
    batch = replace(batch_of(pixels, maps, model, [1], PLAIN), network=Same(model, again=maps), explainer=object())
    test = made(preset="grad-cam")
    rows = test.rows(batch)
    assert rows["nothing_left"].tolist() == [True] and np.isnan(rows["arcc"]).all()
    summary = test.summarise(rows)
    assert summary["arcc"]["value"] is None and "images left out: 1" in test.notes(summary)[-1]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_known_again_by_its_rules(preset):
    assert made(preset=preset).extras({"nothing_left": np.zeros(1, bool)})["preset"]["name"] == preset


def test_an_unknown_preset_is_refused():
    with pytest.raises(XkdError, match=r"^preset: unknown value 'adcc'; expected one of paper, grad-cam"):
        made(preset="adcc")


def test_the_contract():
    check_test("arcc")
