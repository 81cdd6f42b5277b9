"""Relative input stability: answers by hand, what a changed prediction does, and the golden file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.evaluations.peers import with_noise
from xkd_eval import evaluate, load_classifier
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.stability.options import StabilityOptions
from xkd_eval.evaluations.stability.protocol import relative_change, relative_stability
from xkd_eval.evaluations.stability.test import StabilityTest
from xkd_eval.testing import check_test


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=8)


@pytest.fixture(scope="module")
def classifier():
    return load_classifier("embedded/kd")


def run(classifier, images, test="stability:samples=3", **options):
    return evaluate(classifier, images, tests=[test], **options).results[0]


def test_it_is_the_ratio_of_relative_changes():
    values, changed = torch.tensor([[[2.0, -4.0]]]), torch.tensor([[[1.0, -2.0]]])
    assert relative_change(values, changed).item() == pytest.approx(np.sqrt(0.5))
    images, noisy = torch.ones(1, 3, 1, 2), torch.full((1, 3, 1, 2), 1.5)
    assert relative_stability(values, changed, images, noisy).item() == pytest.approx(np.sqrt(0.5) / (0.5 * np.sqrt(6)))
    assert relative_stability(values, values, images, noisy).item() == 0


def test_a_value_of_zero_stands_for_a_millionth():
    assert relative_change(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(1e6)


def test_a_map_that_ignores_the_photograph_does_not_change(classifier, images):
    found = run(classifier, images, "stability:samples=3,changed_prediction=counted", explainers=["centre"]).columns
    assert (found["relative_input_stability"] == 0).all()


def test_noisy_images_of_another_prediction_are_left_out_or_counted(classifier, images):
    base = "stability:samples=4,low=-1.5,high=1.5"
    counted, left_out, undefined = (
        run(classifier, images, f"{base},changed_prediction={rule}").columns
        for rule in ("counted", "left_out", "undefined")
    )
    kept = left_out["prediction_kept"]
    assert ((kept > 0) & (kept < 1)).any() and (kept == 0).any(), "the noise changes some predictions"
    values = [columns["relative_input_stability"] for columns in (counted, left_out, undefined)]
    assert (values[1][kept > 0] <= values[0][kept > 0]).all()
    np.testing.assert_array_equal(np.isnan(values[1]), kept == 0)
    np.testing.assert_array_equal(np.isnan(values[2]), kept < 1)
    assert np.isfinite(values[0]).all()


def test_it_says_that_it_is_not_recommended(classifier, images):
    result = run(classifier, images)
    assert "not recommended" in result.test.notes(result.summary)[0]
    assert "Not recommended" in StabilityTest.about


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "captum"}, r"^preset: unknown value 'captum'; expected one of paper, quantus"),
        ({"low": 0.3}, r"^low: 0.3 found, and 0.2 for `high`; expected two numbers"),
        ({"samples": 0}, r"^samples: 0 found"),
        ({"changed_prediction": "nan"}, r"^changed_prediction: unknown value 'nan'"),
    ],
)
def test_options_that_are_none(classifier, images, options, message):
    with pytest.raises(XkdError, match=message):
        run(classifier, images, "stability", **options)


def test_it_keeps_the_contract():
    check_test("stability:samples=3")


def test_golden_quantus(golden):
    """Of 10 samples, all of them counted."""

    def draw(place):
        uniform = np.random.RandomState(place).uniform
        return torch.from_numpy(np.stack([uniform(0.02, 0.2, (3, 224, 224)) for _ in range(10)]))

    options = StabilityOptions(preset="quantus", samples=10, changed_prediction="counted")
    test = with_noise(StabilityTest, options, golden.photographs.ids, draw)
    found = golden.run(test, None, range(8)).columns["relative_input_stability"]
    expected = golden.metrics["relative_input_stability/quantus"]["per_image"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # The map's value that is nearest to zero decides, and of its value the rounding of a forward a hundredth.
    np.testing.assert_allclose(found, expected, rtol=2e-2)
