"""Infidelity: answers by hand, a slow derivation, and the golden file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of
from tests.evaluations.peers import with_noise
from xkd_eval import evaluate, load_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import Subset
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.infidelity.options import InfidelityOptions
from xkd_eval.evaluations.infidelity.protocol import infidelity
from xkd_eval.evaluations.infidelity.test import InfidelityTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.testing import check_test

SIZE = (6, 5)
PREPROCESS = Preprocess(size=SIZE, mean=(0.0,) * 3, std=(1.0,) * 3)
WEIGHTS = torch.arange(30.0).reshape(SIZE) / 29  # in [0, 1], as the form leaves it


def rows(scale, samples=6, **options):
    """Of f = `scale` times the weights, the map being the weights: Phi = w / scale."""

    def answer(images):
        total = scale * (images.sum(1) * WEIGHTS).sum((1, 2))
        return torch.stack([total, total - 1], 1)

    pixels = torch.randint(0, 255, (3, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = batch_of(pixels, WEIGHTS.expand(3, *SIZE), answer, [0, 0, 0], PREPROCESS)
    return InfidelityTest.create(Rules(), InfidelityOptions(samples=samples, **options)).rows(batch)


def test_the_weights_of_a_linear_network_are_faithful():
    np.testing.assert_allclose(rows(1.0, normalised=False)["infidelity"], 0, atol=1e-9)


def test_twice_the_weights_are_faithful_where_their_scale_is_fitted():
    np.testing.assert_allclose(rows(0.5)["infidelity"], 0, atol=1e-9)


def test_twice_the_weights_are_off_by_the_variance_of_the_answer():
    """Phi = 2w, noise N(0, s^2): s^2 ||w||^2 in expectation."""
    found = rows(0.5, samples=4000, sigma=0.1, normalised=False)["infidelity"]
    expected = 0.1**2 * 3 * float(((0.5 * WEIGHTS) ** 2).sum())
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_a_map_that_foretells_nothing_has_the_mean_square_of_the_change():
    found = torch.tensor([[3.0, 1.0]])
    for normalised in (True, False):
        assert infidelity(torch.zeros(1, 2), found, normalised=normalised).item() == 5


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=5)


@pytest.fixture(scope="module")
def classifier():
    return load_classifier("embedded/kd")


def test_noise_is_drawn_by_image_and_sample(classifier, images):
    columns = evaluate(classifier, images, tests=["infidelity:samples=3,sigma=0.1"]).results[0].columns
    for place, name in enumerate(images.ids):
        pixels = classifier.preprocess.pixels(images.load(place).image)[None]
        image, target = classifier.preprocess.normalise(pixels), columns["target"][place]
        with torch.no_grad():
            clean, features = classifier.forward_with_features(image)
            small = classifier.cams(features, torch.tensor([[target]]))
            made = torch.nn.functional.interpolate(small, (40, 40), mode="bilinear")[0, 0]
            unit = (made - made.min()) / (made.max() - made.min())
            foretold, found = [], []
            for sample in range(3):
                drawn = image_generator(name, 0, "noise", sample).standard_normal((3, 40, 40), dtype=np.float32)
                noise = torch.from_numpy(0.1 * drawn)
                foretold.append(float((noise * unit).sum()))
                found.append(float(clean[0, target] - classifier(image - noise)[0, target]))
        a, b = np.array(foretold), np.array(found)
        expected = np.mean((a * (a @ b) / (a @ a) - b) ** 2)
        assert columns["infidelity"][place] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "quantus"}, r"^preset: unknown value 'quantus'; expected one of captum, latec"),
        ({"sigma": -1.0}, r"^sigma: -1.0 found; expected a number above 0"),
        ({"samples": 0}, r"^samples: 0 found"),
        ({"samples": 1}, r"^samples: 1 found, to which every map is scaled without error; expected two or more"),
        ({"form": "raw"}, r"^form: unknown value 'raw'"),
    ],
)
def test_options_that_are_none(classifier, images, options, message):
    with pytest.raises(XkdError, match=message):
        evaluate(classifier, images, tests=["infidelity"], **options)


@pytest.mark.parametrize("preset", ["captum", "latec"])
def test_a_summary_says_whose_rules_they_are(classifier, preset):
    result = evaluate(classifier, EmbeddedDataset("test", size=2), tests=[f"infidelity:preset={preset}"]).results[0]
    assert result.summary["preset"]["name"] == preset
    assert bool(result.test.notes(result.summary)) == (preset == "latec")


def test_it_keeps_the_contract():
    check_test("infidelity:samples=3")


# Golden values: eight photographs of sixteen, a chunk of forwards for each of ten samples.
FEW = 8


@pytest.mark.parametrize("sigma", [0.005, 0.2])
def test_golden_captum(golden, sigma):
    def draw(place):
        noise = np.random.RandomState(1000 + place).normal(0, sigma, (10, 3, 224, 224))
        return torch.from_numpy(noise.astype(np.float32))

    options = [InfidelityOptions(sigma=sigma, normalised=normalised) for normalised in (True, False)]
    tests = [with_noise(InfidelityTest, chosen, golden.photographs.ids, draw) for chosen in options]
    images = Subset(golden.photographs, range(FEW))
    study = evaluate({"lite0": golden.classifier}, images, tests=tests, maps=golden.maps["source"])
    for result, suffix in zip(study.results, ("/normalised", ""), strict=True):
        expected = golden.metrics[f"infidelity/captum/std{sigma}{suffix}"]["per_image"][:FEW]
        # A difference of logits of about 10, whose rounding is the larger part of a small one.
        np.testing.assert_allclose(result.columns["infidelity"], expected, rtol=1e-4 if sigma > 0.1 else 1e-3)
