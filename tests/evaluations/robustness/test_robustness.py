"""Sensitivity: answers by hand, a slow derivation, and the golden file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.evaluations.peers import with_noise
from xkd_eval import Explainer, evaluate, load_classifier
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.robustness.options import RobustnessOptions
from xkd_eval.evaluations.robustness.test import RobustnessTest
from xkd_eval.resizing import resized
from xkd_eval.testing import check_test


@dataclass(frozen=True)
class Brightness(Explainer):
    """The image itself, one channel of it."""

    name = "brightness"
    citation = "for the test"
    cost = "0"

    def __call__(self, classifier, images, classes, context=None):
        return images[:, 0]


class Vanishing(Brightness):
    """The image where it is darker than noise makes it, and nothing else."""

    name = "vanishing"

    def __call__(self, classifier, images, classes, context=None):
        return torch.full_like(images[:, 0], torch.nan)


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=5)


@pytest.fixture(scope="module")
def classifier():
    return load_classifier("embedded/kd")


def run(classifier, images, test="robustness:samples=4", **options):
    return evaluate(classifier, images, tests=[test], **options).results[0]


@pytest.mark.parametrize("floor", ["centre", "random", "fake_cam"])
def test_a_map_that_ignores_the_photograph_has_none(classifier, images, floor):
    columns = run(classifier, images, explainers=[floor]).columns
    assert (columns["max_sensitivity"] == 0).all() and (columns["average_sensitivity"] == 0).all()


def pixels_of(classifier, images):
    found = [classifier.preprocess.pixels(images.load(place).image) for place in range(len(images))]
    return classifier.preprocess.normalise(torch.stack(found))


@pytest.mark.parametrize("relative", [True, False])
def test_where_the_map_is_the_image_it_is_the_norm_of_the_noise(classifier, images, relative):
    """Phi(x) = x, noise r everywhere: r sqrt(n) / ||x||."""
    options = RobustnessOptions(radius=0.1, samples=2, relative=relative)
    test = with_noise(RobustnessTest, options, images.ids, lambda place: torch.full((2, 3, 40, 40), 0.1))
    columns = run(classifier, images, test, explainers=[Brightness()]).columns
    norms = pixels_of(classifier, images)[:, 0].flatten(1).norm(dim=1).numpy() if relative else 1
    for name in ("max_sensitivity", "average_sensitivity"):
        np.testing.assert_allclose(columns[name], 0.1 * 40 / norms, rtol=1e-5)


def test_noise_is_drawn_by_image_and_sample(classifier, images):
    columns = run(classifier, images).columns
    inputs, size = pixels_of(classifier, images), classifier.preprocess.size

    def maps(given, place):
        with torch.no_grad():
            features = classifier.forward_with_features(given[None]).features
            return resized(classifier.cams(features, torch.tensor([[columns["target"][place]]]))[:, 0], size)

    for place, name in enumerate(images.ids):
        clean, moved = maps(inputs[place], place), []
        for sample in range(4):
            drawn = image_generator(name, 0, "noise", sample).random((3, 40, 40), dtype=np.float32)
            noisy = maps(inputs[place] + torch.from_numpy(0.4 * drawn - 0.2), place)
            moved.append(float((noisy - clean).norm() / clean.norm()))
        assert columns["max_sensitivity"][place] == pytest.approx(max(moved), rel=1e-4)
        assert columns["average_sensitivity"][place] == pytest.approx(np.mean(moved), rel=1e-4)


def test_a_map_that_is_constant_or_not_finite_has_none(classifier, images):
    result = run(classifier, images, explainers=[Vanishing()])
    assert result.columns["degenerate"].all()
    assert np.isnan(result.columns["max_sensitivity"]).all()
    assert result.summary["max_sensitivity"]["value"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "yeh"}, r"^preset: unknown value 'yeh'; expected one of paper, captum"),
        ({"radius": 0.0}, r"^radius: 0.0 found; expected a number above 0"),
        ({"samples": 0}, r"^samples: 0 found; expected a whole number from 1"),
        ({"noise_seed": -1}, r"^noise_seed: -1 found"),
    ],
)
def test_options_that_are_none(classifier, images, options, message):
    with pytest.raises(XkdError, match=message):
        run(classifier, images, "robustness", **options)


@pytest.mark.parametrize(("preset", "departs"), [("paper", False), ("captum", True), ("latec", True)])
def test_a_summary_says_whose_rules_they_are(classifier, preset, departs):
    result = run(classifier, EmbeddedDataset("test", size=2), f"robustness:preset={preset}")
    assert result.summary["preset"]["name"] == preset
    assert bool(result.test.notes(result.summary)) == departs


def test_it_keeps_the_contract():
    check_test("robustness:samples=3")


# Golden values: eight photographs, a chunk of forwards for each of ten samples. The tools seed by a photograph's place.
FEW = 8


def captums(place):
    torch.random.manual_seed(place)
    return torch.FloatTensor(10, 3, 224, 224).uniform_(-0.02, 0.02)


def quantus(place):
    draw = np.random.RandomState(place)
    return torch.from_numpy(np.stack([draw.uniform(-0.2, 0.2, (3, 224, 224)) for _ in range(10)]))


def test_golden_captum(golden):
    test = with_noise(RobustnessTest, RobustnessOptions(preset="captum"), golden.photographs.ids, captums)
    columns = golden.run(test, None, range(FEW)).columns
    expected = golden.metrics["max_sensitivity/captum"]["per_image"][:FEW]
    np.testing.assert_allclose(columns["max_sensitivity"], expected, atol=1e-4)


def test_golden_quantus(golden):
    """The golden values have 10 of the preset's 200 samples."""
    options = RobustnessOptions(preset="quantus", samples=10)
    columns = golden.run(with_noise(RobustnessTest, options, golden.photographs.ids, quantus), None, range(FEW)).columns
    for name, entry in (("max_sensitivity", "max_sensitivity"), ("average_sensitivity", "avg_sensitivity")):
        expected = golden.metrics[f"{entry}/quantus"]["per_image"][:FEW]
        np.testing.assert_allclose(columns[name], expected, atol=1e-4)
